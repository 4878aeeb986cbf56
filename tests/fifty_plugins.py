"""Fifty distributions with a plugin each, five of them broken in five ways."""

from __future__ import annotations

from conftest import Site

HOOK = "from pseudolabel_kit.plugin import Component, hookimpl\n@hookimpl\n"
NOTHING = f"{HOOK}def plk_components(): return []\n"
BROKEN = {
    "absent": f"import nothing_of_this_name\n{NOTHING}",
    "misnamed": f"{HOOK}def plk_component(): return []\n",
    "demanding": f"{HOOK}def plk_step_ended(step, loss): pass\n",
    "heavy": f"import torch\n{NOTHING}",
}
FAULTS = {
    "absent": "dist-absent 1.0: ModuleNotFoundError: No module named 'nothing_of_this_name'",
    "misnamed": "dist-misnamed 1.0: there is no hook 'plk_component' "
    "(did you mean 'plk_components'?)",
    "demanding": "dist-demanding 1.0: hook plk_step_ended asks for an argument 'loss' "
    "(did you mean 'losses'?): it is given run, step, losses",
    "heavy": "dist-heavy 1.0: its light module imports torch: import it inside the part's module",
    "plugin-00": "dist-twin 1.0: dist-plugin-00 1.0 brings a plugin of this name, and so does "
    "dist-twin 1.0: uninstall one of the two",
}
SOUND = tuple(f"plugin-{number:02d}" for number in range(45))


def install_fifty(site: Site) -> None:
    """45 sound plugins with two parts each, and one of each fault."""
    for name in SOUND:
        module = name.replace("-", "_")
        parts = (
            f'Component("fuser", "{name}", "{module}_parts:Mine", "The fuser of {name}.")',
            f'Component("recipe", "{name}", "{module}:best.toml", "The recipe of {name}.")',
        )
        source = f"{HOOK}def plk_components(): return [{', '.join(parts)}]\n"
        site.install(name, {f"light_{module}": source})
    for name, source in BROKEN.items():
        site.install(name, {f"light_{name}": source})
    site.install("plugin-00", {"light_twin": NOTHING}, distribution="dist-twin")

"""The parts that a name on the command line means, or why it means none."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pseudolabel_kit.errors import PluginError, nearest
from pseudolabel_kit.plugin.catalogue import Catalogue, Offer, catalogue
from pseudolabel_kit.plugin.discovery import GROUP


def named(name: str, *, plugins: bool = False) -> list[Offer]:
    """The parts called "sharpen", "calibrated/sharpen" or "fuser/sharpen", or so formerly.

    Args:
        name: of a part.
        plugins: it may be that of a plugin too, which means all of its parts.

    Raises:
        PluginError: there is none; says what is nearest, broken, or not installed.
    """
    installed = catalogue()
    offers = list(installed.offers())
    found = [offer for offer in offers if name in _names(offer)]
    if not found and plugins:
        found = [offer for offer in offers if offer.plugin == name]
    if not found:
        known = [each for offer in offers for each in _names(offer)]
        known += [offer.plugin for offer in offers if plugins]
        what = "part or plugin" if plugins else "part"
        hints = f"{nearest(name, known)}{installed.missing()}{_not_installed(installed)}"
        raise PluginError(f"there is no {what} '{name}'{hints}")
    return found


def _names(offer: Offer) -> list[str]:
    part = offer.component
    old = [part.formerly.name] if part.formerly else []
    return [part.name, str(offer), f"{part.kind}/{part.name}", *old]


def _not_installed(installed: Catalogue) -> str:
    """Whether the working folder holds the source of a plugin that nobody has installed."""
    try:
        tables = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
        offered = list(tables["project"]["entry-points"][GROUP])
    except (OSError, ValueError, KeyError, TypeError):  # no project, or none with a plugin
        return ""
    there = {*installed.disabled, *(each.name for each in installed.plugins)}
    there |= {each.name for each in installed.broken}
    missing = [f"'{name}'" for name in offered if name not in there]
    plugins = f"plugin {', '.join(missing)} of this folder is not installed"
    return f"; {plugins}: pip install -e ." if missing else ""

"""What can be wrong with a plugin: each fault is named in one line, and takes nothing down."""

from __future__ import annotations

import sys

import pytest
from conftest import Site

from pseudolabel_kit.plugin.catalogue import Catalogue, read
from pseudolabel_kit.plugin.discovery import discover

MINE = '"fuser", "mine", "parts_a:Mine", "Mine."'
HOOK = "from pseudolabel_kit.plugin import Component, hookimpl\n@hookimpl\n"
NOTHING = f"{HOOK}def plk_components(): return []"


def reason(installed: Catalogue, name: str) -> str:
    return next(each.reason for each in installed.broken if each.name == name)


def offered(installed: Catalogue) -> list[str]:
    return [str(offer) for offer in installed.offers("fuser")]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this"),
        ("from sys import pth", "ImportError: cannot import name 'pth' from 'sys'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise ValueError(9999 * 'x')", "xxx…"),
        ("class Odd(BaseException): __str__ = None\nraise Odd", "Odd"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
        ("def broken(:", "SyntaxError: "),
        ("x = 1", "it implements no hook"),
        ("def plk_components(): return []", "plk_components lacks @hookimpl"),
        (
            HOOK + "def plk_component(): return []",
            "there is no hook 'plk_component' (did you mean 'plk_components'?)",
        ),
        (HOOK + "def train(): return []", "there is no hook 'train': there are plk_components, "),
        (
            HOOK + "def plk_components(config): return []",
            "hook plk_components asks for an argument 'config': it is given no arguments",
        ),
        (
            HOOK + "def plk_step_ended(step, loss, more=0): pass",
            "hook plk_step_ended asks for an argument 'loss' (did you mean 'losses'?): "
            "it is given run, step, losses",
        ),
        (HOOK + "def plk_components(): raise KeyError('x')", "KeyError: 'x'"),
        (HOOK + "def plk_components(): return 7", "returned 7, expected a list of Component"),
        (HOOK + "def plk_components(): return None", "returned None, expected a list"),
        (HOOK + "def plk_components(): return 9999 * 'x'", "...xxx"),
        (HOOK + "def plk_components(): return ['ig']", "holds 'ig', expected a Component"),
        (
            HOOK + "def plk_components(): return [Component('fusor', 'x', 'a:B', 'C.')]",
            "kind 'fusor' is none of",
        ),
        (
            HOOK + f"def plk_components(): return 2 * [Component({MINE})]",
            "offers the fuser 'mine' twice",
        ),
    ],
)
def test_a_broken_plugin_has_a_reason_and_takes_nothing_down(
    site: Site, source: str, why: str
) -> None:
    site.install("bad", {"light_bad": source})
    site.offer("good", MINE)
    installed = read()
    assert why in reason(installed, "bad")
    assert "\n" not in reason(installed, "bad")
    assert len(reason(installed, "bad")) < 600
    assert "good/mine" in offered(installed)
    installed.observers()


def test_an_interrupt_while_a_plugin_loads_is_an_interrupt(site: Site) -> None:
    site.install("slow", {"light_slow": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        read()


@pytest.mark.parametrize(
    ("contract", "why"),
    [
        (
            None,
            "it does not say which contract it was made for: "
            "expected PLK_CONTRACT = 1 in light_bad",
        ),
        (
            2,
            "it was made for contract 2; this pseudolabel-kit (0.1.0) has contract 1: "
            "install another version of dist-bad, or of pseudolabel-kit",
        ),
        ("1", "it was made for contract '1'; "),
    ],
)
def test_a_plugin_for_another_contract_is_refused_before_its_hooks_are_read(
    site: Site, contract: object, why: str
) -> None:
    site.install("bad", {"light_bad": HOOK + "def plk_parts(): return []"}, contract=contract)
    assert why in reason(read(), "bad")


def test_a_name_of_two_distributions_is_refused_with_both(site: Site) -> None:
    site.offer("a", MINE)
    site.install("a", {"light_b": "raise SystemExit"}, distribution="other")
    installed = read()
    assert reason(installed, "a") == (
        "dist-a 1.0 brings a plugin of this name, and so does other 1.0: uninstall one of the two"
    )
    assert offered(installed).count("a/mine") == 1


def test_a_stranger_cannot_take_a_name_of_ours(site: Site) -> None:
    site.install("calibrated", {"aaa": NOTHING}, distribution="aaa")
    installed = read()
    assert "calibrated/sharpen" in offered(installed)
    assert reason(installed, "calibrated").startswith("pseudolabel-kit ")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("bad = light bad", "its entry point says 'light bad': expected the name of its light"),
        ("bad = light_bad:plugin", "says 'light_bad:plugin': expected the name of"),
        ("bad =", "its entry point says '': expected"),
        ("bad", "its entry point says '': expected"),
        ("my bad = light_bad", "an entry point's name is letters, digits"),
    ],
)
def test_a_malformed_entry_point_is_a_fault_of_its_own(site: Site, line: str, why: str) -> None:
    site.offer("good", MINE)
    site.install("bad", {"light_bad": NOTHING})
    (site.folder / "dist_bad-1.0.dist-info" / "entry_points.txt").write_text(
        f"[console_scripts]\nx = y\n\n[pseudolabel_kit]\n# ours\n{line}\n[other]\nx = y\n"
    )
    installed = read()
    assert [each.distribution for each in installed.broken] == ["dist-bad 1.0"]
    assert why in installed.broken[0].reason
    assert "good/mine" in offered(installed)


def test_a_distribution_that_is_installed_twice_counts_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("a", {"light_a": NOTHING})
    second = site.folder / "second"
    second.mkdir()
    monkeypatch.syspath_prepend(second)
    Site(second).install("a", {"light_a": NOTHING}, version="2.0", distribution="dist_a")
    assert [point.distribution for point in discover() if point.name == "a"] == ["dist_a 2.0"]


@pytest.mark.parametrize("disable", ["a", " a , x", "all"])
def test_the_environment_switches_plugins_off(
    site: Site, monkeypatch: pytest.MonkeyPatch, disable: str
) -> None:
    site.offer("a", MINE)
    monkeypatch.setenv("PLK_DISABLE_PLUGINS", disable)
    installed = read()
    assert installed.disabled == ("a",)
    assert "builtin" in [each.name for each in installed.plugins]


def test_a_plugin_that_is_switched_off_is_not_imported(site: Site) -> None:
    site.install("bad", {"light_bad": "1 / 0"})
    installed = read(frozenset({"bad"}))
    assert "bad" not in [each.name for each in installed.broken]


def test_the_time_that_a_plugin_takes_is_known(site: Site) -> None:
    site.install("slow", {"light_slow": f"import time\ntime.sleep(0.05)\n{NOTHING}"})
    seconds = {each.name: each.seconds for each in read().plugins}
    assert 0.05 <= seconds["slow"] < 5
    assert 0 < seconds["builtin"] < 5


def test_what_a_plugin_prints_while_it_loads_is_no_output(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("loud", {"light_loud": f"print('hello')\n{NOTHING}; print('more')"})
    read()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "hello\n"


def test_sys_is_left_as_it_was(site: Site) -> None:
    before, out = list(sys.meta_path), sys.stdout
    site.install("bad", {"light_bad": "1 / 0"})
    read()
    assert sys.meta_path == before
    assert sys.stdout is out

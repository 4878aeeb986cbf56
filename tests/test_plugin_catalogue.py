from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Site

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin.catalogue import Catalogue, catalogue, read

MINE = '"fuser", "mine", "parts_a:Mine", "Mine."'
FUSER = """
from dataclasses import dataclass
from pseudolabel_kit.interfaces import Fuser

@dataclass(frozen=True, kw_only=True)
class Mine(Fuser):
    def fuse(self, prediction, evidence):
        raise NotImplementedError
"""


def names(installed: Catalogue) -> list[str]:
    return [str(offer) for offer in installed.offers("fuser")]


def test_plugins_are_found_by_entry_point_and_sorted(site: Site) -> None:
    site.offer("zebra", MINE)
    site.offer("aardvark", MINE)
    found = [each.name for each in read().plugins]
    assert found == sorted(found)
    assert {"aardvark", "builtin", "zebra"} <= set(found)


def test_a_part_is_imported_only_when_it_is_loaded(site: Site) -> None:
    site.offer("a", MINE, parts_a=FUSER)
    installed = read()
    offer = installed.find("fuser", "mine")
    assert "parts_a" not in sys.modules
    assert installed.load(offer).__name__ == "Mine"


def test_one_name_from_two_plugins_must_be_qualified_when_asked_for(site: Site) -> None:
    site.offer("a", MINE, parts_a=FUSER)
    site.offer("b", MINE, '"fuser", "other", "parts_a:Mine", "Other."')
    installed = read()
    assert installed.find("fuser", "other").plugin == "b"
    assert installed.find("fuser", "b/mine").plugin == "b"
    with pytest.raises(PluginError, match=r"several plugins .* say 'a/mine' or 'b/mine'"):
        installed.find("fuser", "mine")


def test_a_part_is_called_by_the_name_that_finds_it(site: Site) -> None:
    explainer = '"explainer", "mine", "parts_a:Other", "Other."'
    site.offer("a", MINE, explainer)
    site.offer("b", MINE, '"fuser", "other", "parts_a:Mine", "Other."')
    installed = read()
    names = {str(offer): name for offer, name in installed.names().items()}
    assert (names["b/mine"], names["b/other"]) == ("b/mine", "other")
    by_kind = {(o.component.kind, o.plugin): name for o, name in installed.names().items()}
    assert by_kind["explainer", "a"] == "mine"
    for offer, name in installed.names().items():
        assert installed.find(offer.component.kind, name) == offer


def test_one_name_of_two_kinds_is_no_conflict(site: Site) -> None:
    site.offer("a", MINE, '"explainer", "mine", "parts_a:Other", "Other."')
    assert read().find("fuser", "mine").component.target == "parts_a:Mine"


def test_an_unknown_name_brings_the_nearest_and_the_broken(site: Site) -> None:
    site.offer("a", MINE)
    site.install("bad", {"light_bad": "import nothing_of_this_name"})
    with pytest.raises(PluginError) as caught:
        read(frozenset({"builtin"})).find("fuser", "mien")
    message = str(caught.value)
    assert "there is no fuser 'mien' (did you mean 'mine'?)" in message
    assert "broken plugin: " in message
    assert "'bad' (ModuleNotFoundError: No module named 'nothing_of_this_name')" in message
    assert "switched off: builtin" in message


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import torchless", "cannot be imported: ModuleNotFoundError: No module named 'torchl"),
        (
            "\n1 / 0",
            "cannot be imported: ZeroDivisionError: division by zero ({site}/parts_a.py:2)",
        ),
        (
            "from pseudolabel_kit.errors import PluginError\nraise PluginError('install it')",
            "cannot be imported: install it$",
        ),
        ("raise SystemExit", "cannot be imported: SystemExit ({site}/parts_a.py:1)"),
        ("def f(:", "cannot be imported: SyntaxError: invalid syntax (parts_a.py, line 1)"),
        ("class Mime: pass", "has no attribute 'Mine' (did you mean 'Mime'?)"),
        (
            FUSER.replace("@dataclass(frozen=True, kw_only=True)\n", "").replace(
                "(Fuser):", "(Fuser):\n    power: float = 1.0"
            ),
            "'power' of Mine cannot be given: it is no dataclass; decorate the class with "
            "@dataclass(frozen=True, kw_only=True)",
        ),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "cannot be imported: RuntimeError: operator torchvision::nms does not exist",
        ),
        ("x = 1", "cannot be imported: AttributeError: module 'parts_a' has no attribute 'Mine'"),
        ("Mine = 3", "3 is not a subclass of pseudolabel_kit.interfaces.Fuser"),
        ("class Mine: pass", "is not a subclass of pseudolabel_kit.interfaces.Fuser"),
        (FUSER.replace("def fuse(", "def fues("), "Mine does not define fuse"),
    ],
)
def test_a_broken_part_is_named_and_leaves_the_others(site: Site, source: str, why: str) -> None:
    site.offer("a", MINE, '"fuser", "sound", "parts_b:Mine", "Sound."', parts_a=source)
    (site.folder / "parts_b.py").write_text(FUSER)
    installed = read()
    with pytest.raises(PluginError, match="fuser 'mine' of plugin 'a'") as caught:
        installed.load(installed.find("fuser", "mine"))
    assert why.format(site=site.folder) in f"{caught.value}$"
    assert installed.load(installed.find("fuser", "sound")).__name__ == "Mine"


def test_constants_of_a_class_are_no_options(site: Site) -> None:
    constant = "(Fuser):\n    reads: 'ClassVar[str]' = 'nothing'"
    source = FUSER.replace("@dataclass(frozen=True, kw_only=True)\n", "")
    site.offer("a", MINE, parts_a=source.replace("(Fuser):", constant))
    installed = read()
    assert installed.load(installed.find("fuser", "mine")).reads == "nothing"


def test_the_catalogue_is_read_once(site: Site) -> None:
    assert catalogue() is catalogue()


def test_our_own_light_modules_import_nothing_heavy() -> None:
    code = (
        "import sys, pseudolabel_kit\n"
        "installed = pseudolabel_kit.catalogue()\n"
        "print({'torch', 'numpy', 'captum', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

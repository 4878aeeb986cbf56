from __future__ import annotations

from typing import Any

import pytest
from conftest import Site

import pseudolabel_kit
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.plugin.build import build, read_recipe
from pseudolabel_kit.plugin.reference import Reference

PARTS = """
from dataclasses import dataclass
from typing import Literal
from pseudolabel_kit.interfaces import Fuser

@dataclass(frozen=True, kw_only=True)
class Mine(Fuser):
    norm: Literal["pixel", "image"] = "image"
    ratios: tuple[float, float] = (0.5, 0.5)
    threshold: float = 0.5

    def __post_init__(self):
        if self.threshold < 0:
            raise SystemExit(0)
        if self.threshold > 1:
            raise ValueError(f"{self.threshold}: expected at most 1,\\nthe largest")

    def fuse(self, prediction, evidence):
        raise NotImplementedError

@dataclass(frozen=True, kw_only=True)
class Needy(Mine):
    path: str
"""


@pytest.fixture(autouse=True)
def parts(site: Site) -> None:
    site.offer(
        "a",
        '"fuser", "mine", "parts_a:Mine", "Mine."',
        '"fuser", "needy", "parts_a:Needy", "Needy."',
        '"recipe", "best", "recipes_a:best.toml", "The best."',
        '"recipe", "absent", "recipes_a:absent.toml", "Absent."',
        '"recipe", "torn", "recipes_a:torn.toml", "Torn."',
        parts_a=PARTS,
    )
    package = site.folder / "recipes_a"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "best.toml").write_text('[method]\nfuser = "mine"\n')
    (package / "torn.toml").write_text("[method\n")


def test_a_reference_becomes_a_part() -> None:
    part: Any = pseudolabel_kit.build("fuser", "a/mine:norm=pixel:ratios=1/3")
    assert (part.norm, part.ratios, part.threshold) == ("pixel", (1.0, 3.0), 0.5)
    assert build("fuser", Reference("a/mine", (("norm", "pixel"), ("ratios", "1/3")))) == part


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("mine:nrom=pixel", "fuser 'mine:nrom=pixel': there is no option 'nrom' (did you mean 'n"),
        ("mine:norm=pixl", "fuser 'mine:norm=pixl': norm=pixl: expected pixel|image (did you"),
        ("mine:threshold=2", "2.0: expected at most 1, the largest"),
        ("needy", "fuser 'needy': option 'path' must be given (str)"),
    ],
)
def test_bad_options_are_one_line_that_names_the_reference(reference: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("fuser", reference)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_part_that_cannot_be_made_is_named(site: Site) -> None:
    with pytest.raises(PluginError) as caught:
        build("fuser", "mine:threshold=-1")
    assert str(caught.value).startswith("fuser 'mine:threshold=-1' cannot be made: SystemExit: 0 (")
    assert f"({site.folder}/parts_a.py:" in str(caught.value)


def test_recipes_are_read_not_built() -> None:
    assert read_recipe("best") == {"method": {"fuser": "mine"}}
    with pytest.raises(ConfigError, match="'best' is a recipe"):
        build("recipe", "best")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("absent", r"recipe 'a/absent' \(recipes_a:absent.toml\): FileNotFoundError"),
        ("torn", r"recipe 'a/torn' \(recipes_a:torn.toml\): TOMLDecodeError"),
        ("bst", "there is no recipe 'bst' .did you mean 'best'"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_named(name: str, complaint: str) -> None:
    with pytest.raises(PluginError, match=complaint):
        read_recipe(name)

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pseudolabel_kit.compare.row import Row
from pseudolabel_kit.compare.spec import Spec, read_spec, spec_of
from pseudolabel_kit.errors import ConfigError, PluginError

TEXT = """
title = "Two ways"
seeds = [0, 1]
against = "Supervised"

[common]
train.epochs = 12

[quick]
train.steps = 4

[[row]]
name = "Supervised"
note = "no pseudo labels"
method = { fuser = "none", explainer = "none" }

[[row]]
name = "Ours, unsharpened"
x = 1
method.fuser = "sharpen:temperature=1"
quick.method.backbone = "vgg-multiscale:width=0.0625"
"""


def read(tmp_path: Path, text: str = TEXT) -> Spec:
    path = tmp_path / "two.toml"
    path.write_text(text, encoding="utf-8")
    return read_spec(path)


def test_a_row_is_a_configuration_over_the_common_one_over_its_recipe(tmp_path: Path) -> None:
    spec = read(tmp_path)
    supervised, ours = spec.rows
    config = spec.config(ours, 7)
    assert (config.method.fuser, config.train.epochs, config.train.seed) == (
        "sharpen:temperature=1",
        12,
        7,
    )
    assert config.method.backbone == "vgg-multiscale:width=0.25"
    assert spec.config(supervised, 0).method.fuser == "none"
    assert (supervised.note, supervised.x, ours.x) == ("no pseudo labels", None, 1.0)
    assert spec.baseline is supervised


def test_quick_lies_over_every_row_and_a_rows_own_over_that(tmp_path: Path) -> None:
    spec = read(tmp_path).quickened()
    assert spec.seeds == (0,)
    supervised, ours = (spec.config(row, 0) for row in spec.rows)
    assert supervised.train.steps == ours.train.steps == 4
    assert supervised.method.backbone == "vgg-multiscale:width=0.25"
    assert ours.method.backbone == "vgg-multiscale:width=0.0625"
    assert ours.method.fuser == "sharpen:temperature=1"


def test_what_is_written_repeats_it(tmp_path: Path) -> None:
    spec = read(tmp_path).quickened().overlaid({"data": {"size": 64}}).resolved()
    again = read(tmp_path, spec.to_toml())
    assert again == spec
    assert again.to_toml() == spec.to_toml()
    assert not again.common
    assert not again.quick
    assert [again.config(row, 0) for row in again.rows] == [
        spec.config(row, 0) for row in spec.rows
    ]
    assert again.config(again.rows[0], 0).data.size == 64


def test_without_a_name_the_baseline_is_the_first_row(tmp_path: Path) -> None:
    spec = read(tmp_path, TEXT.replace('against = "Supervised"', ""))
    assert spec.baseline.name == spec.resolved().against == "Supervised"


def test_recipes_alone_make_a_comparison() -> None:
    spec = spec_of(["calibrated", "calibrated-paper"])
    assert [row.name for row in spec.rows] == ["calibrated", "calibrated-paper"]
    assert spec.config(spec.rows[1], 0).train.epochs == 300
    assert spec.title == "calibrated, calibrated-paper"


def test_fusers_stand_below_recipes() -> None:
    spec = spec_of(["supervised"], parts=["sharpen", "sharpen:temperature=1"])
    assert [row.slug for row in spec.rows] == ["supervised", "sharpen", "sharpen-temperature-1"]
    assert spec.baseline.name == "supervised"
    config = spec.config(spec.rows[2], 0)
    assert (config.recipe, config.method.fuser) == ("calibrated", "sharpen:temperature=1")


@pytest.mark.parametrize("kind", ["backbone", "explainer", "fuser"])
def test_parts_of_any_kind_are_rows(kind: str) -> None:
    spec = spec_of([], kind, ["a", "b:c=d"])
    assert [row.settings["method"] for row in spec.rows] == [{kind: "a"}, {kind: "b:c=d"}]
    with pytest.raises(ConfigError, match=f"^--{kind}: the rows 'a' and 'a' would share"):
        spec_of([], kind, ["a", "a"])


@pytest.mark.parametrize(
    ("name", "slug"),
    [("U-Net", "u-net"), ("w/o CAM loss", "w-o-cam-loss"), ("Hu et al.", "hu-et-al")],
)
def test_a_rows_folder_is_its_name(name: str, slug: str) -> None:
    assert Row(name=name).slug == slug


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("method.fuser", "methd.fuser", "row 2: there is no key 'methd' (did you mean 'method'?)"),
        ("note =", "nte =", "row 1: there is no key 'nte' (did you mean 'note'?)"),
        ("x = 1", 'x = "a"', "row 2.x = 'a': input should be a valid number"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds = [0, 0]: expected each of them once"),
        ("seeds = [0, 1]", "seeds = []", "seeds = []: expected a list like [0, 1, 2]"),
        ("seeds = [0, 1]", "seeds = 2", "seeds = 2: expected a list like [0, 1, 2]"),
        ("seeds =", "measures = 'dice'\nseeds =", '\'dice\': expected a list like ["dice", "auc"]'),
        ("train.epochs = 12", "name = 'a'", "common: there is no key 'name' in a configuration"),
        ("train.steps = 4", "trian.steps = 4", "quick: there is no key 'trian' in a configuration"),
        ("quick.method", "quick.methd", "row 2.quick: there is no key 'methd' in a configuration"),
        ("seeds =", "sed =", "there is no key 'sed' (did you mean 'seeds'?)"),
        ("seeds =", "split = 'tset'\nseeds =", "split = 'tset': input should be 'labelled', "),
        ("seeds =", "measures = ['dica']\nseeds =", "there is no measure 'dica' (did you mean "),
        ('against = "Sup', 'against = "sup', "there is no row 'supervised' (did you mean 'Super"),
        ("[[row]]", "[[rows]]", "there is no [[row]] to compare"),
        ('name = "Supervised"', "", "against: there is no row 'Supervised'; the rows are"),
        ("Ours, unsharpened", "supervised!", "would share the folder 'supervised': expected name"),
        ("Ours, unsharpened", "†", "row 2: it has no name: expected a name or a recipe"),
        ("[common]", "[common", "not TOML: "),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(
    old: str, new: str, complaint: str, tmp_path: Path
) -> None:
    if old.startswith("name"):  # a row that is named by its recipe
        new = 'recipe = "calibrated"'
    with pytest.raises(ConfigError, match=re.escape(complaint)) as error:
        read(tmp_path, TEXT.replace(old, new))
    assert str(error.value).startswith(f"{tmp_path / 'two.toml'}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        ({"train": {"stps": 1}}, "there is no key 'train.stps' (did you mean 'train.steps'?)"),
        ({"train": {"steps": 0}}, "train.steps = 0: input should be greater than or equal to 1"),
        ({"train": {"seed": 1}}, "train.seed stands in the way of the comparison's own seeds"),
        ({"recipe": "calibratd"}, "there is no recipe 'calibratd' (did you mean 'calibrated'?)"),
    ],
)
def test_a_mistake_in_a_configuration_names_the_row(
    layer: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    spec = read(tmp_path).overlaid(layer)
    with pytest.raises((ConfigError, PluginError), match=re.escape(complaint)) as error:
        spec.config(spec.rows[0], 0)
    assert str(error.value).startswith(f"{tmp_path / 'two.toml'}: row 'Supervised': ")
    assert spec.resolved().where("A") == f"{tmp_path / 'two.toml'}: row 'A'"


@pytest.mark.parametrize("key", ["seeds", "name", "note", "x", "quick", "trian"])
def test_only_a_configuration_lies_over_every_row(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^--set: there is no key '{key}' in a configuration"):
        read(tmp_path).overlaid({key: 3})


@pytest.mark.parametrize("rows", ["row = []", "row = 3", "[row]\nname = 'a'", ""])
def test_a_comparison_has_rows(rows: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"two.toml: there is no \[\[row\]\] to compare$"):
        read(tmp_path, rows)


def test_a_comparison_without_a_quick_form_says_so() -> None:
    with pytest.raises(ConfigError, match=r"\[quick\] table .*; write one in a SPEC\.toml$"):
        spec_of(["calibrated"]).quickened()


def test_a_recipe_is_named_once() -> None:
    with pytest.raises(ConfigError, match="--recipe: the rows 'a' and 'a' would share the folder"):
        spec_of(["a", "a"])

"""Old names are read for a version, told of, and then really go."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import get_args

import pytest
from conftest import Site

import pseudolabel_kit
from pseudolabel_kit import deprecation, plugin
from pseudolabel_kit.cli.console import show_warnings
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.compare.spec import Spec
from pseudolabel_kit.config import Config, TrainConfig
from pseudolabel_kit.deprecation import RENAMED, former_names, under_todays_names
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.layers import resolve
from pseudolabel_kit.plugin import Component, Formerly
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.catalogue import Offer, catalogue, read
from pseudolabel_kit.plugin.options import options

NEW = '"fuser", "new", "parts_a:New", "New.", Formerly("old", until="2.0")'
FORMERLY = "from pseudolabel_kit.plugin import Formerly"
TOLD = "plugin 'a': fuser 'old' is now 'new': the old name goes in version 2.0"


def overdue(entries: Iterator[tuple[str, Formerly]], version: str) -> list[str]:
    """What was to be gone in this version or an earlier one."""
    return [
        f"{where}: {old.name}" for where, old in entries if numbers(old.until) <= numbers(version)
    ]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def ours() -> Iterator[tuple[str, Formerly]]:
    """Every old name that we still read."""
    for module, former in RENAMED.items():
        yield from ((module, old) for old in former.values())
    shipped = [each.name for each in catalogue().plugins if "pseudolabel-kit" in each.distribution]
    for offer in catalogue().offers():
        if offer.plugin in shipped:
            yield from ((str(offer), mark) for mark in of_part(offer))
    for table in Config.model_fields.values():
        for name, key in getattr(table.annotation, "model_fields", {}).items():
            yield from ((name, mark) for mark in key.metadata if isinstance(mark, Formerly))


def of_part(offer: Offer) -> Iterator[Formerly]:
    """Of the part's name and of its options."""
    marks: list[object] = [offer.component.formerly]
    if offer.component.kind != "recipe":
        for option in options(catalogue().load(offer)):
            marks += get_args(option.annotation)
    yield from (mark for mark in marks if isinstance(mark, Formerly))


def test_no_old_name_of_ours_outlives_its_version() -> None:
    assert overdue(ours(), pseudolabel_kit.__version__) == []


def test_an_old_name_that_outlives_its_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    former = {"A": Formerly("B", until="0.2.0"), "C": Formerly("D", until="0.10")}
    monkeypatch.setitem(RENAMED, "pseudolabel_kit.plugin", former)
    assert overdue(ours(), "0.1.9") == []
    assert overdue(ours(), "0.2.0") == ["pseudolabel_kit.plugin: B"]
    assert len(overdue(ours(), "0.11")) == 2


def test_an_option_or_key_that_outlives_its_version_is_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.offer("a", '"fuser", "new", "parts_a:New", "New."', parts_a=PARTS)
    offer = read().find("fuser", "new")
    assert list(of_part(offer)) == [Formerly("power", until="2.0")]
    seed = TrainConfig.model_fields["seed"]
    monkeypatch.setattr(seed, "metadata", [*seed.metadata, Formerly("random_seed", "0.3")])
    assert overdue(ours(), "0.3") == ["seed: random_seed"]


def test_a_public_name_is_there_under_its_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    former = {"Component": Formerly("Part", until="0.3")}
    monkeypatch.setitem(RENAMED, "pseudolabel_kit.plugin", former)
    told = "pseudolabel_kit.plugin: 'Part' is now 'Component': the old name goes in version 0.3"
    with pytest.warns(FutureWarning, match=f"^{told}$"):
        assert plugin.Part is Component  # type: ignore[attr-defined]
    assert "Part" not in dir(plugin)
    monkeypatch.setitem(RENAMED, "pseudolabel_kit", {"build": Formerly("make", until="0.3")})
    with pytest.warns(FutureWarning, match="^pseudolabel_kit: 'make' is now 'build'"):
        assert pseudolabel_kit.make is pseudolabel_kit.build  # type: ignore[attr-defined]


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match=r"'pseudolabel_kit.plugin' has no attribute 'Prat'"):
        plugin.Prat  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", ["old", "a/old"])
def test_a_part_is_found_by_its_old_name(site: Site, name: str) -> None:
    site.offer("a", NEW, extra=FORMERLY)
    with pytest.warns(FutureWarning, match=TOLD):
        assert read().find("fuser", name).component.name == "new"
    with pytest.raises(PluginError, match="no explainer 'old'"):
        read().find("explainer", "old")


def test_a_part_that_has_the_name_today_comes_first_and_nothing_is_told(site: Site) -> None:
    site.offer("a", NEW, extra=FORMERLY)
    site.offer("b", '"fuser", "old", "parts_b:Old", "Another."')
    with warnings.catch_warnings(action="error"):
        assert read().find("fuser", "old").plugin == "b"
        assert read().find("fuser", "new").plugin == "a"


def test_two_parts_of_one_old_name_must_be_qualified(site: Site) -> None:
    site.offer("a", NEW, extra=FORMERLY)
    site.offer("b", NEW, extra=FORMERLY)
    with (
        pytest.warns(FutureWarning, match="old name goes"),
        pytest.raises(PluginError, match="several plugins offer the fuser 'old': say 'a/new' or"),
    ):
        read().find("fuser", "old")


def test_the_command_line_shows_it_as_one_line(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.offer("a", NEW, extra=FORMERLY)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # put back afterwards
    with warnings.catch_warnings():
        warnings.resetwarnings()
        show_warnings()
        read().find("fuser", "old")
    assert capsys.readouterr().err == f"plk: warning: {TOLD}\n"


def test_show_finds_an_old_name_and_tells_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    new = '"dataset", "new", "pseudolabel_kit.data.phantom:Phantom", "N.", Formerly("old", "2.0")'
    site.offer("a", new, extra=FORMERLY)
    assert call(["plugins", "show", "old"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("dataset new\n")
    assert "Formerly 'old', which goes in version 2.0." in text


def test_values_come_under_the_names_of_today() -> None:
    former = former_names({"new": [float, Formerly("old", until="2.0")], "other": [int]})
    assert list(former) == ["new"]
    told = "fuser 'mine': option 'old' is now 'new': the old name goes in version 2.0"
    with pytest.warns(FutureWarning, match=f"^{told}$") as caught:
        values = under_todays_names("fuser 'mine': option", {"old": "1", "x": "2"}, former)
    assert values == {"new": "1", "x": "2"}
    assert len(caught) == 1


def test_a_value_under_both_names_is_refused() -> None:
    former = {"new": Formerly("old", until="2.0")}
    with (
        pytest.warns(FutureWarning, match="old name goes"),
        pytest.raises(ConfigError, match="key 'new' is given under its old name 'old' too"),
    ):
        under_todays_names("key", {"old": 1, "new": 2}, former)


PARTS = """
from dataclasses import dataclass
from typing import Annotated
from pseudolabel_kit.interfaces import Fuser
from pseudolabel_kit.plugin import Formerly

@dataclass(frozen=True, kw_only=True)
class New(Fuser):
    sharpness: Annotated[float, Formerly("power", until="2.0")] = 2.0
    def fuse(self, prediction, evidence):
        raise NotImplementedError
"""


def test_an_option_is_read_under_its_old_name(site: Site) -> None:
    site.offer("a", '"fuser", "new", "parts_a:New", "New."', parts_a=PARTS)
    told = "^option 'power' is now 'sharpness': the old name goes in version 2.0$"
    with pytest.warns(FutureWarning, match=told):
        assert build("fuser", "new:power=3").sharpness == 3  # type: ignore[attr-defined]
    with (
        pytest.warns(FutureWarning, match=told),
        pytest.raises(ConfigError, match="option 'sharpness' is given under its old name 'power'"),
    ):
        build("fuser", "new:power=3:sharpness=2")
    with pytest.raises(ConfigError, match="there is no option 'pwer'"):
        build("fuser", "new:pwer=3")


@pytest.fixture
def renamed_key(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = TrainConfig.model_fields["epochs"]
    monkeypatch.setattr(epochs, "metadata", [*epochs.metadata, Formerly("length", until="2.0")])


OLD_KEY = r"^\[train\] key 'length' is now 'epochs': the old name goes in version 2\.0$"


@pytest.mark.usefixtures("renamed_key")
def test_a_key_is_read_under_its_old_name_in_each_layer() -> None:
    old, new = {"train": {"length": 3}}, {"train": {"epochs": 4}}
    for layers, epochs in (([old], 3), ([old, new], 4), ([new, old], 3)):
        with pytest.warns(FutureWarning, match=OLD_KEY):
            assert resolve(*layers).train.epochs == epochs
    with pytest.warns(FutureWarning, match=OLD_KEY):
        assert resolve({"train": {"steps": 9}}, old).train.steps is None
    with warnings.catch_warnings(action="error"):
        assert resolve(new).train.epochs == 4
    with (
        pytest.warns(FutureWarning, match=OLD_KEY),
        pytest.raises(ConfigError, match=r"^\[train\] key 'epochs' is given under its old name"),
    ):
        resolve({"train": {"length": 3, "epochs": 4}})


@pytest.mark.usefixtures("renamed_key")
def test_a_row_of_a_comparison_lies_over_the_old_name_of_a_common_key() -> None:
    row = {"recipe": "supervised", "train": {"epochs": 4}}
    spec = Spec.model_validate({"common": {"train": {"length": 3}}, "row": [row]})
    with pytest.warns(FutureWarning, match=OLD_KEY):
        assert spec.config(spec.rows[0], seed=0).train.epochs == 4


@pytest.mark.parametrize("version", ["", "next", "1.", "v2"])
def test_a_version_is_numbers(version: str) -> None:
    with pytest.raises(ValueError, match=r"is not a version such as '0\.3'"):
        deprecation.Formerly("old", until=version)

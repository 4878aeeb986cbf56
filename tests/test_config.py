from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pseudolabel_kit.config import Config
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.run import configure
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.layers import assignment, keys, overlay, read_toml, resolve
from pseudolabel_kit.plugin.catalogue import catalogue

RECIPES = [offer.component.name for offer in catalogue().offers("recipe")]


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        ({"train": {"stepps": 1}}, "there is no key 'train.stepps' (did you mean 'train.steps'?)"),
        ({"trian": {}}, "there is no key 'trian' (did you mean 'train'?)"),
        ({"train": {"lr": 1}}, "there is no key 'train.lr' (did you mean 'optimiser.lr'?)"),
        ({"train": {"steps": 0}}, "train.steps = 0: input should be greater than or equal to 1"),
        ({"train": {"steps": "many"}}, "train.steps = 'many': input should be a valid integer"),
        ({"train": {"ema": 1.0}}, "train.ema = 1.0: input should be less than 1"),
        (
            {"train": {"strategy": "fsdp"}},
            "train.strategy = 'fsdp': input should be 'auto' or 'ddp'",
        ),
        ({"optimiser": {"lr": 0}}, "optimiser.lr = 0: input should be greater than 0"),
        ({"optimiser": {"betas": [0.5]}}, "optimiser.betas"),
        ({"loss": {"background_weight": 0.0}}, "loss.background_weight = 0.0"),
        (
            {"loss": {"consistency_start": "soon"}},
            "loss.consistency_start = 'soon': expected 20%, 5epochs or 100steps, or val.dice>=0.5",
        ),
        (
            {"loss": {"consistency_start": "val.dise>=0.5"}},
            "loss.consistency_start = 'val.dise>=0.5': there is no measure 'dise' "
            "(did you mean 'dice'?)",
        ),
        (
            {"loss": {"consistency_start": "val.loss>=0.5"}},
            "loss.consistency_start = 'val.loss>=0.5': there is no measure 'loss'; "
            "expected one of dice, dice_image,",
        ),
        (
            {"evaluate": {"every": "1 epoch"}},
            "evaluate.every = '1 epoch': expected 20%, 5epochs or 100steps",
        ),
        ({"augment": {"shift": 0.7}}, "augment.shift = 0.7"),
        ({"data": {"labelled": 1.5}}, "data.labelled = 1.5"),
        ({"train": 3}, "train = 3: input should be a valid"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_key(
    layer: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(layer, origin="run.toml")
    assert str(refused.value).startswith(f"run.toml: {complaint}")
    assert "\n" not in str(refused.value)


def test_layers_lie_one_over_the_other_key_by_key() -> None:
    config = resolve({"train": {"steps": 1, "seed": 1}}, {"train": {"seed": 2}}, {"train": {}})
    assert (config.train.steps, config.train.seed) == (1, 2)
    assert config.loss == Config().loss


def test_epochs_take_the_place_of_the_steps_of_a_lower_layer() -> None:
    steps, epochs = {"train": {"steps": 9}}, {"train": {"epochs": 5}}
    assert resolve(steps, epochs).train.steps is None
    assert resolve(epochs, steps).train.steps == 9
    assert resolve(steps, {"train": {"steps": 7, "epochs": 5}}).train.steps == 7
    assert resolve(steps, {"train": {"seed": 5}}).train.steps == 9


def test_the_order_is_defaults_recipe_file_flags() -> None:
    paper = configure({"recipe": "calibrated-paper"})
    assert paper.optimiser.lr == 1e-4 != Config().optimiser.lr
    mine = configure(
        {"recipe": "calibrated-paper", "optimiser": {"lr": 0.5}}, {"train": {"seed": 3}}
    )
    assert (mine.optimiser.lr, mine.train.seed, mine.train.epochs) == (0.5, 3, 300)
    last = configure({"recipe": "calibrated-paper"}, {"recipe": "calibrated"})
    assert last == configure({})
    assert configure({"recipe": "calibrated"}, recipe="calibrated-paper") == paper


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(PluginError, match="calibrated"):
        configure({"recipe": "callibrated"})


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_resolves_and_its_parts_are_built(name: str) -> None:
    config = configure({"recipe": name})
    assert config.recipe == name
    assert Method.build(config.method).fuser is not None
    assert resolve(tomllib.loads(config.to_toml())) == config


def test_there_are_recipes() -> None:
    assert {"calibrated", "calibrated-paper"} <= set(RECIPES)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    config = resolve({"data": {"labelled": 0.1, "lesion_classes": ["ä", 'a "b"']}})
    path = tmp_path / "run.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert resolve(read_toml(path)) == config


@pytest.mark.parametrize(
    "start", ["20%", "1epoch", "5steps", "val.dice>=0.5", "val.miou_patient>=.5", "val.auc>=1"]
)
def test_consistency_starts_at_a_moment_or_by_a_measure(start: str) -> None:
    assert resolve({"loss": {"consistency_start": start}}).loss.consistency_start == start


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().train.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("train.steps=10", {"train": {"steps": 10}}),
        ("train.ema=0.5", {"train": {"ema": 0.5}}),
        ("audit.strict=true", {"audit": {"strict": True}}),
        ("data.source=a b/c", {"data": {"source": "a b/c"}}),
        ("optimiser.betas=[0.5, 0.9]", {"optimiser": {"betas": [0.5, 0.9]}}),
        ('data.source="x"', {"data": {"source": "x"}}),
        ("method.fuser=sharpen:norm=pixel", {"method": {"fuser": "sharpen:norm=pixel"}}),
        (" train.steps =10", {"train": {"steps": 10}}),
        ("data.cache=", {"data": {"cache": ""}}),
    ],
)
def test_an_assignment_is_a_layer(text: str, layer: dict[str, Any]) -> None:
    assert assignment(text) == layer


@pytest.mark.parametrize("text", ["train.steps", "=3", "", "  =3"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        assignment(text)


def test_every_key_can_be_assigned() -> None:
    dumped = Config().model_dump(mode="json")
    for key in keys():
        value: Any = dumped
        for name in key.split("."):
            value = value[name]
        layer = assignment(f"{key}={json.dumps(value)}") if value is not None else {}
        assert resolve(layer) == Config(), key
    assert {"recipe", "train.steps", "audit.drift"} <= set(keys())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"train = [", "not TOML"), (b"\xff", "not TOML"), (None, "No such file or directory")],
)
def test_a_file_that_is_no_toml_is_named(
    content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint) as refused:
        read_toml(path)
    assert str(refused.value).startswith(f"{path}: ")


LAYERS = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
TABLES = st.dictionaries(st.sampled_from("abc"), LAYERS, max_size=3)


@given(TABLES, TABLES, TABLES)
def test_overlaying_is_associative_and_leaves_its_arguments(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    before = repr((one, two))
    assert overlay(overlay(one, two), {}) == overlay(one, two)
    assert overlay(one, one) == one
    assert repr((one, two)) == before
    if all(isinstance(v, int) for t in (one, two, three) for v in t.values()):
        assert overlay(overlay(one, two), three) == overlay(one, overlay(two, three))

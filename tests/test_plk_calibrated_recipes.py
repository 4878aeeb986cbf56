from __future__ import annotations

import pytest

from plk_calibrated.caam import Caam
from plk_calibrated.integrated_gradients import IntegratedGradients
from plk_calibrated.sharpen import Sharpen
from pseudolabel_kit.config import Config
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Part
from pseudolabel_kit.layers import resolve
from pseudolabel_kit.plugin.build import build, read_recipe
from pseudolabel_kit.plugin.reference import parse_list


def explainers(config: Config) -> dict[str, Part]:
    references = parse_list(config.method.explainer)
    return {reference.name: build("explainer", reference) for reference in references}


@pytest.mark.parametrize("name", ["calibrated", "calibrated-paper"])
def test_every_part_that_a_recipe_names_can_be_built(name: str) -> None:
    method = resolve(read_recipe(name)).method
    build("backbone", method.backbone)
    build("fuser", method.fuser)
    for reference in parse_list(method.perturbation):
        build("perturbation", reference)
    assert set(explainers(resolve(read_recipe(name)))) == {"ig", "caam"}


def test_calibrated_is_the_defaults_that_stand_for_themselves() -> None:
    assert resolve(read_recipe("calibrated")) == resolve()


def test_calibrated_paper_is_the_paper() -> None:
    config = resolve(read_recipe("calibrated-paper"))
    parts = explainers(config)
    assert parts["caam"] == Caam(levels=(1, 2, 3), alpha=(5, 5, 5), start="20epochs")
    assert parts["ig"] == IntegratedGradients(
        steps=8, method="riemann_right", baseline="zero", target="predicted"
    )
    assert build("fuser", config.method.fuser) == Sharpen(
        ratios=(0.3, 0.4, 0.4), temperature=0.5, norm="paper", gate="none", decoder="probability"
    )
    loss, optimiser, train = config.loss, config.optimiser, config.train
    assert (loss.classification, loss.segmentation, loss.consistency) == (1, 5, 5)
    assert not loss.debias
    assert (optimiser.lr, optimiser.betas, optimiser.schedule) == (1e-4, (0.5, 0.9), "step")
    assert (optimiser.step_every, optimiser.step_factor) == ("20epochs", 0.1)
    assert (train.epochs, train.ema) == (300, 0)


@pytest.mark.parametrize(
    ("kind", "reference", "expected"),
    [
        ("backbone", "vgg-multiscale:width=0", "width=0: expected float > 0"),
        ("explainer", "caam:levels=0", "levels=0: expected"),
        ("explainer", "caam:start=soon", "start=soon: expected"),
        ("explainer", "caam:levels=1/2/3:alpha=1/2", "2 weights for 3 levels"),
        ("explainer", "ig:steps=1", "steps=1: expected int >= 2"),
        ("explainer", "ig:method=reimann_right", "riemann_right"),
        ("fuser", "sharpen:temperature=0", "temperature=0: expected float > 0"),
        ("fuser", "sharpen:ratios=1/1", "ratios=1/1: expected"),
        ("fuser", "sharpen:ratios=0/0/0", "at least one above"),
        ("fuser", "sharpen:norm=image", "norm=image: expected image-rms|pixel|batch-rms|paper"),
        ("fuser", "fixmatch:threshold=1", "threshold=1: expected float >= 0"),
        ("perturbation", "contrast-sharpness:contrast=2", "contrast=2: expected"),
    ],
)
def test_options_out_of_range_are_refused(kind: str, reference: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(kind, reference)  # type: ignore[call-overload]
    assert expected in str(refusal.value)

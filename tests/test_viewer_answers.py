from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from answers_support import HALF, ball, volume
from predict_support import SIDE, train_tiny

from pseudolabel_kit.audit.parts import choose
from pseudolabel_kit.engine.predict import Predictor, load
from pseudolabel_kit.engine.readout import lesion_probability, marked_from
from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, PseudoLabels
from pseudolabel_kit.scans.inputs import DEFAULTS
from pseudolabel_kit.viewer.answers import answer
from pseudolabel_kit.viewer.drawing import Drawn, drawn
from pseudolabel_kit.viewer.scans import stacks
from pseudolabel_kit.viewer.sprites import EACH, STEPS, decoded
from pseudolabel_kit.viewer.stack import Slice, Stack

IMAGES = torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(train_tiny(tmp_path_factory.getbasetemp()))


@pytest.mark.parametrize("debias", [True, False])
def test_mask_and_probability_are_those_of_a_prediction(predictor: Predictor, debias: bool) -> None:
    loss = predictor.config.loss.model_copy(update={"debias": debias})
    config = predictor.config.model_copy(update={"loss": loss})
    found = answer(replace(predictor, config=config), {}, IMAGES)
    expected = lesion_probability(predictor(IMAGES), predictor.task)
    assert expected is not None
    assert found.decoder is not None
    np.testing.assert_allclose(found.decoder, expected.max(axis=1), atol=1e-5)
    assert found.marked is not None
    assert (found.marked == (found.decoder >= marked_from(predictor.task))).all()


def test_the_pseudo_label_is_the_run_s_whichever_explainers_are_shown(predictor: Predictor) -> None:
    own = choose(predictor, None, None).explainers
    other = choose(predictor, "input-x-gradient", None).explainers
    one, two = answer(predictor, own, IMAGES), answer(predictor, other, IMAGES)
    assert list(one.evidence) == ["ig:steps=2", "caam"]
    assert list(two.evidence) == ["input-x-gradient"]
    assert one.label is not None
    assert two.label is not None
    np.testing.assert_allclose(one.label, two.label, atol=1e-5)
    expected = predictor.label(IMAGES).pseudo.mask
    assert expected is not None
    assert (one.label <= expected[:, 0].numpy() + 1e-5).all()
    assert one.taught is not None
    assert ((one.taught >= 0) & (one.taught <= 1)).all()


def test_slices_are_asked_some_at_a_time(predictor: Predictor) -> None:
    seen: list[tuple[int, int]] = []
    image = np.zeros((1, 40, 36), dtype=np.float32)
    count = EACH + 1
    study = Stack(name="case", slices=lambda: (count, iter([Slice(image=image)] * count)), stamp="")
    found = drawn(predictor, {}, study, lambda done, total: seen.append((done, total)))
    assert seen == [(EACH, count), (count, count)]
    assert found.frame == (40, 36)
    assert found.grid == (SIDE, SIDE)
    assert len(found.pictures) == len(found.layers[0].sprites) == 2
    assert len(found.slices) == count


class TopHalf(Fuser):
    """The mean of the evidence, taught in the upper half of the image alone."""

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        mask = torch.stack([each.map for each in evidence.values()]).mean(dim=0)
        weight = torch.zeros_like(mask)
        weight[:, :, : SIDE // 2] = 1
        return PseudoLabels(mask=mask, mask_weight=weight)


def planes(study: Drawn, name: str) -> np.ndarray:
    """A layer's planes (B,H,W), as the page holds them."""
    (layer,) = (each for each in study.layers if each.name == name)
    return np.concatenate([decoded(each, study.grid)[..., 0] for each in layer.sprites]) / 255


def test_a_page_holds_the_run_s_own_maps_label_mask_and_figures(predictor: Predictor) -> None:
    fuser = TopHalf()
    fuser.begin(predictor.task)
    method = replace(predictor.method, fuser=fuser)
    predictor = replace(predictor, method=method)
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[4:20, 8:24] = True
    slices = [Slice(image=image.numpy(), truth=truth) for image in IMAGES]
    stack = Stack(name="case", slices=lambda: (3, iter(slices)), stamp="", truth=True)
    found = drawn(predictor, method.explainers, stack)

    step = 0.5 / STEPS + 0.5 / 255 + 1e-4
    prediction, evidence = predictor.explain(IMAGES)
    assert set(evidence) == {"ig:steps=2", "caam"}
    for name, each in evidence.items():
        assert each.map.max() - each.map.min() > 4 * step  # else any map would do
        np.testing.assert_allclose(planes(found, f"evidence/{name}"), each.map[:, 0], atol=step)
    pseudo = predictor.label(IMAGES).pseudo
    assert pseudo.mask is not None
    label = pseudo.mask[:, 0].numpy().copy()
    assert label[:, SIDE // 2 :].max() > 4 * step
    label[:, SIDE // 2 :] = 0
    np.testing.assert_allclose(planes(found, "label"), label, atol=step)
    assert [each.taught for each in found.slices] == [0.5] * 3
    probability = lesion_probability(prediction, predictor.task)
    assert probability is not None
    marked = probability.max(axis=1) >= marked_from(predictor.task)
    np.testing.assert_array_equal(planes(found, "mask") > 0.5, marked)
    np.testing.assert_array_equal(planes(found, "truth") > 0.5, [truth] * 3)


def test_a_slice_of_a_scan_is_shown_as_it_is(predictor: Predictor, tmp_path: Path) -> None:
    for bits in (8, 16):
        settings = replace(DEFAULTS, size=32, window=HALF, spacing=(2, 2, 2), bits=bits)
        study = volume(tmp_path / "x.nii.gz", ball())
        (stack,) = stacks([study], settings, predictor.config.data)
        found = drawn(predictor, {}, stack)
        expected = study.slices(settings).images / (2**bits - 1)
        assert expected.max() > 0.9
        assert found.frame == expected.shape[1:]
        shown = np.concatenate([decoded(each, found.frame)[..., 0] for each in found.pictures])
        np.testing.assert_allclose(shown / 255, expected, atol=0.5 / 255 + 1e-6)

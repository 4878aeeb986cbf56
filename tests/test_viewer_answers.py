from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from predict_support import SIDE, train_tiny

from pseudolabel_kit.audit.parts import choose
from pseudolabel_kit.engine.predict import Predictor, load
from pseudolabel_kit.engine.readout import lesion_probability, marked_from
from pseudolabel_kit.viewer.answers import answer
from pseudolabel_kit.viewer.drawing import drawn
from pseudolabel_kit.viewer.sprites import EACH
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

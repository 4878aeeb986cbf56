"""MultiMix as a run: labels of classes alone, and a divergence that is told when it is idle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import PHANTOM, assembled, records, tensors_of, tiny

from pseudolabel_kit import load, train

RUN: Mapping[str, Any] = {
    "data": {"source": PHANTOM},
    "method": {
        "backbone": "multimix:width=0.125",
        "explainer": "none",
        "fuser": "multimix:threshold=0",
        "perturbation": "colour-jitter",
    },
    "loss": {"consistency_start": "1steps", "consistency_ramp": "0%", "background_weight": 1.0},
    "train": {"steps": 4},
}


def test_a_run_trains_every_weight_by_both_consistency_terms(tmp_path: Path) -> None:
    learner = assembled(tmp_path / "untrained", RUN).learner
    before = {name: value.detach().clone() for name, value in learner.named_parameters()}
    run = tmp_path / "run"
    train(tiny(RUN), out=run)
    after = tensors_of(run, "learner")
    assert all(not torch.equal(after[name], before[name]) for name in before)
    last = records(run, "step")[-1]["losses"]
    assert set(last) == {
        "classification",
        "segmentation",
        "consistency.label",
        "consistency.kl",
    }
    assert all(value > 0 for value in last.values())
    images = torch.rand(2, 1, 32, 32)
    predictor = load(run, which="last")
    torch.testing.assert_close(predictor(images).mask_logits, predictor(images).mask_logits)


def test_the_authors_divergence_is_said_to_be_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pseudolabel_kit.engine.log.SILENT_STEPS", 2)
    run, code = tmp_path / "run", {"method": {"fuser": "multimix:threshold=0:kl=softmax"}}
    train(tiny(RUN, code), out=run)
    assert records(run, "step")[-1]["losses"]["consistency.kl"] == 0
    told = [event["text"] for event in records(run, "event")]
    assert any(text.startswith("loss term 'consistency.kl' was exactly 0") for text in told)

"""PseudoSeg as a run: the head trains, and comes back in a process that never saw a feature."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny import PHANTOM, assembled, records, tensors_of, tiny

from pseudolabel_kit import load, train

RUN = {
    "data": {"source": PHANTOM},
    "method": {
        "explainer": "sgc:dim=8",
        "fuser": "pseudoseg",
        "perturbation": "colour-jitter,cutout",
    },
    "loss": {"consistency_start": "1steps", "consistency_ramp": "0%", "background_weight": 1.0},
    "train": {"steps": 4},
}


def test_a_run_trains_its_head_and_a_loaded_one_explains(tmp_path: Path) -> None:
    before = {
        name.removeprefix("states."): value.detach().clone()
        for name, value in assembled(tmp_path / "untrained", RUN).learner.named_parameters()
        if name.startswith("states.")
    }
    run = tmp_path / "run"
    train(tiny(RUN), out=run)
    after = tensors_of(run, "learner.states")
    assert set(after) == set(before)
    assert before["explainer 0.query"].shape[0] == 8
    assert all(not torch.equal(after[name], before[name]) for name in before)

    last = records(run, "step")[-1]["losses"]
    assert {"sgc:dim=8", "consistency.mask"} <= set(last)
    assert all(value > 0 for value in last.values())

    predictor = load(run, which="last")
    images = torch.rand(2, 1, 32, 32)
    _, evidence = predictor.explain(images)
    (found,) = evidence.values()
    assert found.map.shape == (2, 1, 32, 32)
    assert found.family == "class-map"
    state = next(iter(predictor.method.explainers.values())).state
    assert state is not None
    assert torch.equal(state.get_parameter("query"), after["explainer 0.query"])

from __future__ import annotations

import numpy as np
import pytest
import torch

from pseudolabel_kit.audit.findings import Findings, Gain, Judged, Rows
from pseudolabel_kit.engine.pixels import Tally


def gain(images: int, lesions: int, patients: int) -> Gain:
    """Of a perfect label over a decoder that is wrong in 3 pixels of 10."""
    truth = torch.zeros(images, 64).bool()
    truth[:lesions, :16] = True
    wrong = torch.rand(images, 64, generator=torch.Generator().manual_seed(0)) < 0.3
    holds = truth.any(dim=1).numpy()
    rows = Rows(
        names=tuple(map(str, range(images))),
        patients=1 + np.arange(images) % patients,
        labels=holds.astype(np.int64),
        masked=np.ones(images, dtype=np.bool_),
        free=~holds,
    )
    decoder = Judged(name="decoder", kind="decoder", tally=Tally.of((truth ^ wrong).float(), truth))
    label = Judged(name="f", kind="fuser", tally=Tally.of(truth.float(), truth))
    return Findings(
        run="r", split="val", step=1, classes=("np", "covid"), available=images, seed=0,
        rows=rows, decoder=decoder, evidence=(), labels=(label,),
    ).gains["f"]  # fmt: skip


@pytest.mark.parametrize(
    ("images", "lesions", "patients", "told"),
    [(10, 10, 5, 1), (9, 9, 9, 0), (12, 9, 12, 0), (40, 40, 4, 0), (40, 40, 2, 0)],
)
def test_few_images_or_patients_call_no_label_better(
    images: int, lesions: int, patients: int, told: int
) -> None:
    found = gain(images, lesions, patients)
    assert found.interval is not None
    assert found.interval[0] > 0, "it is shown, and excludes 0"
    assert found.sign == told

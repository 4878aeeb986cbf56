from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_f1_score,
    binary_jaccard_index,
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_recall,
    multiclass_specificity,
)

from pseudolabel_kit.engine.measures import Measures
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Batch, Prediction

CLASSES = ("NP", "CAP", "COVID-19")


def make_batch(
    mask: torch.Tensor,
    label: Sequence[int],
    has_label: Sequence[bool] | None = None,
    has_mask: Sequence[bool] | None = None,
) -> Batch:
    rows = len(label)
    return Batch(
        image=torch.zeros(rows, 1, *mask.shape[2:]),
        label=torch.tensor(label),
        mask=mask.float(),
        has_label=torch.tensor(has_label or [True] * rows),
        has_mask=torch.tensor(has_mask or [True] * rows),
    )


def measured(
    marked: torch.Tensor,
    batch: Batch,
    patients: Sequence[str | None] | None = None,
    class_logits: torch.Tensor | None = None,
) -> dict[str, float | None]:
    """Measures of a model that marks `marked` and is sure of it."""
    rows = len(marked)
    measures = Measures(CLASSES, marked.shape[1])
    logits = torch.zeros(rows, len(CLASSES)) if class_logits is None else class_logits
    measures.update(
        Prediction(class_logits=logits, mask_logits=20.0 * marked - 10),
        batch,
        [f"image-{i}" for i in range(rows)],
        patients or [None] * rows,
    )
    return measures.compute()


def pixels(*rows: Sequence[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[:, None, None, :]


def test_dice_and_miou_by_hand() -> None:
    # tp fp fn tn: image 0 has 1 1 0 2, image 1 has 2 0 1 1, image 2 (lesion-free) has 0 1 0 3.
    marked = pixels([1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0])
    truth = pixels([1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0])
    table = measured(marked, make_batch(truth, [2, 2, 0]), ["p", "p", "q"])
    assert table["dice"] == pytest.approx(6 / 9)
    assert table["dice_image"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert table["dice_patient"] == pytest.approx(6 / 8)
    assert table["miou"] == pytest.approx((3 / 6 + 6 / 9) / 2)
    assert table["miou_image"] == pytest.approx((1 / 2 + 2 / 3 + 2 / 3 + 1 / 2) / 4)
    assert table["miou_patient"] == pytest.approx((3 / 5 + 3 / 5) / 2)
    assert table["false_positive_share"] == pytest.approx(1 / 4)


def test_a_logit_of_zero_is_lesion() -> None:
    measures = Measures(CLASSES, 1)
    prediction = Prediction(class_logits=torch.zeros(1, 3), mask_logits=torch.zeros(1, 1, 2, 2))
    measures.update(prediction, make_batch(torch.ones(1, 1, 2, 2), [2]), ["a"], [None])
    assert measures.compute()["dice"] == 1.0


def test_channels_with_lesion_are_averaged() -> None:
    marked = torch.tensor([[[[1.0, 0]], [[1.0, 1]], [[1.0, 0]]]])
    truth = torch.tensor([[[[1.0, 0]], [[1.0, 0]], [[0.0, 0]]]])
    table = measured(marked, make_batch(truth, [2]))
    assert table["dice"] == pytest.approx((1 + 2 / 3) / 2)


def test_classes_by_hand() -> None:
    # Truth NP NP CAP COVID; answers NP CAP CAP NP.
    logits = torch.log(
        torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2]])
    )
    blank = torch.zeros(4, 1, 2, 2)
    table = measured(blank, make_batch(blank, [0, 0, 1, 2]), class_logits=logits)
    assert table["accuracy"] == pytest.approx(2 / 4)
    assert table["sensitivity"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert table["specificity"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    # NP: pairs .8>.1 .8>.5 .2>.1 .2<.5; CAP: .6 beats .1 .3, loses to .7; COVID: .2 .1 .1 .3.
    assert table["auc"] == pytest.approx((3 / 4 + 2 / 3 + 2 / 3) / 3)


def test_rows_without_a_label_or_mask_count_only_for_the_other_task() -> None:
    marked, truth = pixels([1, 0], [1, 1]), pixels([1, 0], [0, 0])
    batch = make_batch(truth, [0, 1], has_label=[False, True], has_mask=[True, False])
    table = measured(marked, batch, class_logits=torch.tensor([[9.0, 0, 0], [0, 9.0, 0]]))
    assert table["dice"] == 1.0
    assert table["accuracy"] == 1.0
    assert table["auc"] is None, "one class alone cannot be ranked"
    assert table["false_positive_share"] is None


def test_what_is_undefined_is_none() -> None:
    blank = torch.zeros(2, 1, 2, 2)
    table = measured(blank, make_batch(blank, [0, 0], has_label=[False, False]))
    assert {name for name, value in table.items() if value is not None} == {"false_positive_share"}


def test_an_empty_split_cannot_be_measured() -> None:
    with pytest.raises(RunError, match="no rows"):
        Measures(CLASSES, 1).compute()


@pytest.mark.parametrize("task", ["class_logits", "mask_logits"])
def test_scores_that_are_not_finite_name_the_image(task: str) -> None:
    logits = {"class_logits": torch.zeros(2, 3), "mask_logits": torch.zeros(2, 1, 2, 2)}
    logits[task][1] = torch.nan
    with pytest.raises(RunError, match="second: the model's scores are not finite"):
        Measures(CLASSES, 1).update(
            Prediction(class_logits=logits["class_logits"], mask_logits=logits["mask_logits"]),
            make_batch(torch.zeros(2, 1, 2, 2), [0, 1]),
            ["first", "second"],
            [None, None],
        )


def random_case(seed: int, rows: int = 40) -> tuple[Prediction, Batch, list[str], list[str | None]]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(rows, 1, 8, 8, generator=generator) < 0.3
    prediction = Prediction(
        class_logits=torch.randn(rows, 3, generator=generator),
        mask_logits=torch.randn(rows, 1, 8, 8, generator=generator) + truth,
    )
    label = torch.randint(0, 3, (rows,), generator=generator).tolist()
    names = [f"image-{i:02d}" for i in range(rows)]
    return prediction, make_batch(truth, label), names, [f"patient-{i // 4}" for i in range(rows)]


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_agrees_with_torchmetrics(seed: int) -> None:
    prediction, batch, names, patients = random_case(seed)
    measures = Measures(CLASSES, 1)
    measures.update(prediction, batch, names, patients)
    table = measures.compute()
    logits, label = prediction.class_logits, batch.label
    marked, truth = (prediction.mask_logits >= 0).long(), batch.mask.long()
    expected = {
        "accuracy": multiclass_accuracy(logits, label, 3, average="micro"),
        "sensitivity": multiclass_recall(logits, label, 3, average="macro"),
        "specificity": multiclass_specificity(logits, label, 3, average="macro"),
        "auc": multiclass_auroc(logits, label, 3, average="macro"),
        "dice": binary_f1_score(marked, truth),
        "miou": (binary_jaccard_index(marked, truth) + binary_jaccard_index(1 - marked, 1 - truth))
        / 2,
    }
    for name, value in expected.items():
        assert table[name] == pytest.approx(float(value), abs=1e-6), name


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 39))
def test_batches_and_processes_do_not_matter(seed: int, cut: int) -> None:
    prediction, batch, names, patients = random_case(seed)
    whole = Measures(CLASSES, 1)
    whole.update(prediction, batch, names, patients)
    parts = [Measures(CLASSES, 1), Measures(CLASSES, 1)]
    for part, chosen in zip(parts, (slice(cut, None), slice(0, cut)), strict=True):
        rows = make_batch(batch.mask[chosen], batch.label[chosen].tolist())
        part.update(prediction.rows(chosen), rows, names[chosen], patients[chosen])
    parts[0].merge(parts[1].rows)
    parts[0].merge(parts[1].rows[:1])  # a sampler pads the last batch with rows seen elsewhere
    assert parts[0].rows == whole.rows
    assert parts[0].compute() == whole.compute()


def test_nothing_warns_where_a_class_never_occurs() -> None:
    blank = torch.zeros(3, 1, 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = measured(
            blank, make_batch(blank, [0, 0, 1]), class_logits=torch.eye(3)[[0, 0, 1]] * 5
        )
    assert table["accuracy"] == 1.0
    assert table["sensitivity"] == 1.0, "the absent class is left out, not counted as a miss"
    assert np.isclose(table["auc"] or 0, 1.0)

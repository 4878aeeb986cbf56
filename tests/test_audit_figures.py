"""Every figure of an audit by hand, on images of four pixels."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console, RenderableType

from pseudolabel_kit.audit import charts
from pseudolabel_kit.audit.findings import Findings, Judged, Rows
from pseudolabel_kit.audit.page import table
from pseudolabel_kit.audit.pictures import extremes
from pseudolabel_kit.audit.summary import summary
from pseudolabel_kit.audit.tables import as_csv, sign, terminal
from pseudolabel_kit.audit.words import LABELS
from pseudolabel_kit.engine.bootstrap import times
from pseudolabel_kit.engine.pixels import Tally


def by_hand(label: torch.Tensor, own: torch.Tensor, truth: torch.Tensor) -> Findings:
    rows = len(truth)
    return Findings(
        run="r", split="val", step=1, classes=("np", "covid"), available=rows, seed=0,
        rows=Rows(
            names=tuple(map(str, range(rows))),
            patients=np.arange(1, rows + 1),
            labels=truth.flatten(1).any(dim=1).long().numpy(),
            masked=np.ones(rows, dtype=bool),
            free=~truth.flatten(1).any(dim=1).numpy(),
        ),
        decoder=Judged(name="decoder", kind="decoder", tally=Tally.of(own, truth)),
        evidence=(),
        labels=(
            Judged(
                name="f", kind="fuser", tally=Tally.of(label, truth),
                taught=np.array([0.5] * rows), wrong=np.array([0.25] * rows),
            ),
        ),
    )  # fmt: skip


def test_figures_by_hand() -> None:
    truth = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    label = torch.tensor([[0.9, 0.8, 0.1, 0.2], [0.1, 0.1, 0.1, 0.1]])
    own = torch.tensor([[0.9, 0.4, 0.1, 0.2], [0.1, 0.1, 0.1, 0.1]])
    found = by_hand(label, own, truth)
    figures = found.figures(found.labels[0])
    assert figures["dice"] == 1
    assert figures["coverage"] == 0.5
    assert figures["error"] == 0.5
    assert figures["lesion_free"] == pytest.approx(0.1)
    assert found.gains["f"].value == pytest.approx(1 - 2 / 3)
    healthy = found.figures(found.labels[0], found.groups()["class np"])
    assert healthy["dice"] is None
    change = found.change(found.labels[0])
    assert change == pytest.approx([(0.36 - 0.04) / 4, 0])
    assert list(extremes(change)) == [(0, "helps")]
    assert "patient 2" in as_csv([found])


def test_the_same_label_gains_nothing_and_a_better_one_surely() -> None:
    torch.manual_seed(0)
    truth = torch.zeros(30, 64).bool()
    truth[:, :16] = True
    own = torch.where(torch.rand(30, 64) < 0.3, ~truth, truth).float()
    same = by_hand(own, own, truth).gains["f"]
    assert (same.value, same.interval, same.sign) == (0, (0, 0), 0)
    better = by_hand(truth.float(), own, truth).gains["f"]
    assert better.sign == 1
    assert by_hand(own, truth.float(), truth).gains["f"].sign == -1
    low, high = better.interval or (0, 0)
    assert low < better.value < high


def test_one_patient_has_no_interval() -> None:
    truth = torch.tensor([[1, 1, 0, 0]]).bool()
    found = by_hand(truth.float(), torch.full((1, 4), 0.1), truth).gains["f"]
    assert (found.value, found.interval, found.sign) == (1, None, 0)


def test_patients_are_drawn_whole() -> None:
    drawn = times(np.array([1, 1, 2, 0, 0]), 1000, 0)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 3] != drawn[:, 4]).any()
    assert (drawn[:, [0, 2, 3, 4]].sum(axis=1) == 4).all()


def pinned(shift: float = 0) -> Findings:
    """Four images of two patients; one holds no lesion, and the last has no known mask.

    `shift` is added to the lesion pixel that the label leaves at 0.25 in the first image.
    """
    label = torch.tensor(
        [[0.75, 0.25, 0.125, 0], [0.125, 0.125, 0, 0], [0.25, 0.625, 0.125, 0], [1, 1, 1, 1]]
    )
    label[0, 1] += shift
    own = torch.tensor([[0.75, 0, 0, 0]] * 3 + [[0.0, 0, 0, 0]])
    truth = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
    rows = Rows(
        names=("a", "b", "c", "d"),
        patients=np.array([1, 1, 2, 2]),
        labels=np.array([1, 0, 1, -1]),
        masked=np.array([True, True, True, False]),
        free=np.array([False, True, False, False]),
    )
    fuser = Judged(
        name="f", kind="fuser", tally=Tally.of(label, truth),
        taught=np.array([0.5, 1, 1, 1]), wrong=np.array([0.25, 0, 0.5, 1]),
        class_taught=np.array([1.0, 1, 0, 1]), class_right=np.array([1.0, 0, 1, 1]),
    )  # fmt: skip
    whole = by_hand(label, own, truth)
    return replace(whole, rows=rows, labels=[fuser])


def test_every_figure_by_hand() -> None:
    found = pinned()
    assert found.figures(found.labels[0]) == pytest.approx(
        {
            "dice": 2 / 5,  # at 0.5: 1 of 3 lesion pixels, and 1 other one
            "brier": (0.640625 + 0.03125 + 0.96875) / 12,
            "ece": (4 * 0.125 + 2 * 0.75 + 0.625 + 0.25) / 12,  # the bins' |sum - lesion|
            "auroc": (1 + 2 / 3) / 2,  # of the two images with a lesion
            "average_precision": (1 + 1 / 2) / 2,
            "best_dice": 6 / 7,  # from above 0.125 to 0.25: all 3, and 1 other one
            "best_threshold": 31 / 240,  # the first edge above 0.125
            "mean": 6.375 / 16,
            "foreground": 6 / 16,
            "lesion_free": 0.25 / 4,  # the second image
            "truth": 3 / 12,
            "coverage": 3.5 / 4,
            "error": 0.75 / 2.5,
            "label_coverage": 3 / 4,
            "label_accuracy": 1 / 2,  # of the three that are taught one's class is not known
        },
        abs=1e-4,
    )


def test_the_interval_of_a_gain_by_hand() -> None:
    """Drawn are patient 1 twice, 2 twice, or both, so the bounds are those of one alone."""
    gain = pinned().gains["f"]
    assert gain.value == pytest.approx(2 / 5 - 4 / 6)
    assert gain.interval == pytest.approx((0 - 1, 2 / 3 - 2 / 4))


def test_the_curves_by_hand() -> None:
    found = pinned()
    reliability, risk = charts.labels(found)
    _, label = reliability.curves
    assert label.x == pytest.approx([0, 0.125, 0.25, 0.625, 0.75])
    assert label.y == pytest.approx([0, 0, 1, 0, 1])
    label, taught = risk.curves
    wrong = dict(zip((12 * label.x).round().astype(int), label.y, strict=True))
    assert wrong == pytest.approx({4: 0, 8: 0, 9: 0, 11: 2 / 11, 12: 3 / 12})
    assert (taught.x, taught.y) == (3.5 / 4, 0.75 / 2.5)


def test_without_a_known_mask_only_what_teaches_is_told() -> None:
    found = pinned()
    nobody = np.zeros(4, dtype=bool)
    found = replace(found, split="unlabelled", rows=replace(found.rows, masked=nobody, free=nobody))
    figures = found.figures(found.labels[0])
    told = {name for name, value in figures.items() if value is not None}
    assert told == {"mean", "foreground", "coverage", "label_coverage", "label_accuracy"}
    assert not found.gains
    shown = written(terminal(found))
    assert (
        "\nNo mask of these images is known: to judge maps and labels try --split val.\n" in shown
    )
    assert "judge maps and labels try another split." in written(
        terminal(replace(found, split="val"))
    )
    assert "try --split" not in written(terminal(pinned()))


def test_a_fuser_that_is_judged_where_it_was_fitted_is_marked_as_such() -> None:
    found = by_hand(torch.eye(30), torch.zeros(30, 30), torch.eye(30).bool())
    label = replace(found.labels[0], fitted="val")
    there, elsewhere = (replace(found, split=split, labels=[label]) for split in ("val", "test"))
    assert sign(there, label) == 0 < sign(elsewhere, label) == 1
    assert "* f: fitted on val, so judged too kindly here" in written(terminal(there))
    line, truth = table(there, [label], LABELS).lines
    assert (line.note, line.sign) == ("fitted on val, so judged too kindly here", 0)
    assert table(elsewhere, [label], LABELS).lines[0].sign == 1
    assert (truth.name, "0.033" in truth.cells) == ("truth", True), "1 pixel of 30"
    said = written(terminal(elsewhere))
    assert "* f: fitted on val\n" in said
    assert "f*" in said
    assert as_csv([there]).splitlines()[-1].endswith(",val")
    several = written(summary({Path("a"): there, Path("b"): there}))
    assert "* f: fitted on val, so judged too kindly here" in several


def test_the_mean_is_that_of_all_runs() -> None:
    """Dice 2/5, and 2 x 2 / (3 + 3) where the label marks another lesion pixel."""
    runs = {Path(f"ours/seed{i}"): pinned(shift) for i, shift in enumerate((0, 0.5))}
    assert "0.533 ± 0.189" in written(summary(runs))
    assert "0.533 ± 0.189" in written(summary(dict(reversed(runs.items()))))


def test_those_that_lose_most_come_first() -> None:
    change = np.array([-0.1, -0.3, -0.2, 0.1, 0.3, 0.2, np.nan, 0])
    assert list(extremes(change)) == [(4, "helps"), (5, "helps"), (1, "harms"), (2, "harms")]


def written(shown: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]

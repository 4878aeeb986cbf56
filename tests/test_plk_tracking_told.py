from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from plk_tracking.memory import Memory
from plk_tracking.observer import Book, Observer
from plk_tracking.told import name, settings, shares, without_folders
from pseudolabel_kit.engine.run import Run, configure
from pseudolabel_kit.interfaces import PseudoLabels

MASK = torch.tensor([0.0, 0.25, 0.5, 1.0]).reshape(1, 1, 2, 2)
WEIGHT = torch.tensor([0.0, 0.0, 0.0, 0.7]).reshape(1, 1, 2, 2)
SOFT = PseudoLabels(mask=MASK, mask_weight=WEIGHT)
RUN = Run(folder=Path("/home/maria/runs/first"), config=configure(), steps=4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/maria/ct/manifest.csv", "…/manifest.csv"),
        ("/home/maria/ct", "…/ct"),
        ("/home/maria lee/ct/a.csv", "…/a.csv"),
        ("~/ct/manifest.csv", "…/manifest.csv"),
        (r"C:\Users\maria\ct\manifest.csv", "…/manifest.csv"),
        ("manifest:path=/home/maria/ct", "manifest:path=…/ct"),
        ("net:weights=/data/a.safetensors,cam", "net:weights=…/a.safetensors,cam"),
        ("data/ct/manifest.csv", "data/ct/manifest.csv"),
        ("captum/ig:steps=8,sharpen:ratios=0.3/0.4", "captum/ig:steps=8,sharpen:ratios=0.3/0.4"),
        ("phantom:size=32", "phantom:size=32"),
        ("5 / 3 and 1/2", "5 / 3 and 1/2"),
        ("beta/2 at '/srv/x/y' and /srv/z/w", "beta/2 at '…/y' and …/w"),
    ],
)
def test_absolute_paths_lose_their_folders(text: str, told: str) -> None:
    assert without_folders(text) == told


def test_settings_are_numbers_and_texts() -> None:
    found = settings(
        Run(folder=Path("run"), config=configure({"data": {"source": "/a/b"}}), steps=1)
    )
    assert found["data.source"] == "…/b"
    assert found["train.batch_size"] == 8
    assert found["loss.debias"] is True
    assert found["optimiser.betas"] == "0.5/0.9"
    assert found["data.labelled"] == "none"


def test_a_run_is_called_by_its_folder_and_the_one_above() -> None:
    assert name(RUN) == "runs/first"
    assert name(Run(folder=Path("first"), config=RUN.config, steps=1)) == "first"


def test_pseudo_labels_tell_three_means() -> None:
    found = {key: float(value) for key, value in shares(SOFT).items()}
    assert found == {"mean_label": 0.4375, "foreground": 0.5, "coverage": 0.25}


def test_labels_of_images_tell_their_coverage() -> None:
    pseudo = PseudoLabels(label=torch.eye(3)[:2], label_weight=torch.tensor([0.0, 1.0]))
    assert {key: float(value) for key, value in shares(pseudo).items()} == {"coverage": 0.5}
    assert shares(PseudoLabels()) == {}


class Kept(Book):
    def __init__(self, run: Any, first: int) -> None:
        self.lines: list[Any] = [first]

    def figures(self, step: int, figures: Any) -> None:
        self.lines.append((step, dict(figures)))

    def event(self, step: int, level: str, text: str) -> None:
        self.lines.append((step, text))

    def close(self, outcome: str) -> None:
        self.lines.append(outcome)


def observed() -> tuple[Observer, list[Kept]]:
    books: list[Kept] = []

    def open_book(run: Any, first: int) -> Kept:
        books.append(Kept(run, first))
        return books[-1]

    return Observer(open_book), books


def test_a_book_opens_with_the_first_step_and_holds_what_was_said_before() -> None:
    observer, books = observed()
    observer.plk_event_raised(4, "warning", "/a/b/step-4: damaged")
    assert not books
    observer.plk_pseudo_labelled(5, SOFT)
    observer.plk_step_ended(RUN, 5, {"mask": 0.5})
    observer.plk_epoch_ended(1, 5, {"dice": 0.25, "auc": None})
    observer.plk_event_raised(5, "info", "joins")
    observer.plk_run_ended("finished")
    pseudo = {"pseudo/mean_label": 0.4375, "pseudo/foreground": 0.5, "pseudo/coverage": 0.25}
    assert books[0].lines == [
        5,
        (4, "…/step-4: damaged"),
        (5, {"loss/mask": 0.5, **pseudo}),
        (5, {"epoch": 1.0, "val/dice": 0.25}),
        (5, "joins"),
        "finished",
    ]


def test_without_a_step_there_is_no_book() -> None:
    observer, books = observed()
    observer.plk_event_raised(0, "info", "begins")
    observer.plk_run_ended("failed")
    assert not books


def test_trackers_remember_side_by_side(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "trackers.json")
    assert memory.recall("mlflow") == {}
    memory.keep("mlflow", run_id="a")
    memory.keep("wandb", run_id="b")
    memory.keep("mlflow", run_id="c")
    assert (memory.recall("mlflow"), memory.recall("wandb")) == ({"run_id": "c"}, {"run_id": "b"})
    assert [path.name for path in tmp_path.iterdir()] == ["trackers.json"]

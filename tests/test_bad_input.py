"""Whatever is wrong with what a user gives: one line that names it, exit code 2, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_support import write_manifest
from PIL import Image
from tiny import (
    cache_folder,
    refused,
    tiny,
    toml_of,
    training,
    usual_lines,
    write_dataset,
)

Lines = list[dict[str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sound dataset of twelve images."""
    write_dataset(tmp_path / "data")
    return tmp_path / "data"


# ── data ────────────────────────────────────────────────────────────────────────────


def delete(data: Path, lines: Lines) -> None:
    (data / lines[6]["image"]).unlink()


def truncate(data: Path, lines: Lines) -> None:
    path = data / lines[6]["image"]
    path.write_bytes(path.read_bytes()[:300])


def be_text(data: Path, lines: Lines) -> None:
    (data / lines[6]["image"]).write_text("this is no image")


def empty(data: Path, lines: Lines) -> None:
    (data / lines[6]["image"]).write_bytes(b"")


def other_size(data: Path, lines: Lines) -> None:
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(data / lines[6]["mask"])


def many_values(data: Path, lines: Lines) -> None:
    grey = np.arange(32 * 32).reshape(32, 32).astype(np.uint8)
    Image.fromarray(grey).save(data / lines[6]["mask"])


def unknown_label(data: Path, lines: Lines) -> None:
    lines[9]["label"] = "soundd"


def two_sides(data: Path, lines: Lines) -> None:
    lines[10]["patient"] = lines[1]["patient"]


def nobody_labelled(data: Path, lines: Lines) -> None:
    for line in lines:
        line["split"] = line["split"].replace("un", "").replace("labelled", "unlabelled")


def not_a_number(data: Path, lines: Lines) -> None:
    pixels = np.zeros((32, 32), np.float32)
    pixels[3, 4] = np.nan
    np.save(data / "images" / "06.npy", pixels)
    lines[6]["image"] = "images/06.npy"


def unknown_split(data: Path, lines: Lines) -> None:
    lines[6]["split"] = "tset"


def no_image_column(data: Path, lines: Lines) -> None:
    for line in lines:
        line["picture"] = line.pop("image")


def other_image_size(data: Path, lines: Lines) -> None:
    for name in ("image", "mask"):
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(data / lines[6][name])


SPOILT: list[tuple[Callable[[Path, Lines], None], str]] = [
    (delete, "manifest.csv row 8: image images/06.png does not exist"),
    (truncate, "manifest.csv row 8: image images/06.png is truncated or damaged"),
    (be_text, "manifest.csv row 8: image images/06.png is no image that can be read"),
    (empty, "manifest.csv row 8: image images/06.png is empty"),
    (other_size, "manifest.csv row 8: mask masks/06.png is 9x8 px; expected the 32x32 px"),
    (many_values, "manifest.csv row 8: mask masks/06.png holds the values"),
    (unknown_label, "manifest.csv row 11: unknown label 'soundd' (did you mean 'sound'?)"),
    (two_sides, "patient 'IDENTITY01' stands on two sides: images/01.png is in train, images/10"),
    (nobody_labelled, "no training row is labelled"),
    (not_a_number, "manifest.csv row 8: image images/06.npy holds NaN or infinite pixels"),
    (unknown_split, "manifest.csv row 8: there is no split 'tset' (did you mean 'test'?)"),
    (no_image_column, "manifest.csv has no column 'image'"),
    (other_image_size, "images/00.png is 32x32 px but images/06.png is 40x40 px; resize all with"),
]


@pytest.mark.parametrize(("spoil", "complaint"), SPOILT, ids=[s.__name__ for s, _ in SPOILT])
def test_bad_data_is_named_before_anything_is_written(
    spoil: Callable[[Path, Lines], None],
    complaint: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = usual_lines()
    spoil(data, lines)
    write_manifest(data, lines)
    toml = toml_of(tiny(), tmp_path / "tiny.toml")
    assert refused(training(data, toml, tmp_path / "out"), capsys).startswith(complaint)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "tiny.toml"]


def test_images_too_small_for_the_network_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "data", side=16)
    toml = toml_of(tiny(), tmp_path / "tiny.toml")
    told = refused(training(tmp_path / "data", toml, tmp_path / "out"), capsys)
    assert told == (
        "backbone 'vgg-multiscale:width=0.0625' of plugin 'calibrated': images of 16x16 pixels "
        "are too small: expected at least 32x32"
    )
    assert not (tmp_path / "out").exists()


# ── the command line and the configuration ──────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--stepps 3", "No such option: --stepps"),
        ("--steps many", "Invalid value for '--steps': "),
        ("--steps 0", "train.steps = 0: input should be greater than or equal to 1"),
        ("--seed -1", "train.seed = -1"),
        ("--batch-size 0", "train.batch_size = 0"),
        ("--strategy dpp", "train.strategy = 'dpp': input should be 'auto' or 'ddp'"),
        ("--precision 16", "train.precision = '16'"),
        ("--set train.ema=1.5", "train.ema = 1.5"),
        ("--set train.stepps=3", "no key 'train.stepps' (did you mean 'train.steps'?)"),
        ("--set train.steps", "--set train.steps: expected key=value"),
        ("--recipe calibratd", "'calibratd' (did you mean 'calibrated'"),
        ("--fuser sharpn", "did you mean 'sharpen'"),
        ("--fuser sharpen:temprature=1", "did you mean 'temperature'"),
        ("--fuser sharpen:temperature=0", "temperature"),
        ("--explainer caam:levels=9", "levels"),
        ("--explainer caam:start=soon", "soon"),
        ("--explainer caam,caam", "'caam' is given twice"),
        ("--backbone resnet", "resnet"),
        ("--set method.perturbation=blur", "blur"),
        ("--set evaluate.strips=cma", "cma"),
        ("--set method.teacher=ema --set train.ema=0", "expected train.ema above 0"),
        ("--set train.accelerator=cuda", "train.accelerator = cuda"),
        ("--data nowhere", "nowhere"),
        ("--data phantom:size=1", "size = 1: expected at least"),
        ("--set data.lesion_classes=['covd']", "no class 'covd' (did you mean 'covid"),
        ("nowhere.toml", "nowhere.toml: No such file or directory"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_written(
    line: str,
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    source = [] if "--data" in line else ["--data", "phantom:size=32:patients=51:slices=1"]
    cache = ["--set", f"data.cache={cache_folder()}"]
    told = refused(["train", *line.split(), *source, *cache, "--out", "out"], capsys)
    assert complaint in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "others",
    [
        ["--steps", "3"],
        ["--out", "x"],
        ["--set", "train.steps=3"],
        ["--overwrite"],
        ["a.toml"],
        ["--dry-run"],
    ],
)
def test_a_resumed_run_takes_no_other_option(
    others: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(["train", "--resume", str(tmp_path), *others], capsys)
    assert told.startswith("--resume goes on with the run's own run.toml: it cannot be combined")
    if others[0].startswith("--"):
        assert told.endswith(others[0])

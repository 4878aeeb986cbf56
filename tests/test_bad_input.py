"""Whatever is wrong with what a user gives: one line that names it, exit code 2, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import cache_folder, tiny, toml_of, usual_lines, write_dataset, write_manifest

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.engine.folder import RunFolder

Lines = list[dict[str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sound dataset of twelve images."""
    write_dataset(tmp_path / "data")
    return tmp_path / "data"


def refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command line is refused with."""
    capsys.readouterr()
    code = call(line)
    shown = capsys.readouterr()
    assert (code, shown.err.count("\n"), shown.out) == (2, 1, ""), shown
    assert shown.err.startswith("plk: ")
    assert "Traceback" not in shown.err
    return shown.err.removeprefix("plk: ").rstrip("\n")


def training(data: Path, toml: str, out: Path) -> list[str]:
    return ["train", toml, "--data", str(data), "--out", str(out)]


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
    assert told == ("vgg-multiscale: images of 16x16 pixels are too small: expected at least 32x32")
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


# ── run folders ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, without its report."""
    from pseudolabel_kit.engine import run as run_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "write_report", lambda path: path)
        out = tmp_path_factory.mktemp("finished") / "run"
        run_module.train(tiny({"train": {"steps": 2}}), out=out)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def snapshot(folder: Path) -> dict[str, Any]:
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


@pytest.mark.parametrize(
    "command", [["train", "--resume"], ["evaluate"], ["evaluate", "--split", "test"]]
)
def test_a_folder_without_a_run_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        told = refused([*command, str(folder)], capsys)
        assert told == f"{folder}: not a run: there is no run.toml in it"
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_overwritten_unasked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(run)
    toml = toml_of(tiny(), tmp_path / "tiny.toml")
    told = refused(["train", toml, "--out", str(run)], capsys)
    assert told.startswith(f"{run}: already holds a run; continue it with --resume {run}, ")
    assert snapshot(run) == before


def test_a_run_that_is_overwritten_with_bad_data_is_not_lost(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "images" / "06.png").unlink()
    before = snapshot(run)
    line = training(data, toml_of(tiny(), tmp_path / "tiny.toml"), run)
    assert "row 8" in refused([*line, "--overwrite"], capsys)
    assert snapshot(run) == before


@pytest.mark.parametrize("parent", ["/proc", "a file"])
def test_a_place_that_cannot_be_written_is_named(
    parent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = Path("/proc/run") if parent == "/proc" else tmp_path / "file" / "run"
    toml = toml_of(tiny(), tmp_path / "tiny.toml")
    told = refused(["train", toml, "--out", str(out)], capsys)
    assert told.startswith(f"{out}: cannot be written: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_without_permission_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    toml = toml_of(tiny(), tmp_path / "tiny.toml")
    told = refused(["train", toml, "--out", str(tmp_path / "shut" / "run")], capsys)
    assert "Permission denied" in told


def test_a_run_that_somebody_trains_is_left_alone(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = RunFolder(run)
    training.reopen()
    told = refused(["train", "--resume", str(run)], capsys)
    assert told == f"{run}: another process is training into it"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("[train]\nsteps = 'x'", "train.steps = 'x'"),
        ("[train]\nstepps = 1", "did you mean 'train.steps'?"),
        ("[train", "not TOML"),
    ],
)
def test_a_spoilt_configuration_of_a_run_is_named(
    spoil: str, complaint: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "run.toml").write_text(spoil)
    for command in (["train", "--resume"], ["evaluate"]):
        told = refused([*command, str(run)], capsys)
        assert told.startswith(f"{run}/run.toml: ")
        assert complaint in told


def test_damaged_weights_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = run / "checkpoints" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:-50])
    assert refused(["evaluate", str(run)], capsys).startswith(f"{best}: damaged checkpoint")


@pytest.mark.parametrize("content", ["{}", "{", json.dumps({"task": {"channels": "x"}}), None])
def test_a_run_without_its_provenance_is_named(
    content: str | None, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "provenance.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    told = refused(["evaluate", str(run)], capsys)
    assert told.startswith(f"{path}: cannot be read; expected the file that plk train wrote")


def test_a_split_that_does_not_exist_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(["evaluate", str(run), "--split", "tset"], capsys)
    assert "'tset' is not one of 'labelled', 'unlabelled', 'val', 'test'" in told


def test_data_that_are_gone_when_a_run_is_measured_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pseudolabel_kit.engine import run as run_module

    monkeypatch.setattr(run_module, "write_report", lambda path: path)
    source = {"data": {"source": str(data)}, "train": {"steps": 1}}
    run_module.train(tiny(source), out=tmp_path / "run")
    shutil.rmtree(data)
    told = refused(["evaluate", str(tmp_path / "run")], capsys)
    assert told.startswith(str(data))

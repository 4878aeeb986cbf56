from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import Site
from filelock import FileLock
from PIL import Image
from tiny import PHANTOM, cache_folder, records, refused, same, tensors_of, write_dataset
from tiny_compare import STRUCK, offer_struck, write_spec
from tiny_process import begin, ended

from pseudolabel_kit.cli.comparing import again_by
from pseudolabel_kit.cli.main import call


@pytest.fixture
def mark(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file whose presence makes `struck` strike."""
    offer_struck(site)
    monkeypatch.setenv("PLK_TEST_MARK", str(tmp_path / "mark"))
    return tmp_path / "mark"


def test_a_comparison_ends_in_tables_and_is_not_run_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervised = {"method": {"fuser": "none"}}
    spec = write_spec(tmp_path / "two.toml", {"Supervised": supervised, "FixMatch": {}})
    line = ["compare", spec, "--out", str(tmp_path / "out"), "--jobs", "2"]
    assert call(line) == 0
    shown = capsys.readouterr()
    assert "Supervised" in shown.out
    assert f"report: {tmp_path / 'out' / 'report.html'}" in shown.out
    assert "2/2  " in shown.err
    files = {"compare.toml", "comparison.csv", "comparison.json", "comparison.tex", "report.html"}
    assert files <= {path.name for path in (tmp_path / "out").iterdir()}
    rows = [tmp_path / "out" / row for row in ("fixmatch", "supervised")]
    assert all((row / "train-seed0.log").is_file() for row in rows)
    assert sorted((tmp_path / "out").glob("*/seed*")) == [row / "seed0" for row in rows]

    written = times(tmp_path / "out")
    assert call(line) == 0
    assert times(tmp_path / "out") == written
    again = capsys.readouterr()
    assert again.out == shown.out
    assert again.err == "2 of 2 cells are finished already\n"
    resolved = str(tmp_path / "out" / "compare.toml")
    assert call(["compare", resolved, "--out", str(tmp_path / "out")]) == 0
    assert times(tmp_path / "out") == written


def test_parts_are_rows_and_another_split_trains_nothing_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = ["compare", "--explainer", "cam,caam", "--split", "val", "--seeds", "1"]
    for setting in (
        *(f"data.source={PHANTOM}", f"data.cache={cache_folder()}", "train.steps=2"),
        *("method.backbone=vgg-multiscale:width=0.0625", "train.batch_size=2"),
        *("evaluate.bootstrap=10", "evaluate.strips=none"),
    ):
        line += ["--set", setting]
    assert call([*line, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "on val" in shown
    assert not list(out.rglob("evaluation-test.json"))
    for name in ("cam", "caam"):
        assert f'explainer = "{name}"' in (out / name / "seed0" / "run.toml").read_text()
    trained = tensors_of(out / "caam" / "seed0")

    again = ["compare", str(out / "compare.toml"), "--out", str(out), "--split", "test"]
    assert call(again) == 0
    shown = capsys.readouterr().out
    assert "on test" in shown
    assert "on val" not in shown
    assert (out / "caam" / "seed0" / "evaluation-test.json").is_file()
    assert same(tensors_of(out / "caam" / "seed0"), trained)


def test_a_failed_cell_is_told_with_its_reason_and_tried_again(
    mark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"Broken": STRUCK, "Sound": {}}
    out = tmp_path / "out"
    line = ["compare", write_spec(tmp_path / "two.toml", rows), "--out", str(out)]
    mark.write_text("self error")
    assert call(line) == 1
    shown = capsys.readouterr()
    reason = json.loads((out / "broken" / "seed0.failed.json").read_text())["reason"]
    origin = "perturbation 'struck' of plugin 'striking'"
    assert reason.startswith(f"{origin}: perturb raised ZeroDivisionError: struck in two lines (")
    assert reason.endswith("in step 3")
    assert shown.err.splitlines().count(f"1/2  Broken, seed 0: failed: {reason}") == 1
    told = "".join(shown.out.split())
    assert told.count("".join(f"failed: Broken, seed 0: {reason}".split())) == 1
    log = (out / "broken" / "train-seed0.log").read_text()
    assert "Traceback (most recent call last):" in log
    assert "in perturb" in log
    assert (out / "sound" / "seed0" / "evaluation-test.json").is_file()
    assert "struck in two lines" in (out / "report.html").read_text()

    written = times(out / "sound")
    mark.unlink()
    assert call(line) == 0
    assert times(out / "sound") == written
    assert not (out / "broken" / "seed0.failed.json").exists()
    assert (out / "broken" / "seed0" / "evaluation-test.json").is_file()
    assert "failed" not in capsys.readouterr().err


def test_a_comparison_that_is_killed_again_and_again_ends_as_the_one_that_never_was(
    mark: Path, tmp_path: Path
) -> None:
    row = {"train": {"steps": 14}, **STRUCK}
    spec, log = write_spec(tmp_path / "spec.toml", {"Struck": row}), tmp_path / "log"
    whole, out, cell = tmp_path / "whole", tmp_path / "out", Path("struck") / "seed0"
    assert call(["compare", spec, "--out", str(whole)]) == 0

    line = ["compare", spec, "--out", str(out)]
    hint = f"stopped; go on with: plk compare {out / 'compare.toml'} --out {out}"
    blows = {
        "parent SIGTERM": (143, hint),
        "parent SIGKILL": (-9, ""),  # its child saves a checkpoint and does not stay
        "self SIGKILL": (
            1,
            "1/1  Struck, seed 0: failed: its process was ended by SIGKILL (is the ",
        ),
        "parent SIGINT": (130, hint),
    }
    for blow, (code, told) in blows.items():
        mark.write_text(blow)
        done = ended(begin(line, log), log)
        assert (done.code, mark.exists()) == (code, False), (blow, done.text)
        assert told in done.text
        assert any((out / cell / "checkpoints").iterdir())
        assert not (out / cell / "report.html").exists()

    assert call(line) == 0
    assert len(json.loads((out / cell / "provenance.json").read_text())["resumed"]) == len(blows)
    for part in ("learner", "average", "optimiser"):
        assert same(tensors_of(whole / cell, part), tensors_of(out / cell, part))
    assert records(whole / cell) == records(out / cell)
    for name in ("evaluation-test.json", "evaluation-val.json"):
        assert (whole / cell / name).read_text() == (out / cell / name).read_text()


def test_a_changed_row_is_refused_or_trained_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(tmp_path / "spec.toml", {"A": {}, "B": {}})
    out = tmp_path / "out"
    line = ["compare", spec, "--out", str(out), "--seeds", "1"]
    assert call([*line, "--jobs", "2"]) == 0
    unchanged, changed = times(out / "a"), times(out / "b")

    write_spec(tmp_path / "spec.toml", {"A": {}, "B": {"train": {"ema": 0.5}}})
    complaint = refused(line, capsys)
    assert complaint == (
        f"{out / 'b' / 'seed0'}: was trained with train.ema = 0.9, 'B' now says 0.5; "
        "choose another --out, or train such runs anew with --overwrite"
    )
    assert times(out / "b") == changed
    assert call([*line, "--overwrite"]) == 0
    assert times(out / "a") == unchanged
    assert times(out / "b").keys() == changed.keys()
    assert not set(times(out / "b").values()) & set(changed.values())
    assert "ema = 0.5" in (out / "b" / "seed0" / "run.toml").read_text()


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ["compare", write_spec(tmp_path / "s.toml", {"A": {}}), "--out", str(out)]
    assert call(line) == 0
    run = out / "a" / "seed0"
    whole, trained = (run / "evaluation-test.npz").read_bytes(), tensors_of(run)
    (run / "evaluation-test.npz").write_bytes(b"")
    (out / "a" / "seed0.failed.json").touch()
    assert call(line) == 0
    assert (run / "evaluation-test.npz").read_bytes() == whole
    assert same(tensors_of(run), trained)
    assert not (out / "a" / "seed0.failed.json").exists()


def test_a_run_whose_configuration_cannot_be_read_is_refused_or_trained_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = ["compare", write_spec(tmp_path / "s.toml", {"A": {}}), "--out", str(out)]
    (out / "a" / "seed0").mkdir(parents=True)
    (out / "compare.toml").touch()
    broken = out / "a" / "seed0" / "run.toml"
    broken.write_text("[train")
    complaint = refused(line, capsys)
    assert complaint.startswith(f"{broken}: not TOML: ")
    assert complaint.endswith("or train such runs anew with --overwrite")
    assert call([*line, "--overwrite"]) == 0
    assert (broken.parent / "evaluation-test.json").is_file()


def test_a_run_on_data_that_changed_is_refused_or_trained_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    spec = write_spec(tmp_path / "s.toml", {"A": {}})
    line = ["compare", spec, "--out", str(out), "--data", str(write_dataset(tmp_path / "scans"))]
    assert call(line) == 0
    assert call(line) == 0
    before = (out / "a" / "seed0" / "provenance.json").read_text()
    mask = tmp_path / "scans" / "masks" / "00.png"
    Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)

    complaint = refused(line, capsys)
    assert f"its images, labels or splits changed since {out / 'a' / 'seed0'} began" in complaint
    assert complaint.endswith("or train such runs anew with --overwrite")
    assert (out / "a" / "seed0" / "provenance.json").read_text() == before
    assert call([*line, "--overwrite"]) == 0
    assert (out / "a" / "seed0" / "provenance.json").read_text() != before
    assert call(line) == 0


def test_a_row_that_cannot_be_written_is_a_failure_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "compare.toml").touch()
    (out / "a").touch()
    line = ["compare", write_spec(tmp_path / "s.toml", {"A": {}, "B": {}}), "--out", str(out)]
    assert call(line) == 1
    told = capsys.readouterr().err
    assert "1/2  A, seed 0: failed: " in told
    assert "cannot be written" in told
    assert "Traceback" not in told
    assert (out / "b" / "seed0" / "evaluation-test.json").is_file()


def test_the_line_that_goes_on_can_be_pasted() -> None:
    again = partial(again_by, Path("my runs"))
    assert again(jobs=None, on="here", overwrite=False) == (
        "plk compare 'my runs/compare.toml' --out 'my runs'"
    )
    assert again(jobs=2, on="ray", overwrite=True) == (
        "plk compare 'my runs/compare.toml' --out 'my runs' --jobs 2 --on ray --overwrite"
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "plk compare: expected either SPEC.TOML, or --recipe a,b and one of --backbone, --ex"),
        (["{spec}", "--recipe", "a"], "plk compare: expected either SPEC.TOML, or --recipe a,b"),
        (["{spec}", "--fuser", "a"], "plk compare: expected either SPEC.TOML, or --recipe a,b"),
        (
            ["--fuser", "a", "--explainer", "b"],
            "--explainer and --fuser: expected rows of one kind",
        ),
        (["--explainer", "cam,camm"], "row 'camm': there is no explainer 'camm' (did you mean"),
        (["{spec}", "--split", "tset"], "--split"),
        (["--fuser", "sharpen,shrpen"], "row 'shrpen': there is no fuser 'shrpen' (did you mean"),
        (["{spec}", "--set", "train.stps=1"], "c.toml: row 'A': there is no key 'train.stps'"),
        (["{spec}", "--quick"], "--quick: there is no [quick] table to lay over the rows; write"),
        (["{spec}", "--set", "method.fuser=sharpn"], "row 'A': there is no fuser 'sharpn' (did"),
        (["{spec}", "--data", "phantm"], "phantm: there is no such file, folder or dataset (did"),
        (["{spec}", "--set", "seeds=3"], "--set: there is no key 'seeds' in a configuration"),
        (["{spec}", "--out", "{spec}"], "is a file; expected a folder for --out"),
        (["{spec}", "--out", "{full}"], "holds other files and no comparison; choose another"),
        (["--recipe", "calibrated,calibratd"], "row 'calibratd': there is no recipe 'calibratd'"),
        (["--recipe", "calibrated,"], "it has no name: expected a name or a recipe"),
        (["{spec}", "--jobs", "0"], "--jobs"),
        (["absent.toml"], "absent.toml: No such file"),
    ],
)
def test_a_mistake_is_one_line_before_any_run(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = write_spec(tmp_path / "spec.toml", {"A": {}})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    line = [word.format(spec=spec, full="full") for word in words]
    assert complaint in refused(["compare", *line], capsys)
    assert not list(tmp_path.rglob("run.toml"))


def test_a_misspelt_part_of_the_last_row_is_told_before_the_first_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"A": {}, "B": {"method": {"fuser": "fixmatch:treshold=0.9"}}}
    line = ["compare", write_spec(tmp_path / "s.toml", rows), "--out", str(tmp_path / "out")]
    complaint = refused(line, capsys)
    assert f"{tmp_path / 's.toml'}: row 'B': fuser 'fixmatch:treshold=0.9': there is" in complaint
    assert "(did you mean 'threshold'?)" in complaint
    assert not list((tmp_path / "out").rglob("run.toml"))


def test_two_comparisons_do_not_share_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    line = ["compare", write_spec(tmp_path / "s.toml", {"A": {}}), "--out", str(out)]
    with FileLock(out / ".lock"):
        assert refused(line, capsys) == f"{out}: another process is comparing in it"


def times(folder: Path) -> dict[str, int]:
    """When the files of every run below a folder were written."""
    files = [path for run in folder.rglob("run.toml") for path in run.parent.rglob("*.*")]
    return {str(path): path.stat().st_mtime_ns for path in files if path.name != ".lock"}

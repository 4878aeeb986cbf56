"""Scans through a run: what is written, kept, refused and skipped."""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from answers_support import Threshold, ball, scanner, volume
from filelock import FileLock
from scans_support import chest

from pseudolabel_kit.answers.folder import AnswerFolder
from pseudolabel_kit.answers.predict import Answered, predict_studies
from pseudolabel_kit.answers.scanner import Scanner
from pseudolabel_kit.errors import ConfigError, RunError
from pseudolabel_kit.scans.inputs import DEFAULTS
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.study import Study

BALL_ML = 4 / 3 * math.pi * 1.2**3  # of 12 mm
KINDS = ("answers", "masks", "probabilities", "slices")


@pytest.fixture
def study(tmp_path: Path) -> Scan:
    return volume(tmp_path / "scans" / "x.nii.gz", ball())


def predict(study: Study, out: Path, how: Scanner | None = None, **more: Any) -> Answered:
    return predict_studies(how or scanner(), [study], out, **more)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def files(folder: Path) -> dict[str, int]:
    """What is written there, and when."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in found}


def test_everything_is_written_and_nothing_else(study: Scan, tmp_path: Path) -> None:
    predict(study, tmp_path / "out")
    found = {name.partition(".")[0] for name in files(tmp_path / "out")}
    assert found == {"studies", *(f"{kind}/x" for kind in KINDS)}


def test_volume_and_classes_are_told_of_the_patient(study: Scan, tmp_path: Path) -> None:
    (answer,) = predict(study, tmp_path).answers
    assert answer.lesion_ml == pytest.approx(BALL_ML, rel=0.1)
    mask = sitk.ReadImage(str(tmp_path / "masks" / "x.nii.gz"))
    assert answer.lesion_ml == pytest.approx(sitk.GetArrayFromImage(mask).sum() * 16 / 1000)
    assert (answer.lung_ml, answer.lungs_by, answer.share_of_lung) == (None, "", None)
    assert answer.slices == 16
    assert answer.slices_with_lesion == pytest.approx(12, abs=1)
    (row,) = rows(tmp_path / "studies.csv")
    assert row["study"] == row["patient"] == "x"
    assert float(row["p_lesion"]) == pytest.approx(answer.probabilities["lesion"], abs=1e-6)
    assert (row["predicted"], row["share_of_lung"]) == (answer.predicted, "")
    told = json.loads((tmp_path / "answers" / "x.json").read_text())
    assert told["answer"]["lesion_ml"] == answer.lesion_ml
    assert told["made_by"]["step"] == 7


def test_a_patients_class_is_the_mean_over_the_tenth_that_shows_most(
    study: Scan, tmp_path: Path
) -> None:
    (answer,) = predict(study, tmp_path).answers
    table = rows(tmp_path / "slices" / "x.csv")
    shares = np.array([float(row["p_lesion"]) for row in table])
    assert len(answer.pooled) == 2  # of 16 slices
    assert shares[list(answer.pooled)].min() >= np.delete(shares, answer.pooled).max()
    mean = shares[list(answer.pooled)].mean()
    assert answer.probabilities["lesion"] == pytest.approx(mean, abs=1e-5)
    heights = [float(row["z_mm"]) for row in table]
    assert np.diff(heights) == pytest.approx(2)
    assert np.mean(heights) == pytest.approx(40 + 7 * 4 / 2, abs=1e-3)
    areas = [float(row["lesion_mm2"]) for row in table]
    assert max(areas) == pytest.approx(math.pi * 12**2, rel=0.1)


def test_lungs_are_those_beside_the_scan_or_those_named(study: Scan, tmp_path: Path) -> None:
    left = np.zeros((8, 20, 24), np.uint8)
    left[:, :, 12:] = 3
    lungs = sitk.GetImageFromArray(left)
    lungs.CopyInformation(sitk.ReadImage(str(study.image)))
    sitk.WriteImage(lungs, str(tmp_path / "scans" / "lungs.nii.gz"))
    region = tmp_path / "scans" / "lungs.nii.gz"
    beside = predict(replace(study, region=region), tmp_path / "1").answers[0]
    named = predict(study, tmp_path / "2", scanner(lungs=region)).answers[0]
    for answer in (beside, named):
        assert answer.lung_ml == pytest.approx(left.astype(bool).sum() * 16 / 1000, rel=0.05)
        half = BALL_ML / 2 / (12 * 20 * 8 * 16 / 1000)
        assert answer.share_of_lung == pytest.approx(half, rel=0.1)


def test_lungs_without_a_mask_are_found_by_threshold(tmp_path: Path) -> None:
    scan = chest(size=(48, 40, 10), spacing=(6.0, 6.0, 10.0))
    study = volume(tmp_path / "scans" / "x.nii.gz", scan.image)
    settings = replace(DEFAULTS, size=64, spacing=(6, 6, 10))
    how = scanner(64, settings)
    found = predict(study, tmp_path / "1", how).answers[0]
    sitk.WriteImage(scan.lungs, str(tmp_path / "scans" / "lungs.nii.gz"))
    drawn = predict(
        replace(study, region=tmp_path / "scans" / "lungs.nii.gz"), tmp_path / "2", how
    ).answers[0]
    assert (found.lungs_by, drawn.lungs_by) == ("threshold", "mask")
    assert found.lung_ml == pytest.approx(drawn.lung_ml, rel=0.1)
    assert found.share_of_lung == pytest.approx(drawn.share_of_lung, abs=0.03)


def test_a_run_of_black_images_sees_the_lungs_alone(study: Scan, tmp_path: Path) -> None:
    predictor = Threshold()
    data = predictor.config.data.model_copy(update={"region": "black"})
    predictor.config = predictor.config.model_copy(update={"data": data})
    bare = predict(study, tmp_path / "1", scanner(predictor=predictor))
    empty = sitk.ReadImage(str(study.image)) * 0
    sitk.WriteImage(empty, str(tmp_path / "none.nii"))
    black = scanner(predictor=predictor, lungs=tmp_path / "none.nii")
    assert not bare.answers
    assert bare.skipped[0].reason.startswith("x: no lungs found")
    assert not list((tmp_path / "1").rglob("x.*"))
    assert predict(study, tmp_path / "2", black).answers[0].lesion_ml == 0


def test_batches_bound_what_is_held_and_change_nothing(study: Scan, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    one, many = Threshold(), Threshold()
    predict(
        study,
        tmp_path / "1",
        scanner(predictor=one, batch_size=3),
        progress=lambda *a: told.append(a),
    )
    predict(study, tmp_path / "2", scanner(predictor=many, batch_size=50))
    assert [len(images) for images in one.seen] == [3, 3, 3, 3, 3, 1]
    assert [len(images) for images in many.seen] == [16]
    assert told == [(1, 1)]
    for kind in ("masks/x.nii.gz", "slices/x.csv"):
        assert (tmp_path / "1" / kind).read_bytes() == (tmp_path / "2" / kind).read_bytes()


def test_what_is_done_is_kept(study: Scan, tmp_path: Path) -> None:
    first = predict(study, tmp_path / "out")
    before = files(tmp_path / "out")
    again = predict(study, tmp_path / "out")
    assert (first.kept, again.kept) == (0, 1)
    assert again.answers == first.answers
    before.pop("studies.csv")
    after = files(tmp_path / "out")
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("kind", ["masks", "probabilities", "slices"])
@pytest.mark.parametrize("left", [None, b""])
def test_an_answer_whose_file_is_gone_is_made_anew(
    study: Scan, tmp_path: Path, kind: str, left: bytes | None
) -> None:
    predict(study, tmp_path)
    (file,) = (tmp_path / kind).iterdir()
    whole = file.stat().st_size
    file.unlink() if left is None else file.write_bytes(left)
    assert predict(study, tmp_path).kept == 0
    assert file.stat().st_size == whole


def test_a_mask_that_somebody_corrected_is_kept(study: Scan, tmp_path: Path) -> None:
    predict(study, tmp_path)
    (tmp_path / "masks" / "x.nii.gz").write_bytes(b"corrected")
    assert predict(study, tmp_path).kept == 1
    assert (tmp_path / "masks" / "x.nii.gz").read_bytes() == b"corrected"


def test_nothing_is_kept_where_all_is_to_be_replaced(study: Scan, tmp_path: Path) -> None:
    predict(study, tmp_path)
    assert predict(study, tmp_path, overwrite=True).kept == 0


def test_an_answer_stays_until_the_next_is_whole(
    study: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RunError("the disk is full")

    predict(study, tmp_path)
    before = files(tmp_path)
    before.pop("studies.csv")
    monkeypatch.setattr(AnswerFolder, "finish", fail)
    with pytest.raises(RunError, match="full"):
        predict(study, tmp_path, scanner(48), overwrite=True)
    after = files(tmp_path)
    assert {name: after.get(name) for name in before} == before
    assert not (tmp_path / ".part").exists()


def test_another_lung_mask_is_another_question(study: Scan, tmp_path: Path) -> None:
    lungs = tmp_path / "lungs.nii"
    sitk.WriteImage(sitk.ReadImage(str(study.image)) * 0, str(lungs))
    how = scanner(lungs=lungs)
    before = how.stamp(study)
    assert before != scanner().stamp(study)
    os.utime(lungs, (1, 1))
    assert how.stamp(study) != before


def test_answers_by_other_settings_are_counted(study: Scan, tmp_path: Path) -> None:
    other = volume(tmp_path / "scans" / "a.nrrd", ball())
    assert predict(study, tmp_path / "out").others == 0
    assert predict(other, tmp_path / "out", scanner(48)).others == 1


def test_a_study_that_was_cut_short_is_done_anew(study: Scan, tmp_path: Path) -> None:
    predict(study, tmp_path)
    (tmp_path / "answers" / "x.json").unlink()
    (tmp_path / "masks" / "x.nii.gz").write_bytes(b"half")
    assert predict(study, tmp_path).kept == 0
    assert sitk.ReadImage(str(tmp_path / "masks" / "x.nii.gz")).GetSize() == (24, 20, 8)


@pytest.mark.parametrize("what", ["weights", "settings", "scan"])
def test_another_answer_is_replaced_only_where_that_is_asked_for(
    study: Scan, tmp_path: Path, what: str
) -> None:
    predict(study, tmp_path / "out")
    before = files(tmp_path / "out")
    how = scanner(48 if what == "settings" else 32)
    if what == "weights":
        how.predictor.model.bias.add_(1)
    if what == "scan":
        volume(study.image, ball(radius=8))
    with pytest.raises(RunError, match=r"x\.json: is the answer of another run.*--overwrite"):
        predict(study, tmp_path / "out", how)
    assert files(tmp_path / "out") == before
    assert predict(study, tmp_path / "out", how, overwrite=True).kept == 0


def test_masks_that_others_made_are_not_written_over(study: Scan, tmp_path: Path) -> None:
    expert = tmp_path / "out" / "masks" / "x.nii.gz"
    expert.parent.mkdir(parents=True)
    expert.write_bytes(b"expert")
    with pytest.raises(RunError, match=r"masks/x\.nii\.gz: exists already"):
        predict(study, tmp_path / "out")
    mine = volume(expert, ball())
    with pytest.raises(RunError, match="is a file to predict from"):
        predict(mine, tmp_path / "out", overwrite=True)


def test_a_scan_that_cannot_be_used_is_skipped(study: Scan, tmp_path: Path) -> None:
    flat = volume(tmp_path / "flat.nii", ball((24, 20, 8), spacing=(0.1, 0.1, 1)))
    gone = replace(study, name="gone", image=tmp_path / "scans" / "gone.nii.gz")
    done = predict_studies(scanner(), [flat, study, gone], tmp_path / "out")
    assert [answer.study for answer in done.answers] == ["x"]
    assert [each.name for each in done.skipped] == ["flat", "gone"]
    assert done.skipped[0].reason.startswith("flat.nii: 24x20x8 voxels")
    assert {name.partition("/")[2] for name in files(tmp_path / "out")} >= {"x.json"}
    assert not any("flat" in name or "gone" in name for name in files(tmp_path / "out"))
    none = predict_studies(scanner(), [flat, gone], tmp_path / "none")
    assert (none.answers, [each.name for each in none.skipped]) == ([], ["flat", "gone"])


def test_a_truth_beside_the_scan_is_not_read(study: Scan, tmp_path: Path) -> None:
    (tmp_path / "scans" / "mask.nii.gz").write_bytes(b"broken")
    labelled = replace(study, masks=(tmp_path / "scans" / "mask.nii.gz",))
    assert predict(labelled, tmp_path / "out").skipped == []


def test_the_table_holds_every_study_of_the_same_run(study: Scan, tmp_path: Path) -> None:
    other = volume(tmp_path / "scans" / "a.nrrd", ball())
    predict(study, tmp_path / "out")
    predict(other, tmp_path / "out")
    assert [row["study"] for row in rows(tmp_path / "out" / "studies.csv")] == ["a", "x"]


def test_one_process_writes_at_a_time(study: Scan, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(RunError, match="another process"):
        predict(study, tmp_path / "out")


def test_a_lung_mask_is_of_one_scan(study: Scan, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is of one scan, but 2"):
        predict_studies(scanner(lungs=study.image), [study, study], tmp_path / "out")

"""Faults that are planted into a sound dataset are found, and nothing else is."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from check_support import SIDE, Scans, square
from PIL import Image

from pseudolabel_kit.check.check import Checked, check
from pseudolabel_kit.check.finding import Finding
from pseudolabel_kit.config import DataConfig


def checked(scans: Scans, **settings: object) -> Checked:
    source, cache = str(scans.write()), str(scans.folder / "cache")
    config = DataConfig(source=source, cache=cache, **settings)
    return check(config, lambda *told: None)


def found(scans: Scans, **settings: object) -> dict[str, Finding]:
    return {finding.kind: finding for finding in checked(scans, **settings).findings}


@pytest.fixture
def scans(tmp_path: Path) -> Scans:
    return Scans(tmp_path / "scans")


def test_nothing_is_found_in_sound_scans(scans: Scans) -> None:
    result = checked(scans)
    assert result.findings == []
    assert result.sound
    assert not result.drawn
    assert [result.sides.count(s) for s in ("train", "val", "test")] == [32, 8, 8]  # type: ignore[arg-type]


def patient_moves(scans: Scans) -> None:
    scans.lines[0]["patient"] = "P23"


def copy_in_test(scans: Scans) -> None:
    scans.image(44, scans.pixels(0))


def flipped_copy_in_test(scans: Scans) -> None:
    scans.image(44, scans.pixels(0)[:, ::-1] * 0.95 + 6)


def copy_with_another_label(scans: Scans) -> None:
    scans.image(2, scans.pixels(0))


def near_copy_with_another_label(scans: Scans) -> None:
    scans.image(2, scans.pixels(0) * 0.95 + 6)


def copy_in_training(scans: Scans) -> None:
    scans.image(4, scans.pixels(0))


def mask_beside_the_region(scans: Scans) -> None:
    scans.mask(8, square(0, 12))


def empty_lesion(scans: Scans) -> None:
    scans.mask(8, square(0, 0))


def lesion_of_the_sound(scans: Scans) -> None:
    scans.mask(2, square(20, 10))


def inverted_mask(scans: Scans) -> None:
    scans.mask(8, ~square(20, 10))
    for line in scans.lines:
        line["region"] = ""


def constant(scans: Scans) -> None:
    scans.image(10, np.full((SIDE, SIDE), 99))


def constants_alike(scans: Scans) -> None:
    scans.image(10, np.full((SIDE, SIDE), 0))
    scans.image(44, np.full((SIDE, SIDE), 0))


def inverted_image(scans: Scans) -> None:
    scans.image(10, scans.pixels(10) // 20)


PLANTED: Mapping[Callable[[Scans], None], tuple[str, str, tuple[int, ...]]] = {
    patient_moves: ("patient-on-two-sides", "error", (0, 46)),
    copy_in_test: ("copies-across-sides", "error", (0, 44)),
    flipped_copy_in_test: ("near-copies-across-sides", "warning", (0, 44)),
    copy_with_another_label: ("copies-with-two-labels", "error", (0, 2)),
    near_copy_with_another_label: ("near-copies-with-two-labels", "warning", (0, 2)),
    copy_in_training: ("copies-on-one-side", "note", (0, 4)),
    mask_beside_the_region: ("mask-outside-region", "warning", (8,)),
    empty_lesion: ("empty-lesion", "warning", (8,)),
    lesion_of_the_sound: ("lesion-of-sound-class", "warning", (2,)),
    inverted_mask: ("mask-covers-image", "warning", (8,)),
    constant: ("constant-image", "warning", (10,)),
    inverted_image: ("odd-intensity", "warning", (10,)),
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_all_that_is_found(plant: Callable[[Scans], None], scans: Scans) -> None:
    plant(scans)
    kind, severity, case = PLANTED[plant]
    result = checked(scans)
    (finding,) = result.findings
    assert (finding.kind, finding.severity, finding.cases) == (kind, severity, (case,))
    assert finding.rows == len(case)
    assert finding.fix
    assert result.sound == (severity == "note")


def test_specks_are_noted(scans: Scans, tmp_path: Path) -> None:
    for row in range(48):
        scans.image(row, np.asarray(Image.fromarray(scans.pixels(row)).resize((128, 128))))
        mask = np.kron(square(20, 12) if row // 2 % 2 == 0 else square(0, 0), np.ones((2, 2)))
        if row == 12:
            mask[30, 30] = mask[90, 40] = 1
        scans.mask(row, mask)
        scans.lines[row]["region"] = ""
    (finding,) = found(scans).values()
    assert (finding.kind, finding.severity) == ("mask-with-specks", "note")
    assert (finding.cases, finding.told) == (((12,),), ("specks: 2",))


def test_worst_is_told_first_and_amounts_in_words(scans: Scans) -> None:
    for plant in (constant, copy_in_test, patient_moves):
        plant(scans)
    scans.image(6, scans.pixels(2))
    scans.image(12, np.full((SIDE, SIDE), 9))
    told = checked(scans).findings
    assert [each.severity for each in told] == ["error", "error", "warning", "note"]
    assert [each.amount for each in told] == ["1 pair", "1 pair", "2 images", "1 pair"]


def test_all_copies_of_an_image_are_told_at_once(scans: Scans) -> None:
    """Row 0 and a copy are trained on; the copy of the copy is measured, and of another class."""
    for row, copy in ((4, scans.pixels(0)), (34, scans.pixels(0) // 32 * 32)):
        scans.image(row, copy)
    told = found(scans)
    assert told.keys() == {"near-copies-across-sides", "near-copies-with-two-labels"}
    for finding in told.values():
        assert finding.cases == ((0, 4, 34),)
        assert finding.amount == "1 group"
        assert finding.told[0].startswith("up to ")


def test_equal_pixels_that_contradict_are_an_error_among_near_copies(scans: Scans) -> None:
    for row, copy in (
        (4, scans.pixels(0) * 0.95 + 6),
        (36, scans.pixels(0)),
        (44, scans.pixels(0)),
    ):
        scans.image(row, copy)
    (finding,) = found(scans).values()
    assert (finding.kind, finding.cases) == ("copies-across-sides", ((0, 4, 36, 44),))


def test_images_of_one_grey_are_told_once(scans: Scans) -> None:
    constants_alike(scans)
    assert found(scans).keys() == {"constant-image"}


def test_neighbouring_slices_of_a_patient_are_no_copies(scans: Scans) -> None:
    scans.image(1, scans.pixels(0) * 0.97 + 3)
    assert found(scans) == {}
    for line in scans.lines:
        line["patient"] = ""
    assert found(scans).keys() == {"copies-on-one-side"}


def test_without_splits_a_run_s_own_are_checked(scans: Scans) -> None:
    for line in scans.lines:
        line["split"] = ""
    result = checked(scans)
    assert result.drawn
    assert not result.findings
    assert 0 < result.sides.count("test") < 24


def test_many_empty_masks_of_a_class_are_a_note(scans: Scans) -> None:
    for row in range(0, 32, 4):
        scans.mask(row, square(0, 0))
    finding = found(scans)["empty-lesion"]
    assert (finding.severity, len(finding.cases)) == ("note", 8)


def test_classes_that_are_named_are_believed(scans: Scans) -> None:
    told = found(scans, lesion_classes=("sound",))
    assert told["lesion-of-sound-class"].rows == told["empty-lesion"].rows == 24
    assert "class 'ill' has none" in told["lesion-of-sound-class"].said


def test_what_is_not_known_is_no_fault(scans: Scans) -> None:
    for line in scans.lines:
        line.update(patient="", mask="", region="")
    for line in scans.lines[20:32]:
        line["label"] = ""
    assert found(scans) == {}


def test_a_few_images_have_no_outlier(scans: Scans) -> None:
    inverted_image(scans)
    scans.lines = scans.lines[8:12]
    assert found(scans) == {}
    scans.lines = scans.lines[:1]
    assert found(scans) == {}


def test_rows_are_those_of_the_manifest(scans: Scans) -> None:
    copy_in_test(scans)
    result = checked(scans)
    with (scans.folder / "manifest.csv").open(newline="") as text:
        names = [line["image"] for line in csv.DictReader(text)]
    assert [row.name for row in result.store.rows] == names

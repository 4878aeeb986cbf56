"""The letters on a scan's slices: what lies in the patient's left is drawn at the L."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from answers_support import HALF
from browser_support import Tab, browser
from scans_support import write_series
from viewer_support import MAPS, SIDE, answers

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.scans.inputs import DEFAULTS, find_studies
from pseudolabel_kit.viewer.drawing import Drawn
from pseudolabel_kit.viewer.layers import layers
from pseudolabel_kit.viewer.page import page
from pseudolabel_kit.viewer.scans import stacks
from pseudolabel_kit.viewer.stack import Slice

SETTINGS = replace(DEFAULTS, size=SIDE, window=HALF, spacing=(2, 2, 4))
FILES = ("x.nii.gz", "x.nrrd", "x.mha", "dicom")
LETTER = re.compile(r'<b class="edge at-(\w+)" aria-hidden="true">(\w)</b>')
LETTERS = {"left": "R", "right": "L", "top": "A", "bottom": "P"}


def phantom(orientation: str, turn: float = 0) -> sitk.Image:
    """A bright ball in the patient's left, front and head, by coordinates in mm; voxels anyhow."""
    image = sitk.Image((24, 24, 8), sitk.sitkInt16)
    image.SetSpacing((2, 2, 4))
    image.SetOrigin((-23, -23, -14))
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0, 0, turn).GetMatrix())
    image = sitk.DICOMOrient(image, orientation)
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    ball = np.add(middle, (12, -12, 8))
    for place in itertools.product(*map(range, image.GetSize())):
        apart = np.linalg.norm(image.TransformIndexToPhysicalPoint(place) - ball)
        image[place] = 90 if apart < 6 else -90
    return image


def slices(image: sitk.Image, folder: Path, file: str) -> list[Slice]:
    """As `plk explain` reads what was written."""
    if file == "dicom":
        write_series(folder / file, image)
    else:
        sitk.WriteImage(image, str(folder / file))
    studies = find_studies([folder / file], skip=folder / "out").studies
    (stack,) = stacks(studies, SETTINGS, DataConfig())
    return list(stack.slices()[1])


def written(found: Sequence[Slice], path: Path) -> Path:
    """The page of these slices, whose overlays are noise."""
    maps = layers(MAPS, masks=True, label=True, truth=False)
    study = Drawn(name="x", classes=("ill", "sound"), frame=(SIDE, SIDE), grid=(SIDE, SIDE),
                  layers=maps, oriented=all(each.oriented for each in found))  # fmt: skip
    study.add(found, answers(len(found)))
    path.write_text(page(study, run="first", step=7), encoding="utf-8")
    return path


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("orientation", "turn"), [("LPS", 0), ("RAS", 0.4), ("SAR", -0.4)])
def test_the_patient_s_left_is_right_and_the_front_on_top(
    orientation: str, turn: float, file: str, tmp_path: Path
) -> None:
    found = slices(phantom(orientation, turn), tmp_path, file)
    assert all(each.oriented for each in found)
    depth, rows, columns = np.nonzero(np.concatenate([each.image for each in found]) > 0.5)
    assert columns.mean() > SIDE / 2 + 2
    assert rows.mean() < SIDE / 2 - 2
    assert depth.mean() > len(found) / 2 + 1  # the last slice is nearest the head
    text = written(found, tmp_path / "x.html").read_text(encoding="utf-8")
    assert dict(LETTER.findall(text)) == LETTERS


def test_no_letters_where_nobody_knows(tmp_path: Path) -> None:
    found = slices(phantom("LPS"), tmp_path, "x.nii")
    assert all(each.oriented for each in found)
    content = bytearray((tmp_path / "x.nii").read_bytes())
    struct.pack_into("<2h", content, 252, 0, 0)  # neither qform nor sform
    (tmp_path / "x.nii").write_bytes(content)
    (stack,) = stacks(
        find_studies([tmp_path / "x.nii"], skip=tmp_path).studies, SETTINGS, DataConfig()
    )
    unknown = list(stack.slices()[1])
    assert not any(each.oriented for each in unknown)
    text = written(unknown, tmp_path / "x.html").read_text(encoding="utf-8")
    assert not LETTER.search(text)
    assert "nearest the feet" not in text


def test_a_browser_shows_the_letters_beside_what_they_name(tmp_path: Path) -> None:
    found = slices(phantom("RAS"), tmp_path, "x.nii.gz")
    brightest = int(np.argmax([each.image.sum() for each in found]))
    with browser() as chromium:
        tab = Tab(chromium, written(found, tmp_path / "x.html"))
        tab.page.evaluate(f"go({brightest})")
        tab.page.keyboard.press("0")  # overlays are off
        tab.pixels()
        x, y = tab.page.evaluate(
            """() => {
              const { width, height } = canvas, box = canvas.getBoundingClientRect();
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              let [n, x, y] = [0, 0, 0];
              for (let i = 0; i < width * height; i++)
                if (data[4 * i] > 127) { n++; x += i % width; y += Math.floor(i / width); }
              return [box.x + (box.width * x) / n / width, box.y + (box.height * y) / n / height];
            }"""
        )
        places = {}
        for letter in tab.page.locator(".edge").all():
            box = letter.bounding_box()
            assert max(box["width"], box["height"]) < 20  # px: nothing beside the letter
            places[letter.inner_text()] = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        assert set(places) == set("RLAP")
        assert abs(places["L"][0] - x) < abs(places["R"][0] - x)
        assert abs(places["A"][1] - y) < abs(places["P"][1] - y)
        frame = tab.page.locator("#picture").bounding_box()
        for across, down in places.values():
            assert 0 < across - frame["x"] < frame["width"]
            assert 0 < down - frame["y"] < frame["height"]
            hit = f"document.elementFromPoint({across}, {down}).id"
            assert tab.page.evaluate(hit) == "picture"  # the mouse goes through
        assert tab.errors == []
        tab.page.keyboard.press("0")
        assert tab.page.locator(".edge:visible").count() == 4

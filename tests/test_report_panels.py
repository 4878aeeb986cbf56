from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from report_folder import make_run

from pseudolabel_kit.report.panels import Strip, strips
from pseudolabel_kit.report.records import read_records
from pseudolabel_kit.report.thumbnails import SIDE


def pixels(source: str | None) -> NDArray[Any]:
    assert source is not None
    kind, _, data = source.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def drawn_strips(run: Path) -> list[Strip]:
    records = read_records(run)
    return strips(records.strips, records.captions)


def drawn(folder: Path, **arrays: NDArray[Any]) -> Strip:
    """The strip of one fabricated image."""
    run = make_run(folder / "run", images=1, side=16)
    np.savez(run / "strips.npz", names=np.array(["a.png"]), **arrays)  # type: ignore[arg-type]
    return drawn_strips(run)[0]


def test_a_strip_tells_the_whole_story(tmp_path: Path) -> None:
    first, *_, last = drawn_strips(make_run(tmp_path / "run"))
    evidence = ["CAM", "CAAM", "integrated gradients, steps=8"]
    titles = ["image", "truth", *evidence, "decoder", "pseudo label"]
    assert [panel.title for panel in first.panels] == titles
    assert (first.name, first.truth, first.predicted) == (
        "images/slice-000.png",
        "COVID-19",
        "COVID-19",
    )
    assert last.truth is None
    assert next(p for p in last.panels if p.title == "truth").source is None, "not known"


@pytest.mark.parametrize("shape", [(1, 40, 80), (3, 40, 80), (1, 500, 1000)])
def test_pictures_are_small_and_keep_their_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = np.full((1, *shape), 0.5, dtype=np.float32)
    picture = pixels(drawn(tmp_path, image=image).panels[0].source)
    assert picture.shape == (SIDE // 2, SIDE, 3)
    assert np.abs(picture.astype(int) - 128).max() <= 2


def test_the_true_lesion_is_outlined_in_cyan(tmp_path: Path) -> None:
    image = np.zeros((1, 1, SIDE, SIDE), dtype=np.float32)
    truth = np.zeros((1, SIDE, SIDE), dtype=np.float32)
    truth[0, 50:150, 50:150] = 1
    strip = drawn(tmp_path, image=image, truth=truth, decoder=np.zeros_like(truth))
    decoder = pixels(strip.panels[2].source).astype(int)
    red, green, blue = decoder[50, 100]
    assert green > red + 60
    assert blue > red + 60
    assert decoder[100, 100].max() < 60, "only its border"


def test_what_passes_one_half_is_outlined_in_white(tmp_path: Path) -> None:
    image = np.zeros((1, 1, SIDE, SIDE), dtype=np.float32)
    decoder = np.zeros((1, SIDE, SIDE), dtype=np.float32)
    decoder[0, :, :100] = 0.6
    strip = drawn(tmp_path, image=image, decoder=decoder)
    assert [panel.title for panel in strip.panels] == ["image", "truth", "decoder"]
    assert pixels(strip.panels[2].source)[100, 99].min() > 150


def test_maps_share_one_scale(tmp_path: Path) -> None:
    image = np.zeros((1, 1, 32, 32), dtype=np.float32)
    low, high = (np.full((1, 32, 32), v, dtype=np.float32) for v in (0.2, 0.9))
    strip = drawn(tmp_path, image=image, **{"evidence/low": low, "evidence/high": high})
    dark, bright = (pixels(p.source).mean() for p in strip.panels[2:])
    assert bright > dark + 50


def test_evidence_is_titled_by_its_reference(tmp_path: Path) -> None:
    map_ = np.zeros((1, 8, 8), dtype=np.float32)
    references = ["cam:levels=1/2:target=predicted", "ig", "mine/cam", "other:a=b", "decoder"]
    strip = drawn(tmp_path, image=map_[None], **{f"evidence/{each}": map_ for each in references})
    assert [panel.title for panel in strip.panels[2:]] == [
        "CAM, levels=1/2, target=predicted",
        "integrated gradients",
        "mine/cam",
        "other, a=b",
        "decoder",
    ]


def test_without_stored_pictures_there_are_no_strips(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1, side=16)
    (run / "strips.npz").unlink()
    assert drawn_strips(run) == []

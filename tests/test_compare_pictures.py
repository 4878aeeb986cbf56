from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparison_folder import make_comparison, make_spec
from numpy.typing import NDArray
from PIL import Image
from tiny import SUPERVISED, steps, tiny

from pseudolabel_kit.compare import pictures
from pseudolabel_kit.compare.gallery import Picture, gallery
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.engine.evaluate import evaluate
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.report.records import read_arrays


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run that shows four images."""
    out = tmp_path_factory.mktemp("pictures") / "run"
    train(tiny(SUPERVISED, steps(2), {"evaluate": {"figures": 4}}), out=out)
    return out


def test_images_truths_and_answers_are_kept(run: Path) -> None:
    pictures.write(run, "test")
    found = read_arrays(run / "pictures-test.npz")
    assert {name: array.shape for name, array in found.items()} == {
        "names": (4,),
        "image": (4, 1, 32, 32),
        "truth": (4, 32, 32),
        "probability": (4, 32, 32),
    }
    assert found["truth"][0].max() == 1, "lesions first"
    assert 0 <= found["probability"].min() <= found["probability"].max() <= 1
    predictor = load(run)
    logits = predictor(torch.from_numpy(found["image"].astype(np.float32))).mask_logits
    assert logits is not None
    np.testing.assert_allclose(
        found["probability"], logits.sigmoid()[:, 0].numpy(), atol=2e-3, err_msg="of these images"
    )


def test_the_same_images_are_chosen_every_time(run: Path) -> None:
    pictures.write(run, "val")
    first = read_arrays(run / "pictures-val.npz")
    pictures.write(run, "val")
    again = read_arrays(run / "pictures-val.npz")
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])


def test_the_dice_of_an_image_is_that_of_the_evaluation(run: Path) -> None:
    pictures.write(run, "test")
    evaluate(run, "test")
    found = read_arrays(run / "pictures-test.npz")
    counts = read_arrays(run / "evaluation-test.npz")["counts"][:, 0].tolist()
    marked, lesion = found["probability"] >= 0.5, found["truth"] >= 0.5
    for m, t in zip(marked, lesion, strict=True):
        pairs = (m & t, m & ~t, ~m & t, ~m & ~t)
        assert [float(pair.sum()) for pair in pairs] in counts


def test_names_tell_images_apart_and_not_whom_they_are_of(run: Path) -> None:
    pictures.write(run, "test")
    names = read_arrays(run / "pictures-test.npz")["names"].tolist()
    store, splits = open_store(load(run).config.data)
    assert len(set(names)) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)
    assert not set(names) & {store.rows[row].name for row in splits.test}


def test_half_precision_stays_on_its_side_of_a_half() -> None:
    near = torch.tensor([0.0, 0.4999, 0.499999, 0.5, 0.5000001, 1.0])
    lesion = near >= 0.5
    found = pictures.decided(near, lesion)
    assert found.dtype == np.float16
    assert (found >= 0.5).tolist() == lesion.tolist()
    np.testing.assert_allclose(found, near, atol=3e-4)
    assert pictures.decided(torch.tensor([0.5]), torch.tensor([False])) < 0.5


def test_a_run_that_shows_no_images_writes_an_empty_file(tmp_path: Path) -> None:
    train(tiny(SUPERVISED, steps(1)), out=tmp_path / "run")
    pictures.write(tmp_path / "run", "test")
    assert (tmp_path / "run" / "pictures-test.npz").is_file()
    assert read_arrays(tmp_path / "run" / "pictures-test.npz") == {}


def pixels(picture: Picture) -> NDArray[Any]:
    assert picture.source is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.source.partition(",")[2]))))


def test_images_go_down_and_methods_across(tmp_path: Path) -> None:
    spec = make_spec(["blurred", "sharp", "classes", "missing"], seeds=2)
    skills = {"blurred": 0.4, "sharp": 1.0, "classes": 0.5}
    found = gallery(make_comparison(tmp_path, spec, skills, classes="classes"))
    assert found.methods == ["blurred", "sharp"]
    assert [len(row) for row in found.images] == [4] * 4
    lesion, *_, healthy, unknown = found.images
    assert lesion[2].dice is not None
    assert lesion[3].dice is not None
    assert lesion[2].dice < 0.8 < lesion[3].dice
    assert [p.dice for p in healthy] == [None] * 4, "no lesion, no Dice"
    assert unknown[1].source is None
    assert unknown[3].source is not None


def test_what_the_decoder_marks_is_orange_and_the_truth_is_outlined(tmp_path: Path) -> None:
    found = gallery(make_comparison(tmp_path, make_spec(["a"], seeds=1), {"a": 0.2}))
    image, _, answer = (pixels(p).astype(int) for p in found.images[0])
    change = answer - image
    orange = (change[..., 0] > 25) & (change[..., 2] < 15)
    cyan = (answer[..., 2] - answer[..., 0]) > 60
    assert orange.sum() > 200
    assert 40 < cyan.sum() < 2000


def test_an_image_that_a_method_was_not_shown_is_left_open(tmp_path: Path) -> None:
    spec = make_spec(["a", "b"], seeds=1)
    comparison = make_comparison(tmp_path, spec, {"a": 0.5, "b": 0.6})
    path = tmp_path / "b" / "seed0" / "pictures-test.npz"
    arrays = read_arrays(path)
    arrays["names"][0] = "another.png"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    first, second, *_ = gallery(comparison).images
    assert first[3].source is None
    assert second[3].source is not None


def test_without_pictures_there_is_no_gallery(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_spec(["a"], seeds=1), {"a": 0.5}, a="classes")
    assert gallery(comparison).images == ()

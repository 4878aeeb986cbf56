from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from predict_support import noise, read_pixels, train_tiny, write_image
from torch import Tensor

from pseudolabel_kit import load
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.predictions import file_name, predict_files
from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.interfaces import Evidence, Prediction
from pseudolabel_kit.plugin.reference import parse

KINDS = ("masks", "probabilities", "decoder", "evidence/ig,steps=2", "evidence/caam")


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(train_tiny(tmp_path_factory.getbasetemp()))


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Four images of four sizes and formats."""
    return [
        write_image(tmp_path / "a" / "x.png", noise(32, 32)),
        write_image(tmp_path / "b" / "x.png", noise(50, 21)),
        write_image(tmp_path / "b" / "y.npy", noise(20, 40, 1)),
        write_image(tmp_path / "b" / "z.tiff", noise(33, 32)),
    ]


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "classes.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_image_has_every_picture_and_nothing_else_is_written(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    predict_files(predictor, scans, tmp_path / "out")
    names = ("a/x", "b/x", "b/y", "b/z")
    expected = ["classes.csv", *(f"{kind}/{name}.png" for kind in KINDS for name in names)]
    assert files(tmp_path / "out") == sorted(expected)


def test_pictures_have_their_images_own_size(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    predict_files(predictor, scans, tmp_path)
    for kind in KINDS:
        for name, size in (("a/x", (32, 32)), ("b/x", (50, 21)), ("b/y", (20, 40))):
            assert read_pixels(tmp_path / kind / f"{name}.png").shape[:2] == size


def test_a_mask_is_a_probability_of_at_least_one_half(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    shares = {a.image: a.lesion_share for a in predict_files(predictor, scans, tmp_path)}
    for scan, name in zip(scans[:2], ("a/x", "b/x"), strict=True):
        mask = read_pixels(tmp_path / "masks" / f"{name}.png")
        probability = read_pixels(tmp_path / "probabilities" / f"{name}.png")
        assert (mask.dtype.name, probability.dtype.name) == ("uint8", "uint16")
        np.testing.assert_array_equal(mask, np.where(probability >= 65535 / 3, 255, 0))
        assert shares[scan] == pytest.approx((mask > 0).mean())


def test_an_image_of_the_runs_size_gets_the_models_own_answer(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    (answer,) = predict_files(predictor, scans[:1], tmp_path)
    expected = predictor(torch.from_numpy(noise(32, 32)[None, None] / np.float32(255)))
    stored = read_pixels(tmp_path / "probabilities" / "x.png").astype(np.float64) / 65535
    assert predictor.task.background_weight == 0.5  # undone in the file, not in the answer
    probability = (expected.mask_logits + math.log(0.5)).sigmoid()[0, 0]
    np.testing.assert_allclose(stored, probability, atol=1e-4)
    scores = expected.class_logits.softmax(dim=1)[0].tolist()
    assert list(answer.probabilities.values()) == pytest.approx(scores, abs=1e-4)
    assert answer.predicted == predictor.task.classes[int(np.argmax(scores))]


def test_class_scores_are_one_row_an_image(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    answers = predict_files(predictor, scans, tmp_path)
    rows = table(tmp_path)
    assert list(rows[0]) == ["image", "predicted", "p_np", "p_cap", "p_covid19"]
    assert [row["image"] for row in rows] == [str(scan) for scan in scans]
    for row, answer in zip(rows, answers, strict=True):
        scores = {name: float(row[f"p_{name}"]) for name in predictor.task.classes}
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == answer.predicted == max(scores, key=scores.__getitem__)


def test_batches_change_nothing_but_memory(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    predict_files(predictor, scans, tmp_path / "one", batch_size=4)
    predict_files(
        predictor, scans, tmp_path / "two", batch_size=3, progress=lambda *at: told.append(at)
    )
    assert told == [(3, 4), (4, 4)]
    for name in ("a/x", "b/x", "b/y", "b/z"):
        one, two = (
            read_pixels(tmp_path / out / "probabilities" / f"{name}.png").astype(int)
            for out in ("one", "two")
        )
        np.testing.assert_allclose(one, two, atol=8)  # of 65535


def test_what_is_there_is_refused_and_kept(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict_files(predictor, scans[:1], out)
    before = contents(out)
    with pytest.raises(RunError, match=r"classes\.csv: exists already \(and 5 more\)"):
        predict_files(predictor, scans[:1], out)
    assert contents(out) == before


def test_one_stale_picture_is_refused_too(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    write_image(tmp_path / "out" / "evidence" / "caam" / "x.png", noise(2, 2))
    with pytest.raises(RunError, match=r"caam/x\.png: exists already; replace with --overwrite"):
        predict_files(predictor, scans[:1], tmp_path / "out")
    assert files(tmp_path / "out") == ["evidence/caam/x.png"]


def test_overwrite_replaces(predictor: Predictor, scans: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict_files(predictor, scans[:1], out)
    before = contents(out)
    write_image(scans[0], noise(32, 32, seed=1))
    predict_files(predictor, scans[:1], out, overwrite=True)
    after = contents(out)
    assert after.keys() == before.keys()
    assert after["probabilities/x.png"] != before["probabilities/x.png"]


def test_an_image_to_predict_is_never_overwritten(predictor: Predictor, tmp_path: Path) -> None:
    image = write_image(tmp_path / "masks" / "x.png", noise(32, 32))
    with pytest.raises(RunError, match=r"x\.png: is an image to predict; choose another --out"):
        predict_files(predictor, [image], tmp_path, overwrite=True)
    np.testing.assert_array_equal(read_pixels(image), noise(32, 32))


def test_a_bad_image_leaves_those_before_it_whole_and_nothing_of_itself(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    scans[2].write_bytes(b"not an array")
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"b/y\.npy is no NPY file"):
        predict_files(predictor, scans, out, batch_size=1)
    assert [row["image"] for row in table(out)] == [str(scan) for scan in scans[:2]]
    assert files(out) == sorted(
        ["classes.csv", *(f"{kind}/{name}.png" for kind in KINDS for name in ("a/x", "b/x"))]
    )


def test_a_bad_first_image_writes_nothing(predictor: Predictor, tmp_path: Path) -> None:
    image = write_image(tmp_path / "x.png", noise(40, 40, 3))
    with pytest.raises(DataError, match=r"x\.png is in colour"):
        predict_files(predictor, [image], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_a_file_is_refused(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(RunError, match="is a file; expected a folder for --out"):
        predict_files(predictor, scans, tmp_path / "out")


def test_a_run_that_saw_only_regions_says_so(
    predictor: Predictor, scans: list[Path], tmp_path: Path
) -> None:
    data = predictor.config.data.model_copy(update={"region": "black"})
    blackened = replace(predictor, config=predictor.config.model_copy(update={"data": data}))
    with pytest.warns(UserWarning, match="black outside their region"):
        predict_files(blackened, scans[:1], tmp_path / "out")


def test_every_mask_channel_has_its_own_folder(
    predictor: Predictor, scans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = Predictor.explain

    def doubled(self: Predictor, images: Tensor) -> tuple[Prediction, Mapping[str, Evidence]]:
        prediction, evidence = explained(self, images)
        logits = prediction.mask_logits.repeat(1, 2, 1, 1)
        logits[:, 1] = 10
        return replace(prediction, mask_logits=logits), evidence

    monkeypatch.setattr(Predictor, "explain", doubled)
    two = replace(predictor, task=replace(predictor.task, mask_channels=2))
    (answer,) = predict_files(two, scans[:1], tmp_path)
    assert (read_pixels(tmp_path / "masks" / "1" / "x.png") == 255).all()
    assert {"masks/0/x.png", "probabilities/0/x.png"} <= set(files(tmp_path))
    assert answer.lesion_share == 1


VALUE = st.text(st.characters(exclude_characters=":,", exclude_categories=["Cs"]), max_size=5)
REFERENCES = st.builds(
    lambda name, options: ":".join([name, *(f"{key}={value}" for key, value in options.items())]),
    st.sampled_from(["ig", "calibrated/ig", "caam"]),
    st.dictionaries(st.sampled_from(["steps", "baseline"]), VALUE, max_size=2),
)


@given(REFERENCES, REFERENCES)
def test_references_make_safe_and_different_names(first: str, second: str) -> None:
    assert str(parse(first)) == first
    assert (file_name(first) == file_name(second)) == (first == second)
    assert not set(file_name(first)) & set('/\\:*?"<>| \n\0')

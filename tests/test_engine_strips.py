from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny, usual_lines, write_dataset

from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine import run as run_module
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.predict import Predictor, load
from pseudolabel_kit.engine.strips import choose, spread, write_strips
from pseudolabel_kit.errors import PluginError


@given(st.lists(st.integers()), st.integers(-2, 30))
def test_what_is_spread_keeps_its_order_and_number(items: list[int], count: int) -> None:
    found = spread(list(range(len(items))), count)
    assert len(found) == min(max(0, count), len(items))
    assert found == sorted(set(found))
    if found and count > 0:
        assert found[0] == 0


def val_of(folder: Path, ill: int, sound: int) -> Subset:
    """A val side with so many rows of each kind; healthy ones come first."""
    lines = [line for line in usual_lines() if line["split"] != "val"]
    lines += [
        {
            "image": f"val/{number:02d}.png",
            "mask": f"val/mask{number:02d}.png",
            "label": "sound" if number < sound else "ill",
            "patient": "",
            "split": "val",
        }
        for number in range(ill + sound)
    ]
    write_dataset(folder, lines)
    store, splits = open_store(tiny({"data": {"source": str(folder)}}).data)
    return store.subset(splits.val)


@pytest.mark.parametrize(
    ("ill", "sound", "count", "shown"),
    [(6, 6, 6, (4, 2)), (1, 9, 6, (1, 5)), (9, 1, 6, (5, 1)), (0, 3, 6, (0, 3)), (2, 2, 0, (0, 0))],
)
def test_lesions_are_shown_first_and_others_too(
    ill: int, sound: int, count: int, shown: tuple[int, int], tmp_path: Path
) -> None:
    rows = val_of(tmp_path, ill, sound)
    chosen = choose(rows, count)
    holds = [position >= sound for position in chosen]
    assert (sum(holds), len(holds) - sum(holds)) == shown
    assert holds == sorted(holds, reverse=True)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Predictor]:
    """A run's strips, with a row that lacks its mask and one that lacks its label."""
    base = tmp_path_factory.mktemp("strips")
    lines = usual_lines()
    lines[8]["mask"] = lines[9]["label"] = ""
    write_dataset(base / "data", lines)
    config = tiny(
        {
            "data": {"source": str(base / "data")},
            "train": {"steps": 1},
            "evaluate": {"figures": 4, "strips": "cam,caam"},
            "method": {"explainer": "input-x-gradient,caam"},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "write_report", lambda path: path)
        run_module.train(config, out=base / "run")
    return base / "run", load(base / "run")


def test_strips_show_every_map_of_every_image(drawn: tuple[Path, Predictor]) -> None:
    run, _ = drawn
    with np.load(run / "strips.npz", allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    maps = {"truth", "decoder", "pseudo"}
    maps |= {f"evidence/{name}" for name in ("cam", "caam", "input-x-gradient")}
    assert found.keys() == maps | {"names", "image"}
    assert found["image"].shape == (2, 1, 32, 32)
    assert all(found[name].shape == (2, 32, 32) for name in maps)
    assert all(0 <= np.nanmin(found[n]) <= np.nanmax(found[n]) <= 1 for n in maps - {"truth"})
    assert list(found)[-3:] == ["evidence/cam", "evidence/caam", "evidence/input-x-gradient"]


def test_an_unknown_mask_is_nan_and_an_unknown_label_null(drawn: tuple[Path, Predictor]) -> None:
    run, _ = drawn
    with np.load(run / "strips.npz", allow_pickle=False) as file:
        names, truth = file["names"].tolist(), file["truth"]
    unknown = [bool(np.isnan(each).all()) for each in truth]
    assert unknown == [name == "images/08.png" for name in names]
    captions = json.loads((run / "strips.json").read_text())
    known = dict(zip(names, captions["truth"], strict=True))
    assert known == {"images/08.png": "ill", "images/09.png": None}
    assert all(guess in ("ill", "sound") for guess in captions["predicted"])
    assert all(0.5 <= p <= 1 for p in captions["probability"])


def test_the_pseudo_label_shown_is_the_one_that_would_be_taught(
    drawn: tuple[Path, Predictor],
) -> None:
    run, predictor = drawn
    with np.load(run / "strips.npz", allow_pickle=False) as file:
        image, pseudo, decoder = file["image"], file["pseudo"], file["decoder"]
    found = predictor.label(torch.from_numpy(image))
    np.testing.assert_allclose(pseudo, found.pseudo.mask[:, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(
        decoder, found.prediction.mask_logits[:, 0].sigmoid().numpy(), atol=1e-6
    )
    assert not np.allclose(pseudo, decoder, atol=1e-4)


def test_without_figures_nothing_is_drawn(drawn: tuple[Path, Predictor], tmp_path: Path) -> None:
    _, predictor = drawn
    evaluate = predictor.config.evaluate.model_copy(update={"figures": 0})
    config = predictor.config.model_copy(update={"evaluate": evaluate})
    nothing = Predictor(**{**vars(predictor), "config": config})
    rows = open_store(config.data)[0].subset([0])
    write_strips(RunFolder(tmp_path), nothing, rows)
    assert not list(tmp_path.iterdir())


def test_a_map_that_the_network_has_not_is_left_out(
    drawn: tuple[Path, Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PluginError("cam: there is no linear head to map")

    _, predictor = drawn
    monkeypatch.setattr("plk_calibrated.caam.Cam.explain", refuse)
    rows = open_store(predictor.config.data)[0].subset([0])
    write_strips(RunFolder(tmp_path), predictor, rows)
    with np.load(tmp_path / "strips.npz", allow_pickle=False) as file:
        assert "evidence/cam" not in file.files
        assert "evidence/caam" in file.files

"""Evidence that `plk audit` keeps: when it is asked again, and what becomes of damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Site
from tiny import tiny

from pseudolabel_kit.audit.evidence import kept
from pseudolabel_kit.audit.sweep import audit
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.run import train

ASKED = ["--explainer", "input-x-gradient", "--fuser", "none", "--rows", "8"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited") / "run"
    train(tiny(), out=folder)
    return folder


@pytest.fixture(scope="module")
def explained(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in whose folder the maps of one explainer are kept."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("explained") / "run"))
    assert call(["audit", str(folder), *ASKED]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_evidence_is_computed_once_and_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = audit(run, explainer="input-x-gradient", fuser="sharpen", rows=8).findings
    kept = sorted((run / "audit" / "evidence").iterdir())
    assert [path.suffix for path in kept] == [".json", ".npy"]

    def never(*_: object) -> None:
        raise AssertionError("the evidence was asked for again")

    monkeypatch.setattr("pseudolabel_kit.engine.guard.explain", never)
    again = audit(run, explainer="input-x-gradient", fuser="sharpen", rows=8).findings
    assert again.figures(again.labels[0]) == first.figures(first.labels[0])
    assert again.figures(again.evidence[0]) == first.figures(first.evidence[0])
    with pytest.raises(AssertionError, match="asked for again"):
        audit(run, explainer="input-x-gradient", rows=9)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    "damage",
    [
        lambda maps: cut(maps, 0),
        lambda maps: cut(maps, 40),
        lambda maps: cut(maps, -4),
        lambda maps: maps.write_bytes(maps.read_bytes() + b"more"),
        lambda maps: maps.write_bytes(maps.read_bytes().replace(b"}", b"{", 1)),
        lambda maps: np.save(maps, np.zeros((7, 1, 32, 32), np.float32)),
        lambda maps: np.save(maps, np.zeros((8, 1, 32, 32), np.float64)),
        lambda maps: maps.unlink(),
        lambda maps: cut(maps.with_suffix(".json"), 0),
        lambda maps: maps.with_suffix(".json").write_text('["completeness_error"]'),
        lambda maps: maps.with_suffix(".json").write_text('{"completeness_error": "low"}'),
    ],
)
def test_damaged_evidence_is_computed_again(
    explained: Path, damage: Callable[[Path], object]
) -> None:
    (maps,) = (explained / "audit" / "evidence").glob("*.npy")
    whole = maps.read_bytes(), maps.with_suffix(".json").read_bytes()
    damage(maps)
    assert call(["audit", str(explained), *ASKED]) == 0
    assert (maps.read_bytes(), maps.with_suffix(".json").read_bytes()) == whole


def test_evidence_of_other_weights_is_asked_anew(run: Path) -> None:
    """As where a run was trained on, or trained anew, in its folder."""
    predictor = load(run)
    store, splits = open_store(predictor.config.data)
    rows = store.subset(splits.val[:2])
    explainer = predictor.method.explainers["input-x-gradient"]
    first, same = (
        kept(predictor, "input-x-gradient", explainer, rows, run / "kept") for _ in range(2)
    )
    assert np.array_equal(first.maps, same.maps)
    with torch.no_grad():
        for weight in predictor.model.parameters():
            weight.add_(torch.randn_like(weight))
    other = kept(predictor, "input-x-gradient", explainer, rows, run / "kept")
    assert not np.array_equal(first.maps, other.maps)
    assert len(list((run / "kept").glob("*.npy"))) == 2


def test_what_an_explainer_says_is_the_mean_over_all_images(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 rows are a batch of 16 and one of 4: (16 x 1 + 4 x 6) / 20 = 2."""
    monkeypatch.setattr(
        "pseudolabel_kit.engine.guard.diagnose",
        lambda _explainer, _model, images, _prediction: {"miss": 1.0 if len(images) == 16 else 6.0},
    )
    found = audit(run, explainer="input-x-gradient", fuser="none", rows=20).findings
    assert found.figures(found.evidence[0])["miss"] == pytest.approx(2)


def test_a_figure_of_some_batches_is_the_mean_over_their_images(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pseudolabel_kit.engine.guard.diagnose",
        lambda _explainer, _model, images, _prediction: {"late": 3.0} if len(images) == 4 else {},
    )
    found = audit(run, explainer="input-x-gradient", fuser="none", rows=20).findings
    assert found.figures(found.evidence[0])["late"] == pytest.approx(3)


def test_what_attributions_say_does_not_depend_on_batches(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = load(run)
    store, splits = open_store(predictor.config.data)
    explainer = predictor.method.explainers["input-x-gradient"]
    told = []
    for size, rows in ((16, splits.unlabelled[:20]), (1, splits.unlabelled[19::-1])):
        monkeypatch.setattr("pseudolabel_kit.audit.evidence.ROWS", size)
        shown = store.subset(rows)
        found = kept(predictor, "input-x-gradient", explainer, shown, run / f"{size}")
        told.append(found.told)
    assert set(told[0]) == {"completeness_error", "completeness_gain"}
    assert told[0] == pytest.approx(told[1], rel=1e-4)


EDITED = """
from dataclasses import dataclass
from pseudolabel_kit.interfaces import Explainer

@dataclass(frozen=True, kw_only=True)
class New(Explainer):
    def explain(self, model, images, prediction):
        return images[:, :1].clamp(0, 1) * {factor}
"""


def test_an_edited_explainer_is_asked_again(run: Path, site: Site) -> None:
    site.offer("a", '"explainer", "new", "parts_a:New", "New."', parts_a=EDITED.format(factor=1))
    audit(run, explainer="new", fuser="fixmatch", rows=4)
    (site.folder / "parts_a.py").write_text(EDITED.format(factor=0.5))
    audit(run, explainer="new", fuser="fixmatch", rows=4)
    assert len(list((run / "audit" / "evidence").glob("*.npy"))) == 2


def test_evidence_for_calibration_is_kept_too(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fit more does not explain val once more."""
    audit(run, explainer="caam", fuser="posterior", rows=4)
    monkeypatch.setattr("pseudolabel_kit.engine.guard.explain", lambda *_: pytest.fail("asked"))
    audit(run, explainer="caam", fuser="posterior,posterior:ridge=2", rows=4)

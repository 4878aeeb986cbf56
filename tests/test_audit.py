"""`plk audit`: a frozen model judged by the truth of one split, without training."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Site
from tiny import SUPERVISED, refused, tensors_of, tiny

from pseudolabel_kit.audit.findings import Findings, Judged, Rows
from pseudolabel_kit.audit.pictures import extremes
from pseudolabel_kit.audit.sweep import audit, named
from pseudolabel_kit.audit.tables import as_csv
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.engine.bootstrap import times
from pseudolabel_kit.engine.pixels import Tally
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.errors import ConfigError, PluginError, RunError

FUSERS = "sharpen,sharpen:norm=pixel,fixmatch:threshold=0.999"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited") / "run"
    train(tiny(), out=folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_it_judges_evidence_and_labels_and_leaves_the_run_alone(run: Path) -> None:
    before = tensors_of(run)
    found = audit(run, explainer="caam,input-x-gradient", fuser=FUSERS, rows=12).findings
    assert all(torch.equal(after, before[name]) for name, after in tensors_of(run).items())
    assert [each.name for each in found.evidence] == ["caam", "input-x-gradient"]
    assert [each.name for each in found.labels] == FUSERS.split(",")
    assert len(found.rows) == 12 < found.available == 30
    assert found.decoder is not None
    own = found.figures(found.decoder)
    for judged in found.judged:
        figures = found.figures(judged)
        assert figures["truth"] == own["truth"], "one truth for all"
        assert 0 <= float(figures["auroc"] or -1) <= 1
        assert 0 <= float(figures["brier"] or -1) <= 1
    shares = [found.figures(each)["coverage"] for each in found.labels]
    assert shares[:2] == [1, 1]
    assert shares[2] is not None
    assert 0 <= shares[2] < 1


def test_the_figures_are_those_of_the_run_s_own_labels(run: Path) -> None:
    """What a part is judged by here is what the engine's own audit says of it."""
    from pseudolabel_kit.data.source import open_store
    from pseudolabel_kit.engine.predict import load
    from pseudolabel_kit.engine.watch import audit as watched

    found = audit(run, rows=1000).findings
    predictor = load(run)
    store, splits = open_store(predictor.config.data)
    rows = store.subset(splits.unlabelled)
    record = watched(
        predictor.model, predictor.method, rows, debias=True, device=predictor.fabric.device
    )
    (label,), decoder = found.labels, found.decoder
    assert decoder is not None
    for name, judged in (("label", label), ("decoder", decoder)):
        figures = found.figures(judged)
        for figure in ("dice", "brier", "ece"):
            assert figures[figure] == pytest.approx(record[f"{name}_{figure}"])
        assert figures["lesion_free"] == pytest.approx(record[f"lesion_free_{name}"])
    for each in found.evidence:
        assert found.figures(each)["auroc"] == pytest.approx(record[f"auroc/{each.name}"])


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


def test_a_part_that_this_run_did_not_train_is_refused(run: Path) -> None:
    with pytest.raises(PluginError, match=r"explainer 'sgc'.* did not train"):
        audit(run, explainer="sgc", rows=2)
    assert not audit(run, fuser="none", explainer="none", rows=2).findings.labels
    with pytest.raises(ConfigError, match="there is no option 'tempo'"):
        audit(run, fuser="sharpen:tempo=2", rows=2)
    with pytest.raises(RunError, match="no checkpoint of step 3; expected one of 4, 6"):
        audit(run, which="3", rows=2)


def test_a_supervised_run_is_judged_by_any_fuser(tmp_path: Path) -> None:
    train(tiny(SUPERVISED), out=tmp_path / "run")
    assert not audit(tmp_path / "run", rows=4).findings.labels
    found = audit(tmp_path / "run", explainer="none", fuser="pseudo-label", rows=30).findings
    assert found.gains["pseudo-label"].value == 0, "hardening moves nothing over 0.5"
    assert not found.evidence


def test_the_command_writes_a_table_and_a_page(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["audit", str(run), "--fuser", FUSERS, "--rows", "12", "--checkpoint", "all"]
    assert call(line) == 0
    told = capsys.readouterr().out
    assert "run, step 4, on 12 of 30 unlabelled images, 12 patients; 12 masks known" in told
    assert "run, step 6," in told
    with (run / "audit" / "unlabelled.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {each["step"] for each in lines} == {"4", "6"}
    groups = {each["group"] for each in lines}
    assert {"all", "class np", "patient 1", "patient 12"} <= groups
    for each in lines:
        assert (each["gain"] != "") == (each["kind"] == "fuser" and each["group"] == "all")
    page = (run / "audit" / "unlabelled.html").read_text()
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page), "loads nothing"
    for word in ("Reliability", "Error against coverage", "Dice by threshold", "Dice by step"):
        assert word in page
    assert "plk audit" in page
    assert 'aria-label="Evidence by class and patient"' in page
    assert 'aria-label="Pseudo labels by class and patient"' in page
    patients = json.loads((run / "provenance.json").read_text())
    assert "patient-" not in page, patients


def test_a_fuser_that_calibrates_is_fitted_on_val(tmp_path: Path) -> None:
    train(tiny(SUPERVISED, {"data": {"labelled": 0.4}}), out=tmp_path / "run")
    found = audit(tmp_path / "run", split="val", explainer="none", fuser="posterior").findings
    assert found.decoder is not None
    own, fitted = found.figures(found.decoder), found.figures(found.labels[0])
    truth = float(own["truth"] or 0)
    assert abs(float(fitted["mean"] or 0) - truth) < 0.5 * abs(float(own["mean"] or 0) - truth)
    assert float(fitted["brier"] or 1) < float(own["brier"] or 0)


def test_a_fuser_that_surveys_is_shown_the_training_rows(tmp_path: Path) -> None:
    train(tiny(SUPERVISED, {"data": {"labelled": 0.4}}), out=tmp_path / "run")
    found = audit(tmp_path / "run", explainer="none", fuser="label-propagation").findings
    assert found.figures(found.labels[0])["label_coverage"] is not None


def test_the_run_s_own_fuser_is_calibrated_anew_for_other_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"explainer": "caam", "fuser": "posterior"}
    train(tiny({"method": parts, "data": {"labelled": 0.4}}), out=tmp_path / "run")
    fitted: list[list[str]] = []

    def noted(fuser: object, held: Iterable[tuple[object, dict[str, object], object]]) -> None:
        fitted.append([name for _, evidence, _ in held for name in evidence][:1])

    monkeypatch.setattr("pseudolabel_kit.engine.guard.calibrate", noted)
    audit(tmp_path / "run", rows=4)
    assert not fitted, "it brought what it had learned"
    audit(tmp_path / "run", explainer="gradcam", rows=4)
    audit(tmp_path / "run", fuser="posterior:ridge=2", rows=4)
    assert fitted == [["gradcam"], ["caam"]]


def test_evidence_for_calibration_is_kept_too(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fit more does not explain val once more."""
    audit(run, explainer="caam", fuser="posterior", rows=4)
    monkeypatch.setattr("pseudolabel_kit.engine.guard.explain", lambda *_: pytest.fail("asked"))
    audit(run, explainer="caam", fuser="posterior,posterior:ridge=2", rows=4)


def test_several_runs_are_told_by_their_means(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [tmp_path / "ours" / f"seed{seed}" for seed in (0, 1)]
    for each in runs:
        shutil.copytree(run, each)
    line = ["audit", *map(str, [*runs, run]), "--explainer", "caam", "--fuser", "fixmatch"]
    assert call([*line, "--rows", "4"]) == 0
    told = capsys.readouterr().out
    assert "ours/seed1, step" in told
    assert "± 0.000" in told.split("Mean over")[0]
    assert "Mean over 1 to 2 runs of each method" in told
    assert " ours " in told.split("ours/seed1, step")[1]
    assert all((each / "audit" / "unlabelled.html").exists() for each in [*runs, run])
    assert "--out: expected one RUN" in refused([*line, "--out", str(tmp_path / "x")], capsys)


def test_a_classifier_is_judged_over_its_checkpoints(tmp_path: Path) -> None:
    parts = {"backbone": "resnet18", "explainer": "saliency", "fuser": "pseudo-label:targets=class"}
    train(tiny({"method": parts}), out=tmp_path / "run")
    assert call(["audit", str(tmp_path / "run"), "--checkpoint", "all", "--rows", "6"]) == 0
    page = (tmp_path / "run" / "audit" / "unlabelled.html").read_text()
    assert "AUROC by step" in page
    assert "Dice by step" not in page, "it does not segment"


def test_mistakes_are_told_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no fuser 'sharpn'" in refused(["audit", str(run), "--fuser", "sharpn"], capsys)
    assert "not a run" in refused(["audit", str(run / "checkpoints")], capsys)


# ── by hand ─────────────────────────────────────────────────────────────────────────


def by_hand(label: torch.Tensor, own: torch.Tensor, truth: torch.Tensor) -> Findings:
    rows = len(truth)
    return Findings(
        run="r", split="val", step=1, classes=("np", "covid"), available=rows, seed=0,
        rows=Rows(
            names=tuple(map(str, range(rows))),
            patients=np.arange(1, rows + 1),
            labels=truth.flatten(1).any(dim=1).long().numpy(),
            masked=np.ones(rows, dtype=bool),
            free=~truth.flatten(1).any(dim=1).numpy(),
        ),
        decoder=Judged(name="decoder", kind="decoder", tally=Tally.of(own, truth)),
        evidence=(),
        labels=(
            Judged(
                name="f", kind="fuser", tally=Tally.of(label, truth),
                taught=np.array([0.5] * rows), wrong=np.array([0.25] * rows),
            ),
        ),
    )  # fmt: skip


def test_figures_by_hand() -> None:
    truth = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    label = torch.tensor([[0.9, 0.8, 0.1, 0.2], [0.1, 0.1, 0.1, 0.1]])
    own = torch.tensor([[0.9, 0.4, 0.1, 0.2], [0.1, 0.1, 0.1, 0.1]])
    found = by_hand(label, own, truth)
    figures = found.figures(found.labels[0])
    assert figures["dice"] == 1
    assert figures["coverage"] == 0.5
    assert figures["error"] == 0.5
    assert figures["lesion_free"] == pytest.approx(0.1)
    assert found.gains["f"].value == pytest.approx(1 - 2 / 3)
    healthy = found.figures(found.labels[0], found.groups()["class np"])
    assert healthy["dice"] is None
    change = found.change(found.labels[0])
    assert change == pytest.approx([(0.36 - 0.04) / 4, 0])
    assert list(extremes(change)) == [(0, "helps")]
    assert "patient 2" in as_csv([found])


def test_the_same_label_gains_nothing_and_a_better_one_surely() -> None:
    torch.manual_seed(0)
    truth = torch.zeros(30, 64).bool()
    truth[:, :16] = True
    own = torch.where(torch.rand(30, 64) < 0.3, ~truth, truth).float()
    same = by_hand(own, own, truth).gains["f"]
    assert (same.value, same.interval, same.sign) == (0, (0, 0), 0)
    better = by_hand(truth.float(), own, truth).gains["f"]
    assert better.sign == 1
    assert by_hand(own, truth.float(), truth).gains["f"].sign == -1
    low, high = better.interval or (0, 0)
    assert low < better.value < high


def test_one_patient_has_no_interval() -> None:
    truth = torch.tensor([[1, 1, 0, 0]]).bool()
    found = by_hand(truth.float(), torch.full((1, 4), 0.1), truth).gains["f"]
    assert (found.value, found.interval, found.sign) == (1, None, 0)


def test_patients_are_drawn_whole() -> None:
    drawn = times(np.array([1, 1, 2, 0, 0]), 1000, 0)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 3] != drawn[:, 4]).any()
    assert (drawn[:, [0, 2, 3, 4]].sum(axis=1) == 4).all()


@pytest.mark.parametrize(
    ("run", "name"), [("ours/seed12", "ours/seed12"), ("runs/2026", "2026"), ("runs/seed", "seed")]
)
def test_a_cell_is_named_with_its_method_and_no_other_run_is(run: str, name: str) -> None:
    assert named(Path("/runs") / run) == name

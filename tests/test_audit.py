"""`plk audit`: a frozen model judged by the truth of one split, without training."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Site
from tiny import SUPERVISED, refused, tensors_of, tiny

from pseudolabel_kit.audit.sweep import audit, named
from pseudolabel_kit.audit.tables import fits
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.errors import ConfigError, PluginError, RunError
from pseudolabel_kit.interfaces import Fuser, PseudoLabels

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
    assert re.search(r"<code>truth</code>.*\n(.*\n)*? *<td>0\.\d{3}</td>", page)
    panels = [re.findall(r'alt="(.*?) of', each) for each in page.split('class="strip"')[1:]]
    assert panels[0] == [
        "image",
        "truth",
        "input x gradient",
        "CAAM, start=0%",
        "decoder",
        "sharpen",
    ]
    fused = {tuple(each[5:]) for each in panels}
    assert fused >= {("sharpen",), ("sharpen, norm=pixel",)}, "its own label alone"
    for word in ("Reliability", "Error against coverage", "Dice by threshold", "Dice by step"):
        assert word in page
    assert "plk audit" in page
    assert 'aria-label="Evidence by class and patient"' in page
    assert 'aria-label="Pseudo labels by class and patient"' in page
    patients = json.loads((run / "provenance.json").read_text())
    assert "patient-" not in page, patients


def test_a_fuser_that_calibrates_is_fitted_on_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(SUPERVISED, {"data": {"labelled": 0.4}}), out=tmp_path / "run")
    read: list[torch.Tensor] = []
    calibrate = guard.calibrate

    def noted(fuser: Fuser, held: Iterable[Any]) -> None:
        calibrate(fuser, (read.append(each[2].image) or each for each in held))  # type: ignore[func-returns-value]

    monkeypatch.setattr(guard, "calibrate", noted)
    found = audit(tmp_path / "run", split="val", explainer="none", fuser="posterior").findings
    store, splits = open_store(load(tmp_path / "run").config.data)
    (val,) = store.subset(splits.val).batches(64)
    assert torch.equal(torch.cat(read), val.image), "these rows and no others"
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
    calibrate = guard.calibrate

    def noted(fuser: Fuser, held: Iterable[Any]) -> None:
        shown = list(held)
        fitted.append([name for _, evidence, _ in shown for name in evidence][:1])
        calibrate(fuser, shown)

    monkeypatch.setattr("pseudolabel_kit.engine.guard.calibrate", noted)
    own = audit(tmp_path / "run", rows=4).findings
    assert not fitted, "it brought what it had learned"
    assert fits(own) == ["* posterior: fitted on held-out labelled images"]
    other = audit(tmp_path / "run", explainer="gradcam", rows=4).findings
    assert [each.fitted for each in other.labels] == ["val"]
    both = audit(tmp_path / "run", fuser="posterior,posterior:ridge=2", rows=4).findings
    assert fitted == [["gradcam"], ["caam"]]
    assert [each.fitted for each in both.labels] == ["labelled", "val"]


@pytest.mark.parametrize(
    "never", [{"audit": {"holdout": 0.0}}, {"loss": {"consistency_start": "100steps"}}]
)
def test_a_fuser_that_was_never_fitted_is_not_said_to_be(
    tmp_path: Path, never: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"explainer": "caam", "fuser": "posterior"}
    train(tiny({"method": parts, "data": {"labelled": 0.4}}, never), out=tmp_path / "run")
    assert not fits(audit(tmp_path / "run", rows=4).findings)
    calibrate = guard.calibrate

    def without_lesions(fuser: Fuser, held: Iterable[Any]) -> None:
        shown = ((p, e, replace(b, mask=torch.zeros_like(b.mask))) for p, e, b in held)
        calibrate(fuser, shown)

    monkeypatch.setattr(guard, "calibrate", without_lesions)
    found = audit(tmp_path / "run", explainer="none", fuser="posterior,posterior:ridge=2", rows=4)
    assert not fits(found.findings), "val taught nothing either"


SURVEYOR = """
import torch
from dataclasses import dataclass
from pseudolabel_kit.interfaces import Fuser, PseudoLabels

class Seen(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("rows", torch.zeros(()))

@dataclass(frozen=True, kw_only=True)
class Surveyor(Fuser):
    def make_state(self, task):
        return Seen()

    def survey(self, model, labelled, unlabelled):
        self.state.rows += sum(len(batch.image) for batch in labelled)

    def calibrate(self, held):
        list(held)

    def fuse(self, prediction, evidence):
        mask = prediction.mask_logits.float().sigmoid()
        return PseudoLabels(mask=mask, mask_weight=torch.ones_like(mask[:, :1]))
"""


def test_a_look_at_the_training_rows_is_no_fit(run: Path, site: Site) -> None:
    site.offer("a", '"fuser", "surveyor", "parts_a:Surveyor", "Looks."', parts_a=SURVEYOR)
    audited = audit(run, explainer="none", fuser="surveyor", rows=2)
    state = audited.parts.fusers["surveyor"].state
    assert state is not None
    assert state.get_buffer("rows") > 0
    assert not fits(audited.findings)


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


def test_labels_are_held_against_the_truth_of_each_image(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fuser that marks everything and teaches the left half, and calls every image "np"."""

    def everything(*asked: Any) -> PseudoLabels:
        mask = torch.ones_like(asked[3])
        weight = torch.zeros_like(mask)
        weight[..., :16] = 1
        label = torch.eye(2)[[0] * len(mask)]
        return PseudoLabels(
            mask=mask, mask_weight=weight, label=label, label_weight=torch.ones(len(mask))
        )

    monkeypatch.setattr(guard, "fuse", everything)
    found = audit(run, explainer="none", fuser="fixmatch", rows=30).findings
    store, splits = open_store(load(run).config.data)
    (truth,) = store.subset(splits.unlabelled).batches(64)
    figures = found.figures(found.labels[0])
    assert figures["coverage"] == 0.5
    assert figures["error"] == pytest.approx(1 - float(truth.mask[..., :16].mean()))
    assert figures["label_accuracy"] == pytest.approx(float((truth.label == 0).double().mean()))
    assert 0 < float(figures["label_accuracy"] or 0) < 1


def test_mistakes_are_told_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no fuser 'sharpn'" in refused(["audit", str(run), "--fuser", "sharpn"], capsys)
    assert "not a run" in refused(["audit", str(run / "checkpoints")], capsys)


@pytest.mark.parametrize(
    ("run", "name"), [("ours/seed12", "ours/seed12"), ("runs/2026", "2026"), ("runs/seed", "seed")]
)
def test_a_cell_is_named_with_its_method_and_no_other_run_is(run: str, name: str) -> None:
    assert named(Path("/runs") / run) == name

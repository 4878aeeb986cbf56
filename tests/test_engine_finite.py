"""Numbers that are not finite: of a part, by its name; of weights that diverged, nobody's fault."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Site
from failing_parts import HARM, METHOD, Planting, boom, install, stopped
from step_support import make_learner, taken
from tiny import assembled

from pseudolabel_kit.engine.failure import StoppedError, resumable
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Batch, LossTerm, Perturbation, Prediction, View
from pseudolabel_kit.plugin.blame import FaultError

NAN = float("nan")


@pytest.fixture(autouse=True)
def parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch)


def saved(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").glob("step-*"))


def nan_terms(answer: Any) -> Any:
    """A loss whose totals are NaN, whatever it was."""
    if answer is None:
        return LossTerm(total=torch.full((4,), NAN), count=torch.ones(4))
    return {name: replace(term, total=term.total / 0 * 0) for name, term in answer.items()}


def nan_masks(answer: Prediction) -> Prediction:
    assert answer.mask_logits is not None
    return replace(answer, mask_logits=answer.mask_logits / 0 * 0)


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("backbone_loss", "backbone 'failing' of plugin 'worse': loss gave 'segmentation' with a"),
        ("explainer_loss", "explainer 'failing' of plugin 'worse': loss gave 'failing' with a tot"),
        (
            "fuser_loss",
            "fuser 'failing' of plugin 'worse': loss gave 'mask' with a total with 2 NaN",
        ),
    ],
)
def test_a_loss_that_is_not_finite_is_its_part_s_fault(
    method: str, told: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    said = stopped(run, Planting(nan_terms, **{method: [4]}))
    assert said.startswith(told)
    assert " values: expected finite values, in step 5; traceback: " in said
    assert said.endswith("goes on from step 4")
    assert "optimiser.lr" not in said
    assert "loss" in (run / "failure.txt").read_text()
    assert train(out=run, resume=True).interrupted is None


@pytest.mark.parametrize("fuser", ["failing", "none"])
def test_an_answer_that_is_not_finite_is_the_backbone_s_where_its_weights_are(
    fuser: str, tmp_path: Path
) -> None:
    loop = assembled(tmp_path / "run", METHOD, {"method": {"fuser": fuser}})
    loop.progress.consistency_began = 0
    HARM["forward"] = nan_masks
    with pytest.raises(StoppedError) as error:
        loop.train()
    said = str(error.value)
    assert said.startswith("backbone 'failing' of plugin 'worse': forward gave mask_logits with 2")
    assert ": expected values in [-1e+18, 1e+18], or a lower optimiser.lr where training" in said
    assert ", in step 1; " in said


def test_a_loss_that_chokes_on_an_answer_that_is_not_finite_is_not_blamed(tmp_path: Path) -> None:
    loop = assembled(tmp_path / "run", METHOD, {"method": {"fuser": "none"}})
    HARM.update(forward=nan_masks, backbone_loss=boom)
    with pytest.raises(StoppedError, match="worse': forward gave mask_logits with"):
        loop.train()


def test_scores_whose_loss_overflows_are_the_answer_s_not_the_loss_s(tmp_path: Path) -> None:
    loop = assembled(tmp_path / "run", METHOD, {"method": {"fuser": "none"}})
    HARM["forward"] = lambda answer: replace(answer, mask_logits=answer.mask_logits * 0 + 3e38)
    with pytest.raises(StoppedError, match=r"forward gave mask_logits with values from 3e\+38 to"):
        loop.train()


@dataclass(frozen=True, kw_only=True)
class OnMaps(Perturbation):
    """Changes feature maps after whoever did before."""

    by: float = 1.0

    def perturb(self, view: View, labelled: Batch) -> list[View]:
        before = view.on_features or (lambda maps: maps)
        return [
            replace(view, on_features=lambda maps: tuple(each * self.by for each in before(maps)))
        ]


@pytest.mark.parametrize("order", [(NAN, 1.0), (1.0, NAN)])
def test_feature_maps_that_are_not_finite_are_their_perturbation_s_fault(
    order: tuple[float, float],
) -> None:
    chain = tuple(OnMaps(by=by) for by in order)
    for part in chain:
        object.__setattr__(part, "_origin", f"by {part.by}")
    with pytest.raises(FaultError, match=r"^by nan: on_features gave feature maps with \d+ NaN of"):
        taken(make_learner(perturbations=chain))


def test_feature_maps_that_were_not_finite_before_are_not_the_perturbation_s_fault() -> None:
    learner = make_learner(perturbations=(OnMaps(),))
    sound = copy.deepcopy(learner.model)
    learner.teacher = lambda: sound
    learner.model.get_submodule("encoder").get_submodule("conv1").register_forward_hook(
        lambda module, images, maps: NAN * maps
    )
    with pytest.raises(FaultError, match=r"^VggMultiscale: forward gave class_logits with \d+ NaN"):
        taken(learner)


@pytest.mark.parametrize("teacher", ["self", "frozen"])
def test_weights_that_diverged_are_nobody_s_fault(teacher: str, tmp_path: Path) -> None:
    loop = assembled(tmp_path / "run", METHOD, {"method": {"teacher": teacher}})
    loop.progress.consistency_began = 0
    next(loop.learner.model.parameters()).data.fill_(NAN)
    with pytest.raises(RunError) as error, resumable(loop):
        loop.train()
    assert not isinstance(error.value, StoppedError)
    assert str(error.value) == (
        f"{tmp_path / 'run'}: in step 1 the weights are not finite: training diverged; lower "
        "optimiser.lr or optimiser.clip and train anew, for --resume would repeat it"
    )
    assert not saved(tmp_path / "run")


def test_weights_that_diverged_are_never_saved(tmp_path: Path) -> None:
    loop = assembled(tmp_path / "run", METHOD)
    next(loop.learner.model.parameters()).data.fill_(NAN)
    with (
        pytest.raises(RunError, match="after step 0 the weights are not finite: "),
        resumable(loop),
    ):
        loop.save()
    assert not saved(tmp_path / "run")

"""Fusers that remember, cost or say what they should not, before the kit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pytest
import torch
from conftest import Site
from planted_fusers import Counting, Sound, Surveying, labels
from planted_support import Offender, Offenders
from torch import Tensor, nn

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import (
    Batch,
    Evidence,
    Prediction,
    PseudoLabels,
    Task,
)

offends = Offenders("fuser")


COUNT = "it_counts_in_its_state_alone"
COUNTS = frozenset({COUNT})


@offends("its_state_survives_saving", "saving and loading .*mask", "buffers .* make_state", COUNTS)
class CountsInItself(Sound):
    def begin(self, task: Task) -> None:
        super().begin(task)
        object.__setattr__(self, "_calls", 0)

    def spoil(self, mask: Tensor) -> Tensor:
        calls = vars(self)["_calls"] + 1
        object.__setattr__(self, "_calls", calls)
        return mask / calls


@offends("its_state_survives_saving", "after saving and loading .*mask", "persistent=False")
class ForgetsWhenSaved(Counting):
    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("mean", torch.tensor(0.5), persistent=False)
        return state


@offends("its_state_survives_saving", "after saving and loading .*mask", "make_state", COUNTS)
class CountsBesideItsState(Counting):
    def begin(self, task: Task) -> None:
        super().begin(task)
        object.__setattr__(self, "_calls", 0)

    def spoil(self, mask: Tensor) -> Tensor:
        object.__setattr__(self, "_calls", vars(self)["_calls"] + 1)
        return super().spoil(mask) / vars(self)["_calls"]


@offends(COUNT, "fuse changed '_calls' of the part from 1 to 2", "buffers .* make_state")
class Hardens(Sound):
    """Hardens its labels after twenty calls: later than any check would see."""

    def spoil(self, mask: Tensor) -> Tensor:
        count = self.count()
        return (mask > 0.5).float() if count > 20 else mask

    def count(self) -> int:
        object.__setattr__(self, "_calls", vars(self).get("_calls", 0) + 1)
        return int(vars(self)["_calls"])


@offends(COUNT, r"fuse changed 'state\.calls' of the part from 1 to 2", "make_state")
class CountsInAnAttributeOfItsState(Hardens):
    def make_state(self, task: Task) -> nn.Module:
        return nn.Module()

    def count(self) -> int:
        state: Any = self.state
        state.calls = getattr(state, "calls", 0) + 1
        return int(state.calls)


@offends("memory_is_given_back", r"every call keeps \d{5} bytes", "no list that grows")
class KeepsAList(Sound):
    def begin(self, task: Task) -> None:
        super().begin(task)
        object.__setattr__(self, "_seen", [])

    def spoil(self, mask: Tensor) -> Tensor:
        vars(self)["_seen"].append(mask)
        return mask


@offends("memory_is_given_back", r"every call keeps \d{5} bytes", "no list that grows")
class KeepsItsInputs(KeepsAList):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        vars(self)["_seen"].append(prediction)
        return labels(prediction.need_masks(self.origin).float().sigmoid())


@offends("cost_grows_with_the_rows", r"12 rows write \d+\.\d times the bytes of 3", "each row")
class ComparesAllRows(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        pairs = (mask[:, None] - mask[None]).abs()
        return mask + 0 * pairs.sum(dim=1)


# ── what it says of itself ──────────────────────────────────────────────────────────


@offends("what_it_reads_is_what_it_says", 'reads = "prediction", yet the labels change', "reads")
class SaysItReadsNone(Sound):
    reads: ClassVar[Any] = "prediction"


@offends("what_it_reads_is_what_it_says", "no evidence comes: fuse raised KeyError: 'ig'", "reads")
class NeedsWhatItDoesNotRead(Sound):
    reads: ClassVar[Any] = "prediction"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        assert evidence["ig"]
        return super().fuse(prediction, {})


@offends(
    "a_missing_head_is_refused_by_name",
    "without mask_logits: fuse raised AttributeError: 'NoneType'",
    r"need_masks\(self.origin\)",
)
class TrustsInMasks(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        return labels(prediction.mask_logits.float().sigmoid())  # type: ignore[union-attr]


@offends("a_survey_leaves_the_model_alone", "survey changed the model: the mode of", "eval mode")
class TrainsTheTeacher(Surveying):
    def survey(self, model: Any, labelled: Iterable[Batch], unlabelled: Iterable[Batch]) -> None:
        super().survey(model, labelled, unlabelled)
        model.train()


@offends("a_survey_leaves_the_model_alone", "before its first survey.*fuse refused", "weight 0")
class RefusesBeforeItsSurvey(Surveying):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        assert self.state is not None
        if not len(self.state.get_buffer("features")):
            raise PluginError(f"{self.origin}: there has been no survey")
        return super().fuse(prediction, evidence)


@offends("a_survey_leaves_the_model_alone", "before its first survey.*fuse raised", "weight 0")
class NeedsItsSurvey(Surveying):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        assert self.state is not None
        assert len(self.state.get_buffer("features"))
        return super().fuse(prediction, evidence)


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)

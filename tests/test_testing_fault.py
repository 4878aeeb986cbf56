"""What is told of a part that raises, and how it is to be mended."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from conftest import Site
from planted_backbones import Net
from planted_backbones import Sound as Backbone
from planted_fusers import Sound
from planted_support import EVERY, Offender, Offenders
from torch import Tensor

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Evidence, Prediction, PseudoLabels
from pseudolabel_kit.testing.fault import ConformanceError, DeclinedError, require, sound, where

in_fusers, in_backbones = Offenders("fuser"), Offenders("backbone")
SHAPES = "shapes_types_and_ranges"


@in_fusers(SHAPES, r"^fuse raised SystemExit: 0 \(.*/test_testing_fault.py:\d+\)$", "work", EVERY)
class Exits(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        sys.exit(0)


@in_fusers(SHAPES, r"raised RuntimeError: .*\(.*/test_testing_fault.py:\d+\)$", "work", EVERY)
class FailsInTorch(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return torch.ones(2) @ torch.ones(3)


@in_fusers(SHAPES, r"^fuse raised ValueError: a b a b .*… \(/[^ ]*\)$", "make it work", EVERY)
class TellsALongStory(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        raise ValueError("a\nb\n" * 500)


@in_fusers(
    SHAPES,
    r"fuse raised TypeError: .*unexpected keyword argument 'evidence'$",
    r"^define fuse\(self, prediction, evidence\)$",
    EVERY,
)
class TakesNoEvidence(Sound):
    def fuse(self, prediction: Prediction) -> PseudoLabels:  # type: ignore[override]
        return super().fuse(prediction, {})


@in_fusers(SHAPES, r"fuse raised TypeError: .*\(/.*\)$", "make it work there, or refuse", EVERY)
class MistypesWithin(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        return super().fuse(prediction, len(prediction))  # type: ignore[arg-type]


class ImagelessNet(Net):
    def forward(self) -> Any:  # type: ignore[override]
        return None


@in_backbones(
    SHAPES, r"forward raised TypeError: .*argument 'images'$", r"^define forward\(self, im", EVERY
)
class TakesNoImages(Backbone):
    network = ImagelessNet


@pytest.mark.parametrize(
    ("kind", "offender"),
    [(kind, each) for kind in (in_fusers, in_backbones) for each in kind.all],
    ids=str,
)
def test_an_offender_is_caught(kind: Offenders, offender: Offender, site: Site) -> None:
    kind.assert_caught(offender, site)


def test_an_interrupt_is_no_fault() -> None:
    with pytest.raises(KeyboardInterrupt), sound("fuse", Sound()):
        raise KeyboardInterrupt


def test_a_circumstance_has_a_fix_for_what_was_not_answered_alone() -> None:
    with pytest.raises(DeclinedError) as refused, where("at sea", "swim"), sound("fuse", Sound()):
        raise DataError("no")
    assert (refused.value.found, refused.value.fix) == (
        "at sea: fuse refused: DataError: no",
        "swim",
    )
    with pytest.raises(ConformanceError) as wrong, where("at sea", "swim"):
        require(False, "mask lies in [0, 2]", "clamp it")
    assert (wrong.value.found, wrong.value.fix) == ("at sea: mask lies in [0, 2]", "clamp it")

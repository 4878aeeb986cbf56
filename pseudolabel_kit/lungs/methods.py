"""Ways to find the lungs of a dataset's rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pseudolabel_kit.lungs.pieces import Piece, by_threshold
from pseudolabel_kit.scans.side_by_side import side_by_side
from pseudolabel_kit.scans.slice_lungs import Mask

if TYPE_CHECKING:
    from pseudolabel_kit.engine.predict import Predictor

Found = Iterator[tuple[int, Mask]]


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Finds lungs."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the manifest and reports call it."""

    @property
    def stamp(self) -> str:
        """Changes whenever the answers may."""
        return self.name

    @abstractmethod
    def find(self, pieces: Sequence[Piece]) -> Found:
        """Each row's number and its lungs (H,W); empty where there are none.

        Raises:
            DataError: an image cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class Threshold(Method):
    """Air inside the body; no model.

    Attributes:
        jobs: processes.
    """

    jobs: int = 1

    @property
    def name(self) -> str:
        """One name for all datasets."""
        return "threshold"

    def find(self, pieces: Sequence[Piece]) -> Found:
        """Look at pieces side by side; they come in their order."""
        found = side_by_side(by_threshold, pieces, jobs=self.jobs, doing="looks for lungs")
        for piece, masks in zip(pieces, found, strict=True):
            yield from zip(piece.at, masks, strict=True)


@dataclass(frozen=True, kw_only=True)
class Trained(Method):
    """What a run draws that was trained on lungs.

    Attributes:
        run: its folder.
        which: its weights.
    """

    run: Path
    which: str = "best"

    @property
    def name(self) -> str:
        """By the run's folder, without the way to it."""
        return f"run {self.run.resolve().name}"

    @property
    def stamp(self) -> str:
        """Of the run and of the step of its weights."""
        return f"{self.run.resolve()} {self.which} {self.predictor.step}"

    @cached_property
    def predictor(self) -> Predictor:
        """The run's model.

        Raises:
            RunError: the folder holds no run, or no sound checkpoint.
        """
        from pseudolabel_kit.engine.predict import load

        return load(self.run, which=self.which)

    @property
    def learnt_regions(self) -> bool:
        """Whether regions were what it learnt to draw; its masks may be lungs all the same."""
        return self.predictor.config.data.mask == "region"

    def find(self, pieces: Sequence[Piece]) -> Found:
        """Look at pieces one after the other."""
        for piece in pieces:
            for i, line in zip(piece.at, piece.lines, strict=True):
                yield i, _drawn(self.predictor, piece.folder / line.image)


def _drawn(predictor: Predictor, path: Path) -> Mask:
    """What the model marks in an image, in the image's own size."""
    import torch

    from pseudolabel_kit.engine.images import open_image
    from pseudolabel_kit.engine.reading import in_own_size

    image = open_image(path, predictor.task, padded=predictor.padded)
    with torch.no_grad():
        logits = predictor(torch.from_numpy(image.fitted[None])).need_masks("plk data lungs")
    score = logits[0].float().sigmoid().amax(dim=0, keepdim=True).cpu().numpy()
    drawn: Mask = in_own_size(image, score)[0] >= 0.5  # as plk evaluate counts
    return drawn

"""What authors of datasets write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Split: TypeAlias = Literal["labelled", "unlabelled", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one image before its pixels are read.

    Attributes:
        name: unique within the dataset; names the image in outputs.
        label: index into the dataset's classes, or None.
        patient: rows of one patient never stand on two sides of a split.
        split: the side that the dataset itself names, or None.
        has_mask: whether `read` gives a mask.
        has_region: whether `read` gives a region.
    """

    name: str
    label: int | None = None
    patient: str | None = None
    split: Split | None = None
    has_mask: bool = False
    has_region: bool = False


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The pixels of one row.

    Attributes:
        image: (C,H,W) float32 in [0, 1].
        mask: (K,H,W) bool, or None.
        region: (1,H,W) bool, or None.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None
    region: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Images and what is known of them; read once, into a packed store."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names."""

    @property
    @abstractmethod
    def lesion_classes(self) -> tuple[int, ...]:
        """Indices of the classes whose images can hold foreground; empty = labelled masks tell."""

    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """Every row, always in the same order."""

    @abstractmethod
    def read(self, index: int) -> Sample:
        """The pixels of row `index`. Must give the same answer every time, in any process."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes whenever any pixel, label or split may have changed; cheap to ask."""

"""The packed store: every image decoded once, gathered into batches from then on."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.data import pack
from pseudolabel_kit.data.rowfile import taken
from pseudolabel_kit.interfaces import Batch, Dataset, Row

Slots = NDArray[np.int64]
NONE, EMPTY = -1, -2


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """A dataset's pixels, memory-mapped, and its rows.

    Attributes:
        rows: every row of the dataset, in its order.
        classes: class names.
        lesion_classes: the dataset's own; all, where it names none.
        healthy_classes: those of which a row without a mask is known to hold no lesion.
        channels: C.
        mask_channels: K.
        size: (H, W) in pixels.
        bits: 8 or 16, what each channel is kept in.
        folder: where the packed arrays lie.
    """

    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    lesion_classes: tuple[int, ...]
    healthy_classes: tuple[int, ...]
    channels: int
    mask_channels: int
    size: tuple[int, int]
    bits: int
    folder: Path

    @classmethod
    def open(
        cls,
        dataset: Dataset,
        *,
        size: int = 0,
        cache: Path | None = None,
        region: pack.Region = "keep",
        progress: pack.Progress | None = None,
    ) -> Store:
        """Map the decoded dataset, decoding it first where the cache has no sound copy.

        Args:
            dataset: what to decode.
            size: side in pixels; 0 = as stored, if all images are alike.
            cache: folder of decoded datasets; None = $PLK_CACHE or the user's cache.
            region: "black" sets pixels outside each row's region to 0.
            progress: told (rows done, rows in all) while decoding.

        Raises:
            DataError: the dataset cannot be read, or its images do not fit together.
            RunError: the cache cannot be written.
        """
        folder = pack.ensure(
            dataset,
            size=size,
            region=region,
            cache=cache or pack.default_cache(),
            progress=progress,
        )
        rows, classes = tuple(dataset.rows()), dataset.classes
        images = _map(folder, "images")
        facts = pack.describe(folder)
        lesion = dataset.lesion_classes or tuple(range(len(classes)))
        return cls(
            rows=rows,
            classes=classes,
            lesion_classes=lesion,
            healthy_classes=tuple(sorted(set(range(len(classes))) - set(lesion))),
            channels=images.shape[1],
            mask_channels=facts["mask_channels"],
            size=(images.shape[2], images.shape[3]),
            bits=8 * images.dtype.itemsize,
            folder=folder,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Every row's name."""
        return tuple(row.name for row in self.rows)

    def subset(
        self,
        indices: Sequence[int],
        *,
        labels: Container[int] | None = None,
        masks: bool = True,
        implied: bool = True,
    ) -> Subset:
        """Some rows, with their truth or without; what is withheld cannot be got from it.

        Args:
            labels: the rows whose class may be known; None = all.
            implied: a row whose class is known and healthy has an empty mask, also where the
                dataset holds none for it or where masks are withheld.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        known = _labels(self.rows, chosen, labels)
        free = np.isin(known, self.healthy_classes) & implied
        regions = any(row.has_region for row in self.rows)
        return Subset(
            indices=tuple(int(i) for i in chosen),
            names=tuple(self.rows[i].name for i in chosen),
            patients=tuple(self.rows[i].patient for i in chosen),
            _images=_map(self.folder, "images"),
            _labels=known,
            _masks=_Planes.of(self, "masks", chosen, known=masks).emptied(free),
            _regions=_Planes.of(self, "regions", chosen, known=True) if regions else None,
        )


@dataclass(frozen=True, eq=False)
class Subset:
    """Rows of a store that are read together; positions count from 0 within it.

    Attributes:
        indices: the rows' indices in the store.
        names: the rows' names.
        patients: the rows' patients, None where unknown.
    """

    indices: tuple[int, ...]
    names: tuple[str, ...]
    patients: tuple[str | None, ...]
    _images: NDArray[Any]
    _labels: Slots
    _masks: _Planes
    _regions: _Planes | None

    def __len__(self) -> int:
        return len(self.indices)

    def batch(
        self, positions: Sequence[int] | NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> Batch:
        """The rows at these positions, in this order, on a device."""
        at = np.asarray(positions, dtype=np.int64)
        rows = np.asarray(self.indices, dtype=np.int64)[at]
        image = torch.from_numpy(taken(self._images, rows)).to(device)
        top = 255 if self._images.dtype == np.uint8 else 65535
        label = torch.from_numpy(self._labels[at]).to(device)
        mask, has_mask = self._masks.take(at, absent=0, device=device)
        return Batch(
            image=image.to(torch.float32).div_(top),
            label=label.clamp(min=0),
            mask=mask,
            has_label=label >= 0,
            has_mask=has_mask,
            region=None if self._regions is None else self._regions.take(at, 1, device)[0],
        )

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """All rows in their order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(range(start, min(start + size, len(self))), device)


@dataclass(frozen=True, eq=False)
class _Planes:
    """Masks or regions, by their slot in the array; or NONE, or EMPTY without being kept."""

    slots: Slots
    shape: tuple[int, ...]
    array: NDArray[np.uint8] | None

    @classmethod
    def of(cls, store: Store, what: str, chosen: Slots, *, known: bool) -> _Planes:
        has = np.array([getattr(row, f"has_{what[:-1]}") for row in store.rows], dtype=bool)
        slots = np.where(has, np.cumsum(has) - 1, NONE)[chosen]
        channels = store.mask_channels if what == "masks" else 1
        shape = (channels, *store.size)
        if not known or not (slots >= 0).any():
            return cls(np.full(len(chosen), NONE, dtype=np.int64), shape, None)
        return cls(slots, shape, _map(store.folder, what))

    def emptied(self, free: NDArray[np.bool_]) -> _Planes:
        """With empty planes for those of the rows in `free` that have none."""
        return replace(self, slots=np.where((self.slots == NONE) & free, EMPTY, self.slots))

    def take(self, at: Slots, absent: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
        slots = self.slots[at]
        kept = slots >= 0
        planes = np.full((len(at), *self.shape), absent, dtype=np.uint8)
        if self.array is not None and kept.any():
            planes[kept] = taken(self.array, slots[kept])
        moved = torch.from_numpy(planes).to(device)
        return moved.to(torch.float32), torch.from_numpy(slots != NONE).to(device)


def _labels(rows: Sequence[Row], chosen: Slots, known: Container[int] | None) -> Slots:
    labels = (rows[i].label if known is None or i in known else None for i in chosen.tolist())
    return np.array([-1 if label is None else label for label in labels], dtype=np.int64)


def _map(folder: Path, what: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(folder / f"{what}.npy", mmap_mode="r", allow_pickle=False)
    return array

"""A plugin's dataset on its way in: what goes wrong in it is told by its name and the row's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np

from pseudolabel_kit.interfaces import Dataset, Row, Sample, Split
from pseudolabel_kit.plugin.blame import RefusedError, blamed


@dataclass(frozen=True, kw_only=True)
class Foreign(Dataset):
    """The same dataset; what it raises or gives wrongly is a `FaultError` in one line."""

    dataset: Dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        with blamed(self.dataset, "classes"):
            return _names(self.dataset.classes)

    @property
    def lesion_classes(self) -> tuple[int, ...]:
        """Indices into the classes."""
        with blamed(self.dataset, "lesion_classes"):
            found, count = tuple(self.dataset.lesion_classes), len(self.classes)
            if not all(isinstance(each, int) and 0 <= each < count for each in found):
                raise RefusedError(f"{found}: expected indices into {count} classes")
            return found

    def rows(self) -> Sequence[Row]:
        """Every row."""
        with blamed(self.dataset, "rows"):
            rows, count = list(self.dataset.rows()), len(self.classes)
            for index, row in enumerate(rows):
                if problem := _problem(row, count):
                    raise RefusedError(f"row {index}{problem}")
            return rows

    def read(self, index: int) -> Sample:
        """The pixels of a row."""
        with self._reading(index):
            sample: object = self.dataset.read(index)
            if not isinstance(sample, Sample):
                raise RefusedError(f"a {type(sample).__name__}: expected a Sample")
            for name, plane in vars(sample).items():
                if not isinstance(plane, np.ndarray) and (plane is not None or name == "image"):
                    raise RefusedError(f"{name} as a {type(plane).__name__}: expected an array")
            return sample

    def fingerprint(self) -> str:
        """Changes whenever the content may have."""
        with blamed(self.dataset, "fingerprint"):
            found: object = self.dataset.fingerprint()
            if not isinstance(found, str):
                raise RefusedError(f"a {type(found).__name__}: expected a text")
            return found

    @contextmanager
    def _reading(self, index: int) -> Iterator[None]:
        with blamed(self.dataset, f"read of row {index} ('{self._row_names[index]}')"):
            yield

    @cached_property
    def _row_names(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows())


def _names(found: object) -> tuple[str, ...]:
    texts = isinstance(found, tuple | list) and all(isinstance(name, str) for name in found)
    if not texts or not found:
        raise RefusedError(f"{found!r}: expected a tuple of names")
    assert isinstance(found, tuple | list)
    return tuple(found)


def _problem(row: object, classes: int) -> str | None:
    """What of a row is not what it should be."""
    if not isinstance(row, Row):
        return f": a {type(row).__name__}, expected a Row"
    if row.label is not None and not 0 <= row.label < classes:
        return f" ('{row.name}') with label {row.label}: expected an index into {classes} classes"
    if row.split is not None and row.split not in get_args(Split):
        expected = ", ".join(get_args(Split))
        return f" ('{row.name}') with split {row.split!r}: expected one of {expected}"
    return None

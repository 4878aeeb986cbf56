"""A plugin's dataset on its way in: what goes wrong in it is told by its name and the row's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pseudolabel_kit.data.unfit import unfit_rows, unfit_sample
from pseudolabel_kit.interfaces import Dataset, Row, Sample
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
            rows = list(self.dataset.rows())
            if problem := unfit_rows(rows, len(self.classes)):
                raise RefusedError(problem)
            return rows

    def read(self, index: int) -> Sample:
        """The pixels of a row."""
        row = self._rows[index]
        with blamed(self.dataset, f"read of row {index} ('{row.name}')"):
            sample = self.dataset.read(index)
            if problem := unfit_sample(row, sample):
                raise RefusedError(problem)
            return sample

    def fingerprint(self) -> str:
        """Changes whenever the content may have."""
        with blamed(self.dataset, "fingerprint"):
            found: object = self.dataset.fingerprint()
            if not isinstance(found, str):
                raise RefusedError(f"a {type(found).__name__}: expected a text")
            return found

    @cached_property
    def _rows(self) -> Sequence[Row]:
        return self.rows()


def _names(found: object) -> tuple[str, ...]:
    texts = isinstance(found, tuple | list) and all(isinstance(name, str) for name in found)
    if not texts or not found:
        raise RefusedError(f"{found!r}: expected a tuple of names")
    assert isinstance(found, tuple | list)
    return tuple(found)

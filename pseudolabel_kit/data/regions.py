"""A dataset whose regions are what is learnt to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pseudolabel_kit.interfaces import Dataset, Row, Sample


@dataclass(frozen=True, kw_only=True)
class Regions(Dataset):
    """The same images; their masks are their regions, and nothing is known of lesions.

    A class says nothing of a region, so that there is one class, "any", and no label: a row
    without a region is a row without a mask, whatever its class.
    """

    dataset: Dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """One, which no row names."""
        return ("any",)

    @property
    def lesion_classes(self) -> tuple[int, ...]:
        """That one: any image may show a region."""
        return (0,)

    def rows(self) -> Sequence[Row]:
        """Every row, without its class."""
        return [
            replace(row, label=None, has_mask=row.has_region, has_region=False)
            for row in self.dataset.rows()
        ]

    def read(self, index: int) -> Sample:
        """The image of a row, with its region as its mask."""
        sample = self.dataset.read(index)
        return Sample(image=sample.image, mask=sample.region)

    def fingerprint(self) -> str:
        """The dataset's own, as regions."""
        return f"regions:{self.dataset.fingerprint()}"

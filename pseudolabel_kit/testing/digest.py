"""What a dataset says, as hashes by what they are of.

Run by its path with a reference, it prints them as JSON: another process that imports no torch.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256

import numpy as np

from pseudolabel_kit.interfaces import Sample
from pseudolabel_kit.plugin.build import build

FINGERPRINT = "the fingerprint"
READ = 12  # rows whose pixels are looked at, spread over the dataset


def digest(reference: str) -> dict[str, str]:
    """Hashes of a dataset's fingerprint, of its rows and of the pixels of some."""
    dataset = build("dataset", reference)
    rows = list(dataset.rows())
    found = {FINGERPRINT: dataset.fingerprint(), "the order or content of rows": repr(rows)}
    digests = {name: sha256(text.encode()).hexdigest() for name, text in found.items()}
    for index in chosen(len(rows)):
        digests[f"the pixels of row '{rows[index].name}'"] = pixels(dataset.read(index))
    return digests


def pixels(sample: Sample) -> str:
    """A hash of what was read of one row."""
    found = sha256()
    for each in (sample.image, sample.mask, sample.region):
        found.update(b"" if each is None else np.ascontiguousarray(each).tobytes())
    return found.hexdigest()


def chosen(count: int) -> list[int]:
    """Indices spread over a dataset."""
    return sorted({round(n) for n in np.linspace(0, count - 1, min(READ, count))})


if __name__ == "__main__":
    print(json.dumps(digest(sys.argv[1])))

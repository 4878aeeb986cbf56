"""What a dataset says, as hashes by what they are of.

Run by its path with a reference, it prints them as JSON: another process that imports no torch.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256

import numpy as np

from pseudolabel_kit.plugin.build import build

READ = 12  # rows whose pixels are looked at, spread over the dataset


def digest(reference: str) -> dict[str, str]:
    """Hashes of a dataset's fingerprint, of its rows and of the pixels of some."""
    dataset = build("dataset", reference)
    rows = list(dataset.rows())
    found = {"the fingerprint": dataset.fingerprint(), "the order or content of rows": repr(rows)}
    digests = {name: sha256(text.encode()).hexdigest() for name, text in found.items()}
    for index in chosen(len(rows)):
        sample, pixels = dataset.read(index), sha256()
        for each in (sample.image, sample.mask, sample.region):
            pixels.update(b"" if each is None else np.ascontiguousarray(each).tobytes())
        digests[f"the pixels of row '{rows[index].name}'"] = pixels.hexdigest()
    return digests


def chosen(count: int) -> list[int]:
    """Indices spread over a dataset."""
    return sorted({round(n) for n in np.linspace(0, count - 1, min(READ, count))})


if __name__ == "__main__":
    print(json.dumps(digest(sys.argv[1])))

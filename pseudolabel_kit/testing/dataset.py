"""What a dataset owes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import ClassVar, get_args

import numpy as np

from pseudolabel_kit.interfaces import Dataset, Row, Sample, Split
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.testing.conformance import last_line
from pseudolabel_kit.testing.digest import FINGERPRINT, chosen, digest, pixels
from pseudolabel_kit.testing.fault import ConformanceError, require, sound, where
from pseudolabel_kit.testing.options import OptionConformance

GENERATOR = "np.random.default_rng((seed, index))"
MEND = "mend what it reads, or leave the row out of `rows`"
THREADS = 4


class DatasetConformance(OptionConformance):
    """`rows`, `read` and `fingerprint`: the same answers every time, in any process.

    >>> class TestPhantom(DatasetConformance):
    ...     reference = "phantom:size=32"
    >>> TestPhantom().test_no_patient_is_on_two_sides()
    """

    kind: ClassVar[Kind] = "dataset"

    def part(self) -> Dataset:
        """The dataset, newly opened by its reference."""
        return build("dataset", self.reference)

    def test_rows_stand_in_one_order(self) -> None:
        """`rows` gives the same rows in the same order, each with a name of its own."""
        with sound("rows", self.part()):
            one, other = list(self.part().rows()), list(self.part().rows())
        require(bool(one), "there are no rows", "say in `rows` what there is, or refuse by name")
        require(
            one == other,
            "rows come in another order, or with other content, the second time",
            "draw nothing at random there, and sort what the file system lists",
        )
        names = Counter(row.name for row in one)
        require(
            len(names) == len(one),
            f"two rows have one name, {names.most_common(1)[0][0]!r}",
            "name each row after its file within the dataset: outputs are named so",
        )

    def test_labels_and_splits_are_known(self) -> None:
        """Labels index the classes, splits are those of the contract, lesion classes exist."""
        dataset = self.part()
        classes, lesions = dataset.classes, dataset.lesion_classes
        require(
            len(set(classes)) == len(classes) > 1,
            f"classes are {classes}",
            "give two or more names, each once",
        )
        require(
            all(0 <= each < len(classes) for each in lesions),
            f"lesion_classes are {lesions} of {len(classes)} classes",
            "give indices into `classes`",
        )
        for row in dataset.rows():
            require(
                row.label is None or 0 <= row.label < len(classes),
                f"row '{row.name}' has label {row.label} of {len(classes)} classes",
                "give an index into `classes`, or None",
            )
            require(
                row.split is None or row.split in get_args(Split),
                f"row '{row.name}' has split {row.split!r}",
                f"give one of {', '.join(get_args(Split))}, or None",
            )

    def test_no_patient_is_on_two_sides(self) -> None:
        """A patient's rows are on one side of val, test and training."""
        sides: dict[str, set[str]] = defaultdict(set)
        for row in self.part().rows():
            if row.patient is not None and row.split is not None:
                sides[row.patient].add(row.split.replace("unlabelled", "labelled"))
        torn = sorted(patient for patient, found in sides.items() if len(found) > 1)
        require(
            not torn,
            f"{len(torn)} patients are on two sides of the split: {', '.join(map(repr, torn)):.60}",
            "split by patient: models recognise a patient, and measures flatter",
        )

    def test_pixels_are_what_the_rows_promise(self) -> None:
        """Images are float32 in [0, 1]; masks and regions are bool, and there where promised."""
        dataset = self.part()
        rows = list(dataset.rows())
        for index in chosen(len(rows)):
            with where("", MEND), sound(f"read({index})", dataset):
                _sane(rows[index], dataset.read(index))

    def test_it_says_the_same_twice_and_elsewhere(self) -> None:
        """Rows, pixels and fingerprint are the same the second time, and in another process."""
        with sound("reading", self.part()):
            here, again = digest(self.reference), digest(self.reference)
        for name, found in {**here, **again}.items():
            require(
                here.get(name) == again.get(name) == found,
                f"{name} is another the second time",
                f"draw by the options and the row alone: {GENERATOR}",
            )
        there = _elsewhere(self.reference)
        for name, found in {**here, **there}.items():
            require(
                here.get(name) == there.get(name) == found,
                f"{name} is another in another process",
                "sort sets and what the file system lists; avoid hash() and id(), which differ "
                "between processes: hashlib.sha256 does not",
            )

    def test_rows_are_read_in_any_order(self) -> None:
        """A row's pixels are the same after any other, twice, and in a thread of their own."""
        dataset = self.part()
        names = [row.name for row in dataset.rows()]
        order = chosen(len(names))

        def read(index: int) -> str:
            return pixels(dataset.read(index))

        with sound("reading in another order", dataset), ThreadPoolExecutor(THREADS) as pool:
            first = {index: read(index) for index in order}
            later = [(index, read(index)) for index in reversed(order)]
            for index, found in (*later, *zip(order, pool.map(read, order), strict=True)):
                require(
                    found == first[index],
                    f"the pixels of row '{names[index]}' depend on what is read before or beside",
                    f"give every row a generator and a file handle of its own: {GENERATOR}",
                )

    def test_its_fingerprint_knows_its_options(self) -> None:
        """Where another value of an option gives other rows or pixels, the fingerprint differs."""
        with sound("reading", self.part()):
            known = digest(self.reference)
        for option, reference in self._variants():
            try:
                other = digest(reference)
            except Exception:  # a value of ours that the data may not have
                continue
            changed = [name for name in {**known, **other} if known.get(name) != other.get(name)]
            require(
                not changed or FINGERPRINT in changed,
                f"'{reference}' changes {next(iter(changed), '')}, and the fingerprint stays",
                f"let the fingerprint tell option '{option}': packed data are found by it",
            )


def _elsewhere(reference: str) -> dict[str, str]:
    """What another process, with other hashes of strings, says of the dataset."""
    done = subprocess.run(
        [sys.executable, "-P", str(files(__package__) / "digest.py"), reference],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
    )
    require(
        done.returncode == 0,
        f"another process cannot read the dataset: {last_line(done.stderr)}",
        "open files by the options alone: nothing of this process is there",
    )
    told: dict[str, str] = json.loads(last_line(done.stdout))
    return told


def _sane(row: Row, sample: object) -> None:
    if not isinstance(sample, Sample) or not isinstance(sample.image, np.ndarray):
        raise ConformanceError(
            f"row '{row.name}': read gave {sample!r:.60}",
            "return Sample(image=...) of NumPy arrays",
        )
    image = sample.image
    require(
        image.dtype == np.float32 and image.ndim == 3,
        f"row '{row.name}': the image is {image.dtype} {image.shape}",
        "give float32 (C,H,W)",
    )
    require(
        bool(np.isfinite(image).all()) and image.min() >= 0 and image.max() <= 1,
        f"row '{row.name}': pixels lie in [{image.min():.3g}, {image.max():.3g}]",
        "scale images to [0, 1] by what the format can hold, not by each image's own maximum",
    )
    promised = (("mask", row.has_mask, sample.mask), ("region", row.has_region, sample.region))
    for name, wanted, plane in promised:
        require(
            wanted == (plane is not None),
            f"row '{row.name}': has_{name} is {wanted}, yet read gives {'no' * wanted} {name}",
            f"let has_{name} say whether read gives one",
        )
        if plane is not None:
            require(
                plane.dtype == np.bool_ and plane.shape[1:] == image.shape[1:],
                f"row '{row.name}': the {name} is {plane.dtype} {plane.shape}",
                "give bool (K,H,W) of the image's height and width",
            )

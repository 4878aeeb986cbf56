"""Datasets with one fault each, and their innocent twin, before the kit.

This module is imported by another process, too: it imports no torch.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pytest
from conftest import Site
from planted_support import Offender, Offenders, faults_of

from pseudolabel_kit.interfaces import Dataset, Row, Sample

offends = Offenders("dataset")
NAMES = tuple(f"scan-{number:02d}" for number in range(16))
ANSWERS = "pixels_are_what_the_rows_promise"
AGAIN = "it_says_the_same_twice_and_elsewhere"
KNOWN = "labels_and_splits_are_known"
ORDERLY = "rows_are_read_in_any_order"
KNOWS = "its_fingerprint_knows_its_options"
READ = frozenset({ORDERLY})
READS = READ | {AGAIN, KNOWS}
ORDER = "rows_stand_in_one_order"


@dataclass(frozen=True, kw_only=True)
class Sound(Dataset):
    """Sixteen images of noise.

    Attributes:
        seed: of the noise.
    """

    seed: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        return ("sound", "ill")

    @property
    def lesion_classes(self) -> tuple[int, ...]:
        return (1,)

    def rows(self) -> Sequence[Row]:
        return [self.row(name, number) for number, name in enumerate(NAMES)]

    def row(self, name: str, number: int) -> Row:
        return Row(
            name=name,
            label=number % 2,
            patient=f"patient-{number // 2}",
            split=("labelled", "unlabelled", "val", "test")[number // 2 % 4],
            has_mask=True,
        )

    def read(self, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, index))
        image = rng.random((1, 8, 9), dtype=np.float32)
        return self.spoil(Sample(image=image, mask=image > 0.5))

    def spoil(self, sample: Sample) -> Sample:
        return sample

    def fingerprint(self) -> str:
        return f"noise {self.seed}"


def test_the_innocent_pass(site: Site) -> None:
    assert faults_of("dataset", Sound, site) == {}


# ── rows ────────────────────────────────────────────────────────────────────────────


# the pixels of the chosen rows follow the order, too
@offends(AGAIN, "order or content of rows is another in another process", "sort sets")
class OrderOfASet(Sound):
    def rows(self) -> Sequence[Row]:
        return [self.row(name, NAMES.index(name)) for name in set(NAMES)]


@offends(ORDER, "the second time", "nothing at random", frozenset({AGAIN}))
class OrderAtRandom(Sound):
    def rows(self) -> Sequence[Row]:
        return [*super().rows()[:-1], self.row(uuid.uuid4().hex, 15)]


@offends(ORDER, "two rows have one name, 'scan'", "after its file")
class OneName(Sound):
    def row(self, name: str, number: int) -> Row:
        return replace(super().row(name, number), name=name[:4] if number < 3 else name)


@offends(KNOWN, "row 'scan-01' has label 2 of 2 classes", "index into `classes`")
class LabelsFromOne(Sound):
    def row(self, name: str, number: int) -> Row:
        return replace(super().row(name, number), label=number % 2 + 1)


@offends(KNOWN, "row 'scan-00' has split 'train'", "labelled, unlabelled, val, test")
class UnknownSplit(Sound):
    def row(self, name: str, number: int) -> Row:
        row = super().row(name, number)
        return replace(row, split="train") if row.split == "labelled" else row  # type: ignore[arg-type]


@offends("no_patient_is_on_two_sides", "8 patients are on two sides.*'patient-0'", "by patient")
class PatientOnTwoSides(Sound):
    def row(self, name: str, number: int) -> Row:
        return replace(super().row(name, number), split=("labelled", "test")[number % 2])


# ── pixels ──────────────────────────────────────────────────────────────────────────


@offends(ANSWERS, r"'scan-00': the image is uint8 \(1, 8, 9\)", r"float32 \(C,H,W\)")
class Bytes(Sound):
    def spoil(self, sample: Sample) -> Sample:
        return replace(sample, image=(255 * sample.image).astype(np.uint8))


@offends(ANSWERS, r"pixels lie in \[.*, 25\d\]", r"to \[0, 1\] by what the format can hold")
class NotScaled(Sound):
    def spoil(self, sample: Sample) -> Sample:
        return replace(sample, image=255 * sample.image)


@offends(ANSWERS, r"the image is float32 \(8, 9\)", r"\(C,H,W\)")
class NoChannel(Sound):
    def spoil(self, sample: Sample) -> Sample:
        return replace(sample, image=sample.image[0])


@offends(ANSWERS, "'scan-00': has_mask is True, yet read gives no mask", "has_mask say whether")
class NoMask(Sound):
    def spoil(self, sample: Sample) -> Sample:
        return replace(sample, mask=None)


@offends(ANSWERS, r"the mask is float32 \(1, 8, 9\)", "give bool")
class FloatMask(Sound):
    def spoil(self, sample: Sample) -> Sample:
        return replace(sample, mask=sample.image)


@offends(ANSWERS, r"read gave array\(", r"return Sample\(image=", READS)
class BareArray(Sound):
    def spoil(self, sample: Sample) -> Any:
        return sample.image


@offends(ANSWERS, r"read\(15\) raised FileNotFoundError", "mend what it reads", READS)
class MissingFile(Sound):
    def read(self, index: int) -> Sample:
        if index == len(NAMES) - 1:
            raise FileNotFoundError("scan-15.png")
        return super().read(index)


# ── again, and elsewhere ────────────────────────────────────────────────────────────


@offends(AGAIN, "the pixels of row 'scan-00' is another the second time", "by the options", READ)
class ReadsAtRandom(Sound):
    def spoil(self, sample: Sample) -> Sample:
        noise = np.random.default_rng().random(sample.image.shape, dtype=np.float32)
        return replace(sample, image=(sample.image + noise) / 2)


@offends(AGAIN, "the fingerprint is another in another process", r"avoid hash\(\)")
class HashedFingerprint(Sound):
    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {hash(NAMES)}"


@offends(AGAIN, "another process cannot read the dataset: .*'registered'", "by the options")
class NeedsThisProcess(Sound):
    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {globals()['registered']}"


@offends(AGAIN, "the pixels of row 'scan-00' is another the second time", "by the options", READ)
class MasksAtRandom(Sound):
    def spoil(self, sample: Sample) -> Sample:
        noise = np.random.default_rng().random(sample.image.shape)
        return replace(sample, mask=noise > 0.5)


@offends(ORDERLY, "the pixels of row .* depend on what is read", r"default_rng\(\(seed, index\)\)")
class ReadsFromOneStream(Sound):
    @cached_property
    def stream(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def read(self, index: int) -> Sample:
        image = self.stream.random((1, 8, 9), dtype=np.float32)
        return Sample(image=image, mask=image > 0.5)


@offends(ORDERLY, "the pixels of row .* depend on what is read before or beside", "of its own")
class SharesABuffer(Sound):
    @cached_property
    def buffer(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.zeros((1, 8, 9), dtype=np.float32)

    def read(self, index: int) -> Sample:
        self.buffer[:] = super().read(index).image
        time.sleep(0.01)
        image = self.buffer.copy()
        return Sample(image=image, mask=image > 0.5)


@offends(KNOWS, "'planted:seed=1' changes the pixels of row 'scan-00'.* stays", "option 'seed'")
class FingerprintOfNothing(Sound):
    def fingerprint(self) -> str:
        return "noise"


@offends(KNOWS, "'planted:mirrored=true' changes the pixels", "option 'mirrored'")
@dataclass(frozen=True, kw_only=True)
class ForgetsASwitch(Sound):
    """Noise, mirrored or not.

    Attributes:
        mirrored: left and right are exchanged.
        side: a word.
        power: of the noise.
    """

    mirrored: bool = False
    side: Literal["left", "right"] = "left"
    power: float = 1.0

    def read(self, index: int) -> Sample:
        image = super().read(index).image ** np.float32(self.power)
        image = np.ascontiguousarray(image[..., ::-1]) if self.mirrored else image
        image = image if self.side == "left" else image / 2
        return Sample(image=image, mask=image > 0.5)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self.side} {self.power}"


@offends(KNOWS, "'planted:side=right' changes the pixels", "option 'side'")
class ForgetsAWord(ForgetsASwitch):
    def fingerprint(self) -> str:
        return f"{Sound.fingerprint(self)} {self.mirrored} {self.power}"


@offends(KNOWS, "'planted:power=2.0' changes the pixels", "option 'power'")
class ForgetsANumber(ForgetsASwitch):
    def fingerprint(self) -> str:
        return f"{Sound.fingerprint(self)} {self.mirrored} {self.side}"


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(
    offender: Offender, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "registered", True)
    offends.assert_caught(offender, site)

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data import hashing
from pseudolabel_kit.data.hashing import REACH, VIEWS, Pair, digest, equal_pairs, hashed, near_pairs
from pseudolabel_kit.data.source import open_dataset

Plane = NDArray[np.float32]


@pytest.fixture(scope="module")
def scans() -> list[Plane]:
    """A slice of each of forty patients, (H,W) in [0, 1]."""
    dataset = open_dataset(DataConfig(source="phantom:size=96:patients=40:slices=1"))
    return [dataset.read(i).image[0] for i in range(40)]


def hashes(*planes: Plane) -> hashing.Hashes:
    return np.concatenate([hashed(plane[None, None]) for plane in planes])


def pairs(*planes: Plane, owners: list[int] | None = None, kinds: str = "") -> list[Pair]:
    count = len(planes)
    return near_pairs(
        hashes(*planes),
        owners=np.array(owners or range(count)),
        kinds=np.array([ord(kind) for kind in kinds or "a" * count]),
    )


def resized(plane: Plane, side: int) -> Plane:
    return np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BILINEAR))


def compressed(plane: Plane, quality: int = 50) -> Plane:
    buffer = io.BytesIO()
    Image.fromarray((plane * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), dtype=np.float32) / 255


CHANGES = {
    "itself": lambda plane: plane,
    "brighter": lambda plane: np.clip(plane * 1.08 + 0.04, 0, 1),
    "gamma": lambda plane: plane**0.85,
    "compressed": compressed,
    "half the size": lambda plane: resized(plane, 48),
    "larger": lambda plane: resized(plane, 150),
    "noisy": lambda plane: plane + np.random.default_rng(0).normal(0, 0.02, plane.shape),
    "several": lambda plane: compressed(np.clip(resized(plane, 64) + 0.03, 0, 1), 60),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change: str, scans: list[Plane]) -> None:
    for i in range(0, 40, 5):
        copy = CHANGES[change](scans[i]).astype(np.float32)
        (found,) = pairs(*scans, copy)
        assert found[:2] == (i, 40)
        assert found.view == 0


@pytest.mark.parametrize("view", range(4))
def test_a_flipped_copy_is_found_and_told(view: int, scans: list[Plane]) -> None:
    turned = [scans[3], scans[3][:, ::-1], scans[3][::-1], scans[3][::-1, ::-1]][view]
    (found,) = pairs(*scans, compressed(np.ascontiguousarray(turned)))
    assert (found.first, found.second, VIEWS[found.view]) == (3, 40, VIEWS[view])


def test_no_two_patients_are_alike(scans: list[Plane]) -> None:
    assert pairs(*scans) == []


def test_images_of_one_grey_are_like_no_other(scans: list[Plane]) -> None:
    flat = np.full((96, 96), 0.3, dtype=np.float32)
    assert pairs(*scans, flat, flat, flat / 2) == []


def test_one_owner_s_images_are_not_compared(scans: list[Plane]) -> None:
    one, other = scans[0], scans[1]
    assert pairs(one, one, other, one, owners=[7, 7, 8, 9]) == [Pair(0, 3)]


def test_another_kind_goes_before_a_nearer_one_of_its_own(scans: list[Plane]) -> None:
    one, changed = scans[0], compressed(scans[0], 20)
    found = pairs(changed, one, one, kinds="aab")
    assert [pair[:2] for pair in found] == [(0, 1), (1, 2)]
    found = pairs(changed, one, one, kinds="abb")
    assert [pair[:2] for pair in found] == [(0, 1), (0, 2)]


def test_colours_are_hashed_by_their_grey(scans: list[Plane]) -> None:
    colours = np.repeat(scans[0][None, None], 3, axis=1)
    assert (hashed(colours) == hashes(scans[0])).all()


@given(st.integers(1, 40), st.integers(0, 99))
def test_blocks_find_what_a_table_of_all_pairs_finds(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seeds = rng.choice(np.array([-1, 1], dtype=np.int8), (4, 4, 64))
    codes = seeds[rng.integers(0, 4, count)]
    codes[rng.random(codes.shape) < 0.03] *= -1
    codes[:, 0, 0] = 0
    owners, kinds = rng.integers(0, 6, count), rng.integers(0, 2, count)
    expected = {}
    for j in range(count):
        near = [
            (kinds[i] == kinds[j], bits, i)
            for i in range(j)
            if owners[i] != owners[j] and (bits := int((codes[i] != codes[j]).sum())) <= REACH
        ]
        if near:
            expected[j] = min(near)[1:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_LATER", 3)
        patch.setattr(hashing, "_EARLIER", 5)
        told: list[tuple[int, int]] = []
        found = near_pairs(
            codes, owners=owners, kinds=kinds, progress=lambda *done: told.append(done)
        )
    assert {pair.second: (pair.bits, pair.first) for pair in found} == expected
    assert told[-1] == (count, count)


def test_equal_pixels_are_paired_with_the_first() -> None:
    one, other = (np.random.default_rng(i).random((1, 8, 8), dtype=np.float32) for i in (0, 1))
    digests = [digest(each) for each in (one, other, one, one.copy(), other)]
    assert list(equal_pairs(digests)) == [Pair(0, 2), Pair(0, 3), Pair(1, 4)]

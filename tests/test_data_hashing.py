from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data import hashing
from pseudolabel_kit.data.hashing import REACH, VIEWS, alike, digest, equal, hashed, likeness
from pseudolabel_kit.data.source import open_dataset

Plane = NDArray[np.float32]


@pytest.fixture(scope="module")
def scans() -> list[Plane]:
    """A slice of each of forty patients, (H,W) in [0, 1]."""
    dataset = open_dataset(DataConfig(source="phantom:size=96:patients=40:slices=1"))
    return [dataset.read(i).image[0] for i in range(40)]


def hashes(*planes: Plane) -> hashing.Hashes:
    return np.concatenate([hashed(plane[None, None]) for plane in planes])


def groups(*planes: Plane, owners: str = "") -> list[hashing.Group]:
    digests = [digest(plane[None]) for plane in planes]
    return alike(hashes(*planes), digests=digests, owners=owners or range(len(planes)))


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
        assert groups(*scans, copy) == [(i, 40)]
        assert likeness(hashes(*scans, copy), (i, 40))[1] == {0}


@pytest.mark.parametrize("view", range(4))
def test_a_flipped_copy_is_found_and_told(view: int, scans: list[Plane]) -> None:
    turned = [scans[3], scans[3][:, ::-1], scans[3][::-1], scans[3][::-1, ::-1]][view]
    copy = compressed(np.ascontiguousarray(turned))
    assert groups(*scans, copy) == [(3, 40)]
    bits, views = likeness(hashes(*scans, copy), (3, 40))
    assert bits <= REACH
    assert {VIEWS[each] for each in views} == {VIEWS[view]}


def test_no_two_patients_are_alike(scans: list[Plane]) -> None:
    assert groups(*scans) == []


def test_images_of_one_grey_are_like_no_other(scans: list[Plane]) -> None:
    flat = np.full((96, 96), 0.3, dtype=np.float32)
    assert groups(*scans, flat, flat, flat / 2) == []


def test_one_owner_s_images_are_compared_with_others_alone(scans: list[Plane]) -> None:
    one, near, other = scans[0], compressed(scans[0], 20), scans[1]
    assert groups(one, near, other, owners="aab") == []
    assert groups(one, one, other, owners="aab") == [(0, 1)]
    assert groups(one, near, other, one, owners="aabc") == [(0, 1, 3)]


def test_a_group_holds_the_copies_of_copies(scans: list[Plane]) -> None:
    near = [compressed(scans[0], quality) for quality in (50, 30)]
    mirrored = np.ascontiguousarray(near[1][:, ::-1])
    planes = [scans[0], scans[1], near[0], scans[2], mirrored, scans[1], scans[0]]
    assert groups(*planes) == [(0, 2, 4, 6), (1, 5)]
    bits, views = likeness(hashes(*planes), (0, 2, 4, 6))
    assert 0 < bits <= REACH
    assert {VIEWS[view] for view in views} == {"as it is", "mirrored"}
    assert likeness(hashes(*planes), (1, 5)) == (0, {0})


def test_colours_are_hashed_by_their_grey(scans: list[Plane]) -> None:
    colours = np.repeat(scans[0][None, None], 3, axis=1)
    assert (hashed(colours) == hashes(scans[0])).all()


@given(st.integers(1, 40), st.integers(0, 99))
def test_blocks_find_what_a_table_of_all_pairs_finds(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seeds = rng.choice(np.array([-1, 1], dtype=np.int8), (4, 4, 64))
    codes = seeds[rng.integers(0, 4, count)]
    codes[rng.random(codes.shape) < 0.05] *= -1
    codes[:, 0, 0] = 0
    owners = rng.integers(0, 6, count).tolist()
    digests = [bytes([digit]) for digit in rng.integers(0, 2 * count, count).tolist()]
    group = list(range(count))
    for i, j in itertools.combinations(range(count), 2):
        near = owners[i] != owners[j] and (codes[i] != codes[j]).sum() <= REACH
        if near or digests[i] == digests[j]:
            group = [group[i] if each == group[j] else each for each in group]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_LATER", 3)
        patch.setattr(hashing, "_EARLIER", 5)
        told: list[tuple[int, int]] = []
        found = alike(
            codes, digests=digests, owners=owners, progress=lambda *done: told.append(done)
        )
    members = [tuple(i for i in range(count) if group[i] == each) for each in set(group)]
    assert found == sorted(each for each in members if len(each) > 1)
    assert told[-1] == (count, count)


def test_equal_pixels_are_groups() -> None:
    one, other = (np.random.default_rng(i).random((1, 8, 8), dtype=np.float32) for i in (0, 1))
    digests = [digest(each) for each in (one, other, one, one.copy(), other, other + 1)]
    assert equal(digests) == [(0, 2, 3), (1, 4)]

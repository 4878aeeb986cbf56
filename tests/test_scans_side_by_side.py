"""Work in several processes: in order, ahead by a little, and an end that is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import SimpleITK as sitk

from pseudolabel_kit.errors import RunError
from pseudolabel_kit.scans.side_by_side import side_by_side


def own_process(number: int) -> tuple[int, int]:
    return number, os.getpid()


def ends_itself(number: int) -> int:
    if number == 3:
        os._exit(1)
    return number


def own_settings(number: int) -> tuple[bool, int]:
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return ignored, sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()


class Begun(list[int]):
    """Numbers that know how many of them were begun."""

    count = 0

    def __iter__(self) -> Iterator[int]:
        for number in super().__iter__():
            self.count += 1
            yield number


@pytest.mark.parametrize(("jobs", "items"), [(1, 20), (2, 1), (2, 0)])
def test_little_work_begins_no_process(jobs: int, items: int) -> None:
    done = list(side_by_side(own_process, range(items), jobs=jobs, doing="counts"))
    assert done == [(i, os.getpid()) for i in range(items)]


def test_results_keep_the_order_of_the_items() -> None:
    numbers, processes = zip(
        *side_by_side(own_process, range(50), jobs=2, doing="counts"), strict=True
    )
    assert numbers == tuple(range(50))
    assert os.getpid() not in processes


def test_few_results_wait_in_memory() -> None:
    """Each may be a whole volume, and whoever takes them may be slow."""
    numbers = Begun(range(50))
    for taken, _ in enumerate(side_by_side(own_process, numbers, jobs=2, doing="counts")):
        assert numbers.count == min(taken + 16, 50)


def test_a_process_leaves_ctrl_c_to_its_parent_and_cores_to_the_others() -> None:
    settings = side_by_side(own_settings, range(4), jobs=2, doing="counts")
    assert set(settings) == {(True, 1)}


def test_a_process_that_was_ended_is_told() -> None:
    with pytest.raises(RunError, match=r"a process that counts was ended .*; use fewer --jobs"):
        list(side_by_side(ends_itself, range(9), jobs=2, doing="counts"))

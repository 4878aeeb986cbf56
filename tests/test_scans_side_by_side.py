"""Work in several processes: in order, ahead by a little, and an end that is told."""

from __future__ import annotations

import os

import pytest

from pseudolabel_kit.errors import RunError
from pseudolabel_kit.scans.side_by_side import side_by_side


def own_process(number: int) -> tuple[int, int]:
    return number, os.getpid()


def ends_itself(number: int) -> int:
    if number == 3:
        os._exit(1)
    return number


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


def test_a_process_that_was_ended_is_told() -> None:
    with pytest.raises(RunError, match=r"a process that counts was ended .*; use fewer --jobs"):
        list(side_by_side(ends_itself, range(9), jobs=2, doing="counts"))

"""What a page is made of: a study as slices, whatever it was read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.scans.study import safe_name


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One image of a study.

    Attributes:
        image: (C,h,w) in [0, 1], in its own size.
        title: what it is called beside its number; "" where its name may tell whom it is of.
        truth: (h,w) the true lesion, or None where it is not known or not asked for.
        label: the true class's name, likewise.
        oriented: whether the patient's left is known to be on its right, and the front on top.
    """

    image: NDArray[np.float32]
    title: str = ""
    truth: NDArray[np.bool_] | None = None
    label: str | None = None
    oriented: bool = False


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A study that can be read.

    Attributes:
        name: what it is called; see `apart`.
        slices: opens it, and says how many slices there are; they are read one by one, in
            their order, from the feet to the head where that is known. Either raises DataError
            where it cannot.
        stamp: changes with what is read.
        truth: whether the true lesion is shown, of some slice at least.
    """

    name: str
    slices: Callable[[], tuple[int, Iterator[Slice]]]
    stamp: str
    truth: bool = False


def apart(stacks: Iterable[Stack]) -> list[Stack]:
    """Studies whose names can be those of files: each another, and none "index".

    >>> def stack(name): return Stack(name=name, slices=lambda: (0, iter([])), stamp="")
    >>> named = map(stack, ("a b", "A/b", "index"))
    >>> [stack.name for stack in apart(named)]
    ['a-b', 'A-b-2', 'index-2']
    """
    taken, found = {"index"}, []
    for stack in stacks:
        name = chosen = safe_name(stack.name)
        number = 1
        while chosen.lower() in taken:  # file systems may tell no case
            number += 1
            chosen = f"{name}-{number}"
        taken.add(chosen.lower())
        found.append(replace(stack, name=chosen))
    return found

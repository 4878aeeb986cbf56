"""Answers side by side: whether two are one, how far they are apart, and rows among others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pseudolabel_kit.testing.witness import tensors

ROWS = 5  # unlike any number of channels, classes or features
FAINT = 0.3


def same(one: object, other: object, tolerance: float = 0.0) -> bool:
    """Whether two answers hold the same tensors, NaN where NaN is."""
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(
        a[n].shape == b[n].shape
        and torch.allclose(a[n], b[n], rtol=0, atol=tolerance, equal_nan=True)
        for n in a
    )


def apart(one: object, other: object) -> str:
    """How far two answers are apart: " (mask by up to 0.3)"."""
    a, b = tensors(one), tensors(other)
    both = [n for n in a if n in b and a[n].shape == b[n].shape]
    gaps = {n: (a[n].float() - b[n].float()).abs().max().item() for n in both if a[n].numel()}
    told = [f"{name or 'it'} by up to {gap:.2g}" for name, gap in gaps.items() if gap]
    told += [f"{name or 'it'} in one of them alone" for name in sorted(a.keys() ^ b.keys())]
    return f" ({', '.join(told)})" if told else ""


def row_of(answer: object, row: int, rows: int = ROWS) -> dict[str, Tensor]:
    """One row of every tensor of an answer that has rows, so many."""
    return {n: t[row] for n, t in tensors(answer).items() if t.ndim and len(t) == rows}


def alone(own: Any, row: int) -> Any:
    """One row of `own`, in every tensor with rows."""
    return _by_rows(lambda t: t[row : row + 1], own)


def guest(own: Any, mates: Any, row: int) -> Any:
    """One row of `own` in its place among the other rows of `mates`, in every tensor with rows."""
    return _by_rows(lambda o, m: torch.cat((m[:row], o[row : row + 1], m[row + 1 :])), own, mates)


def among(own: Any, mates: Any, loudness: float) -> Any:
    """The first row of `own`, faint, with the other rows of `mates`, in every tensor with rows."""

    def beside(own: Tensor, mates: Tensor) -> Tensor:
        if not own.is_floating_point():
            return torch.cat((own[:1], mates[1:]))
        return torch.cat((FAINT * own[:1], loudness * mates[1:]))

    return _by_rows(beside, own, mates)


def _by_rows(change: Callable[..., Tensor], own: Any, *others: Any) -> Any:
    """`own`, where every tensor with rows is changed, in view of its like in `others`."""
    if isinstance(own, Tensor):
        return change(own, *others) if own.ndim and len(own) == ROWS else own
    if isinstance(own, Mapping):
        return {k: _by_rows(change, v, *(each[k] for each in others)) for k, v in own.items()}
    if isinstance(own, tuple):
        return tuple(_by_rows(change, *each) for each in zip(own, *others, strict=True))
    if is_dataclass(own) and not isinstance(own, type):
        names = [f.name for f in fields(own)]
        given = {n: [getattr(each, n) for each in (own, *others)] for n in names}
        return replace(own, **{n: _by_rows(change, *values) for n, values in given.items()})
    return own

"""Who the phantom's patients are: their build, and where disease sits in their lungs.

Coordinates run from -1 to 1, x to the image's right and y to the patient's back. Levels run
from 0, the top of the lungs, to 1, their base.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Disease = Literal["np", "cap", "covid19"]
SIDES = (-1, 1)


class Opacity(NamedTuple):
    """A bright spot in a lung: its centre, its radius, and the grey it adds."""

    x: float
    y: float
    level: float
    radius: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What all slices of one patient share.

    Attributes:
        disease: decides how opacities are painted, and whether they are lesions.
        body: half-widths (x, y).
        lungs: half-widths (x, y) of the left and right lung where they are widest.
        heart: radius.
        exposure: gain on all grey values.
        noise: standard deviation of a pixel.
        dependent: grey that lying adds at the back of the lungs.
        vessels: seed of the vessel tree, which slices share.
        opacities: the disease, and in everybody some nodules.
        nodules: small bright spots that are no lesion.
    """

    disease: Disease
    body: tuple[float, float]
    lungs: tuple[tuple[float, float], tuple[float, float]]
    heart: float
    exposure: float
    noise: float
    dependent: float
    vessels: int
    opacities: tuple[Opacity, ...]
    nodules: tuple[Opacity, ...]


def centre(side: int, lung: tuple[float, float]) -> tuple[float, float]:
    """Where the lung on a side (-1 or 1) has its middle."""
    return side * (0.10 + lung[0]), 0.0


def draw_patient(rng: np.random.Generator, disease: Disease) -> Patient:
    """A patient with that disease."""
    body = (rng.uniform(0.90, 0.98), rng.uniform(0.72, 0.86))
    height = body[1] * rng.uniform(0.70, 0.78)
    width = body[0] * rng.uniform(0.36, 0.40)
    lungs = ((width * rng.uniform(0.88, 1.0), height), (width, height))
    return Patient(
        disease=disease,
        body=body,
        lungs=lungs,
        heart=rng.uniform(0.22, 0.30),
        exposure=rng.uniform(0.94, 1.06),
        noise=rng.uniform(0.02, 0.04),
        dependent=rng.uniform(0.0, 0.10),
        vessels=int(rng.integers(2**31)),
        opacities=_OPACITIES[disease](rng, lungs),
        nodules=tuple(_nodule(rng, lungs) for _ in range(rng.integers(0, 7))),
    )


def _healthy(rng: np.random.Generator, lungs: tuple[tuple[float, float], ...]) -> tuple[()]:
    return ()


def _pneumonia(
    rng: np.random.Generator, lungs: tuple[tuple[float, float], ...]
) -> tuple[Opacity, ...]:
    """One consolidated lobe: one side, central, dense, tall enough for most slices."""
    side = int(rng.integers(2))
    level, angle, depth = rng.uniform(0.2, 0.8), rng.uniform(-2.2, 2.2), rng.uniform(0.1, 0.55)
    height = rng.uniform(0.28, 0.48)
    opacities = []
    for _ in range(rng.integers(3, 7)):
        x, y = _place(SIDES[side], lungs[side], angle + rng.normal(0, 0.3), depth)
        near = level + rng.normal(0, 0.22)
        opacities.append(Opacity(x, y, near, rng.uniform(0.09, 0.17), height))
    return tuple(opacities)


def _covid(rng: np.random.Generator, lungs: tuple[tuple[float, float], ...]) -> tuple[Opacity, ...]:
    """Several faint patches along the border of both lungs, most of them low and at the back."""
    height = rng.uniform(0.28, 0.44)
    opacities = []
    for side, lung in zip(SIDES, lungs, strict=True):
        for _ in range(rng.integers(2, 6)):
            angle = rng.normal(0.9, 0.7)
            x, y = _place(side, lung, angle, rng.uniform(0.68, 0.92))
            level = rng.beta(2.5, 1.6)
            opacities.append(
                Opacity(x, y, level, rng.uniform(0.09, 0.18), height * rng.uniform(0.75, 1.25))
            )
    return tuple(opacities)


def _nodule(rng: np.random.Generator, lungs: tuple[tuple[float, float], ...]) -> Opacity:
    side = int(rng.integers(2))
    x, y = _place(SIDES[side], lungs[side], rng.uniform(-3.1, 3.1), rng.uniform(0.2, 0.9))
    return Opacity(x, y, rng.uniform(0, 1), rng.uniform(0.012, 0.05), rng.uniform(0.12, 0.4))


def _place(side: int, lung: tuple[float, float], angle: float, depth: float) -> tuple[float, float]:
    """A point in a lung; angle 0 points outwards, pi/2 to the back; depth 1 is the border."""
    x, y = centre(side, lung)
    return (
        x + side * lung[0] * depth * math.cos(angle),
        y + lung[1] * depth * math.sin(angle),
    )


_OPACITIES = {"np": _healthy, "cap": _pneumonia, "covid19": _covid}

"""Paints one slice of a phantom patient.

Grey values are those of a lung window: AIR around the body, LUNG within, up to BONE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.data.anatomy import SIDES, Opacity, Patient, centre
from pseudolabel_kit.data.texture import Array, axis, smooth_noise, soft_step, spots

AIR, LUNG, FAT, TISSUE, BONE = 0.14, 0.25, 0.68, 0.80, 1.0
MARKED = 0.14  # from this much added grey on, an expert would draw a lesion


class Slice(NamedTuple):
    """image (side, side) in [0, 1]; lesion and lungs (side, side) bool."""

    image: Array
    lesion: NDArray[np.bool_]
    lungs: NDArray[np.bool_]


def paint(patient: Patient, level: float, side: int, rng: np.random.Generator) -> Slice:
    """The slice at a level in [0, 1]; `rng` draws only what differs between slices."""
    canvas = _Canvas(patient, level, side, rng)
    lungs = canvas.lungs()
    opacity = canvas.opacities()
    air = LUNG + canvas.parenchyma() + opacity
    image = canvas.body() * (1 - lungs) + np.minimum(air, 0.95 * TISSUE + 0.03) * lungs
    image = image * patient.exposure * (1 + 0.03 * smooth_noise(rng, side, 2))
    image = image + patient.noise * _grain(rng, side)
    inside = lungs > 0.5
    lesion = inside & (opacity > MARKED) & (patient.disease == "covid19")
    return Slice(np.clip(image, 0, 1), lesion, inside)


@dataclass(frozen=True, eq=False)
class _Canvas:
    patient: Patient
    level: float
    side: int
    rng: np.random.Generator

    @property
    def x(self) -> Array:
        return axis(self.side)[None, :]

    @property
    def y(self) -> Array:
        return axis(self.side)[:, None]

    def ellipse(self, x: float, y: float, a: float, b: float) -> Array:
        """About the distance from an ellipse's border, positive within."""
        radius = np.sqrt(((self.x - x) / a) ** 2 + ((self.y - y) / b) ** 2)
        return ((1 - radius) * min(a, b)).astype(np.float32)

    def warped(self, field: Array, amount: float, cells: int) -> Array:
        return field + amount * smooth_noise(self.rng, self.side, cells)

    def lungs(self) -> Array:
        """Coverage in [0, 1], largest at middle levels, without heart and mediastinum."""
        size = 0.55 + 0.45 * np.sin(np.pi * (0.12 + 0.76 * self.level)) ** 0.7
        parts = [
            self.ellipse(*centre(s, lung), lung[0] * (0.4 + 0.6 * size), lung[1] * size)
            for s, lung in zip(SIDES, self.patient.lungs, strict=True)
        ]
        lungs = self.warped(np.maximum(*parts), 0.010, 9)
        heart = self.patient.heart * (0.45 + 0.65 * self.level)
        heart_field = self.ellipse(0.12 * self.level, -0.22 + 0.1 * self.level, heart * 1.15, heart)
        spine = self.ellipse(0.0, 0.50, 0.15, 0.22)
        dome = self.ellipse(-0.45, 0.1, 0.42, 0.5) - 0.9 * (1 - self.level) - 0.08
        solid = np.maximum(np.maximum(heart_field, spine), dome)
        return soft_step(np.minimum(lungs, -solid), 1.2 / self.side)

    def body(self) -> Array:
        """Everything but the lungs: fat, muscle, ribs, spine, heart."""
        a, b = self.patient.body
        skin = self.ellipse(0, 0, a, b)
        edge = 1.5 / self.side
        image = AIR + (FAT - AIR) * soft_step(skin, edge)
        image = image + (TISSUE - FAT) * soft_step(self.warped(skin - 0.07, 0.015, 8), edge)
        vertebra = np.maximum(self.ellipse(0, 0.42, 0.10, 0.085), self.ellipse(0, 0.56, 0.04, 0.10))
        image += (BONE - TISSUE) * np.maximum(soft_step(vertebra, edge), self.ribs())
        return image

    def ribs(self) -> Array:
        """Short bright arcs around the lungs, elsewhere on every level."""
        turn = 2.5 * self.level + np.arange(9) * (2 * np.pi / 9) + 0.1 * self.rng.standard_normal(9)
        ring = self.ellipse(0, 0, self.patient.body[0] - 0.09, self.patient.body[1] - 0.085)
        theta = np.arctan2(self.y, self.x)
        apart = np.cos(theta[None] - turn[:, None, None]).max(axis=0)
        arcs: Array = soft_step(0.028 - np.abs(ring), 0.01) * soft_step(apart - 0.985, 0.006)
        return arcs

    def parenchyma(self) -> Array:
        """What is bright in every lung: vessels, nodules, and blood at the back."""
        patient = self.patient
        rng = np.random.default_rng([patient.vessels, int(self.level * 6)])
        vessels = 1 - np.exp(-_tree(rng, patient, self.side))
        texture = 0.02 * smooth_noise(self.rng, self.side, 24)
        behind = np.clip((self.y - 0.05) / 0.5, 0, 1) ** 2
        blood = patient.dependent * behind * (1 + 0.4 * smooth_noise(self.rng, self.side, 5))
        grey: Array = 0.5 * vessels + self.patches(patient.nodules, 0.05) + blood + texture
        return grey

    def opacities(self) -> Array:
        """Grey that disease adds: fuzzy ground glass, or a lobe with a sharp border."""
        cloud = self.patches(self.patient.opacities, 0.2)
        if not cloud.any():
            return cloud
        uneven = smooth_noise(self.rng, self.side, 10)
        if self.patient.disease == "cap":
            tallest = max(o.height for o in self.patient.opacities)
            ragged = 1 + 0.15 * uneven + 0.3 * smooth_noise(self.rng, self.side, 5)
            filled = soft_step(cloud / tallest * ragged - 0.45, 0.10)
            cloud = tallest * filled * (1 + 0.08 * uneven)
        else:
            cloud = np.minimum(cloud * np.clip(1 + 0.35 * uneven, 0.3, None), 0.45)
        return cloud

    def patches(self, opacities: tuple[Opacity, ...], reach: float) -> Array:
        """The sum of opacities; each is seen over about `reach` levels up and down."""
        if not opacities:
            return np.zeros((self.side, self.side), dtype=np.float32)
        x, y, level, radius, height = np.array(opacities, dtype=np.float32).T
        seen = np.exp(-0.5 * ((level - self.level) / reach) ** 4)
        return spots(self.side, x, y, radius, height * seen)


def _tree(rng: np.random.Generator, patient: Patient, side: int) -> Array:
    """Vessels that branch from the root of each lung and thin out towards its border."""
    points: list[Array] = []
    for s, lung in zip(SIDES, patient.lungs, strict=True):
        root = np.array([s * 0.16, 0.02])
        ends = rng.uniform(-1, 1, (14, 2)) * np.array(lung) * 0.95 + np.array(centre(s, lung))
        points += [_branch(rng, root, end) for end in ends]
    x, y, radius, height = np.concatenate(points).T
    return spots(side, x, y, np.maximum(radius, 0.7 / side), height)


def _branch(
    rng: np.random.Generator, start: NDArray[np.float64], end: NDArray[np.float64]
) -> Array:
    along = np.linspace(0.15, 1, 36)[:, None]
    bend = rng.normal(0, 0.07, 2) * np.sin(np.pi * along)
    path = start + (end - start) * along + bend
    # part of the vessel lies in other levels: it is seen as dots and dashes
    seen = np.clip(np.sin(rng.uniform(2, 14) * along + rng.uniform(0, 6)) * 2, 0, 1)
    radius = 0.022 * (1.15 - along)
    return np.hstack([path, radius, 0.9 * seen * (1.2 - along)]).astype(np.float32)


def _grain(rng: np.random.Generator, side: int) -> Array:
    """Noise of a reconstructed image: neighbouring pixels are alike."""
    noise = rng.standard_normal((side + 1, side + 1), dtype=np.float32)
    return (noise[:-1, :-1] + noise[1:, :-1] + noise[:-1, 1:] + noise[1:, 1:]) / 2

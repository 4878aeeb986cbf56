"""What was measured of a run's explanations, in words, and as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pseudolabel_kit.report.charts import Chart, Line, short
from pseudolabel_kit.report.words import Word

CHANCE = "chance"
WORDS: Mapping[str, Word] = {
    "pointing": Word(
        "Pointing game", "share of images whose highest evidence is on the lesion; 1 is perfect"
    ),
    "energy": Word(
        "Energy inside", "share of all evidence that is on the lesion; chance is the lesion's size"
    ),
    "deletion": Word(
        "Deletion",
        "mean probability of the class while pixels are removed, most evidence first; good maps "
        "are well below chance",
        less_is_better=True,
    ),
    "insertion": Word(
        "Insertion",
        "the same while they are put back, most evidence first; good maps are well above chance",
    ),
    "infidelity": Word(
        "Infidelity",
        "of what the score loses with a square, the share that its evidence does not foretell; "
        "0 is perfect, 1 an empty map",
        less_is_better=True,
    ),
    "sensitivity": Word(
        "Sensitivity",
        "how much of a map faint noise can change; 0 is perfect, above 1 it is another map",
        less_is_better=True,
    ),
    "agreement": Word(
        "Agreement", "rank correlation with the other maps, in the mean; 1 is the same order"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A mean over images.

    Attributes:
        interval: 95%, over patients, or images where none is known; None where it has none.
        sign: 1 or -1 where the interval of the difference from chance, on the same images,
            excludes 0, to the better or the worse; 0 elsewhere.
    """

    value: float
    interval: tuple[float, float] | None = None
    sign: int = 0


Figures: TypeAlias = Mapping[str, Mapping[str, Figure]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """All images, or those of a class.

    Attributes:
        figures: by explainer, and `CHANCE`, then by measure; none where it is not defined.
    """

    name: str
    rows: int
    lesions: int
    figures: Figures

    @property
    def measures(self) -> list[str]:
        """Those that any explainer has, as `WORDS` orders them."""
        return [name for name in WORDS if any(name in found for found in self.figures.values())]


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """What `explanations-<split>.json` holds.

    Attributes:
        step: after how many steps of training the weights were taken.
        rows: how many images; of the `available` ones of that side.
        patients: how many known patients.
        tolerance: how far a hit may be from the lesion, in pixels of `size`.
        size: (H, W) of the images.
        baseline: what removed pixels become.
        groups: all images first, then those of each class.
        curves: by explainer and `CHANCE`, then "deletion" and "insertion": the mean probability
            at equally many removed pixels each, from none to all.
        pairs: rank correlation of two explainers' maps, by both.
    """

    split: str
    step: int
    rows: int
    available: int
    patients: int
    tolerance: int
    size: tuple[int, int]
    baseline: str
    groups: Sequence[Group]
    curves: Mapping[str, Mapping[str, Sequence[float]]]
    pairs: Mapping[str, Mapping[str, float]]

    @property
    def explainers(self) -> list[str]:
        """Whose maps were measured, chance last."""
        return list(self.groups[0].figures)


def heading(found: Explanations) -> str:
    """On what it was measured.

    >>> heading(Explanations(split="val", step=9, rows=20, available=90, patients=4, tolerance=6,
    ...     size=(96, 96), baseline="blur", groups=[], curves={}, pairs={}))
    'val: 20 of 90 images, 4 patients'
    """
    some = "" if found.rows == found.available else f" of {found.available}"
    patients = f", {found.patients} patients" if found.patients else ""
    return f"{found.split}: {found.rows}{some} images{patients}"


def reading(found: Explanations) -> str:
    """What the figures rest on, in two sentences."""
    removed = {"blur": "blurred", "mean": "the image's mean", "zero": "black"}[found.baseline]
    return (
        f"A hit may be {found.tolerance} pixels beside the lesion, of {found.size[1]}; a pixel "
        f"that is removed becomes {removed}. Chance: what a map gets that knows nothing."
    )


def charts(found: Explanations) -> list[Chart]:
    """The curves of deletion and of insertion."""
    titles = {
        "deletion": ("pixels removed, %", "Should fall at once: what it names is what counts."),
        "insertion": ("pixels put back, %", "Should rise at once: what it names is enough."),
    }
    drawn = [
        Chart(
            title=WORDS[kind].title,
            caption=f"Mean probability of the class, most evidence first. {caption}",
            lines=[_line(found, name, kind) for name in found.curves],
            until=100,
            x_label=x_label,
        )
        for kind, (x_label, caption) in titles.items()
    ]
    return [chart for chart in drawn if chart.drawn]


def _line(found: Explanations, name: str, kind: str) -> Line:
    y = found.curves[name][kind]
    figure = found.groups[0].figures[name].get(kind)
    return Line(
        label=name,
        x=[100 * i / (len(y) - 1) for i in range(len(y))],
        y=y,
        told=short(figure.value) if figure else "",
    )

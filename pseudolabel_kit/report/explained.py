"""What was measured of a run's explanations, in words, and as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pseudolabel_kit.engine.bootstrap import CAUTION
from pseudolabel_kit.report.charts import Chart, Line, short
from pseudolabel_kit.report.words import Word, figure

CHANCE = "chance"
LEAST_FALL = 0.1  # of the probability from image to baseline, for an area to mean anything
WORDS: Mapping[str, Word] = {
    "pointing": Word(
        "Pointing game", "share of images whose highest evidence is on the lesion; 1 is perfect"
    ),
    "energy": Word(
        "Energy inside", "share of all evidence that is on the lesion; chance is the lesion's size"
    ),
    "deletion": Word(
        "Deletion",
        "mean probability of the followed class while pixels are removed, most evidence first; "
        "good maps are well below chance",
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
            excludes 0, to the better or the worse; 0 elsewhere, and where too few images or
            patients stand behind it.
    """

    value: float
    interval: tuple[float, float] | None = None
    sign: int = 0


Figures: TypeAlias = Mapping[str, Mapping[str, Figure]]
Ends: TypeAlias = Mapping[str, tuple[float, float]]
"""By area, the followed class's mean probability on the image and on the baseline."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """All images, or those of a class.

    Attributes:
        figures: by explainer, and `CHANCE`, then by measure; none where it is not defined.
        ends: what deletion and insertion go between; these are not defined where it falls by
            less than `LEAST_FALL`.
    """

    name: str
    rows: int
    lesions: int
    figures: Figures
    ends: Ends = field(default_factory=dict)

    @property
    def measures(self) -> list[str]:
        """Those that any explainer has or could have, as `WORDS` orders them."""
        having = [*self.figures.values(), self.ends]
        return [name for name in WORDS if any(name in found for found in having)]

    def told(self, measure: str) -> str:
        """What an area goes between, and why it is not defined; empty for other measures.

        >>> Group(name="all", rows=9, lesions=4, figures={}, ends={"deletion": (0.9, 0.85)}).told(
        ...     "deletion")
        'p(image) 0.900, p(baseline) 0.850: not defined, as it falls by less than 0.1'
        """
        if measure not in self.ends:
            return ""
        whole, none = self.ends[measure]
        flat = whole - none < LEAST_FALL
        why = f": not defined, as it falls by less than {LEAST_FALL}" if flat else ""
        return f"p(image) {figure(whole)}, p(baseline) {figure(none)}{why}"


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """What `explanations-<split>.json` holds.

    Attributes:
        step: after how many steps of training the weights were taken.
        rows: how many images; of the `available` ones of that side.
        patients: how many known patients.
        tolerance: how far a hit may be from the lesion, in pixels of `size`.
        size: (H, W) of the images.
        baseline: what removed pixels become, and from what insertion begins; None = the image's
            mean, and the blurred image.
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
    baseline: str | None
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
    """What the figures rest on, in a few sentences."""
    whole = {"blur": "the blurred image", "mean": "the image's mean", "zero": "black"}
    removed, begun = whole[found.baseline or "mean"], whole[found.baseline or "blur"]
    return (
        f"A hit may be {found.tolerance} pixels beside the lesion, of {found.size[1]}. Followed "
        "is each clean image's likeliest lesion class, by softmax; deletion and insertion are of "
        "images with a lesion, where lesions are known. A pixel that is removed becomes "
        f"{removed}; insertion begins from {begun}. Chance: what a map gets that knows nothing, "
        f"whose pixels go in smooth random patches. {CAUTION}"
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
            caption=f"Mean probability of the followed class, most evidence first. {caption}",
            lines=[_line(found, name, kind) for name in found.curves],
            until=100,
            x_label=x_label,
        )
        for kind, (x_label, caption) in titles.items()
    ]
    return [chart for chart in drawn if chart.drawn]


def _line(found: Explanations, name: str, kind: str) -> Line:
    y = found.curves[name][kind]
    shown = found.groups[0].figures[name].get(kind)
    return Line(
        label=name,
        x=[100 * i / (len(y) - 1) for i in range(len(y))],
        y=y,
        told=short(shown.value) if shown else "–",
    )

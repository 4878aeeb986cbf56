"""What an audit found, and every figure of it, of all images or of some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.engine.bootstrap import interval, owners, sign, suffices, times
from pseudolabel_kit.engine.pixels import EDGES, Array, Tally, dice

Kind: TypeAlias = Literal["decoder", "explainer", "fuser"]
Chosen: TypeAlias = NDArray[np.bool_]
Fitted: TypeAlias = Literal["val", "labelled"]
Figures: TypeAlias = dict[str, float | None]
RESAMPLES = 1000
DECODER = "decoder"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Whom the maps are of.

    Attributes:
        names: of the images.
        patients: numbers from 1 in the order of their first image; 0 = not known.
        labels: class indices; -1 = not known.
        masked: whether the mask is known.
        free: whether the image is known to hold no lesion.
    """

    names: tuple[str, ...]
    patients: NDArray[np.int64]
    labels: NDArray[np.int64]
    masked: Chosen
    free: Chosen

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """One map or label, over all rows.

    Attributes:
        name: the whole reference, or "decoder".
        tally: its masks against the truth, row by row; None where it makes none.
        taught: (R,) share of pixels that teach, for a fuser.
        wrong: (R,) share of pixels that teach the wrong side of 0.5.
        class_taught, class_right: (R,) whether the class label teaches, and is right.
        told: what an explainer says of its own maps, over all rows.
        fitted: the side whose truth calibrated a fuser; of "labelled" what its run held out.
    """

    name: str
    kind: Kind
    tally: Tally | None = None
    taught: Array | None = None
    wrong: Array | None = None
    class_taught: Array | None = None
    class_right: Array | None = None
    told: Mapping[str, float] = field(default_factory=dict)
    fitted: Fitted | None = None


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A difference in Dice and its 95% interval over patients, or images where none is known.

    Attributes:
        enough: whether enough images and patients stand behind it to call it better or worse.
    """

    value: float
    interval: tuple[float, float] | None
    enough: bool

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes 0 and enough stand behind it, else 0."""
        return sign(self.interval, enough=self.enough)


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """One frozen model, judged on one side of the split.

    Attributes:
        step: after how many steps of training the weights were taken.
        available: how many images that side holds; `rows` are some of them, or all.
        seed: draws the patients of the intervals.
    """

    run: str
    split: str
    step: int
    classes: tuple[str, ...]
    rows: Rows
    available: int
    seed: int
    decoder: Judged | None
    evidence: Sequence[Judged]
    labels: Sequence[Judged]

    @property
    def judged(self) -> list[Judged]:
        """Everything, the decoder first."""
        return [*filter(None, [self.decoder]), *self.evidence, *self.labels]

    def groups(self) -> dict[str, Chosen]:
        """All rows, those of each class, those of each patient."""
        found = {"all": np.ones(len(self.rows), dtype=bool)}
        for index, name in enumerate(self.classes):
            found[f"class {name}"] = self.rows.labels == index
        for patient in np.unique(self.rows.patients[self.rows.patients > 0]):
            found[f"patient {patient}"] = self.rows.patients == patient
        return {name: chosen for name, chosen in found.items() if chosen.any()}

    def figures(self, judged: Judged, chosen: Chosen | None = None) -> Figures:
        """Every figure of one map or label, over the chosen rows; None where not defined."""
        some = np.ones(len(self.rows), dtype=bool) if chosen is None else chosen
        found = {} if judged.tally is None else _of_masks(judged.tally, self.rows, some)
        if judged.kind == "fuser":
            found |= _of_teaching(judged, self.rows, some)
        told = judged.told if chosen is None else {}  # known of all rows together alone
        return {name: _known(value) for name, value in found.items()} | dict(told)

    @cached_property
    def gains(self) -> dict[str, Gain]:
        """Each label's Dice above the decoder's own, with the 95% interval over patients."""
        masked = self.rows.masked
        if self.decoder is None or self.decoder.tally is None or not masked.any():
            return {}
        once = np.ones((1, masked.sum()))
        drawn = times(self.rows.patients[masked], RESAMPLES, self.seed)
        own = self.decoder.tally.overlap[masked]
        enough = suffices(owners(self.rows.patients)[masked & ~self.rows.free])
        found = {}
        for judged in self.labels:
            if judged.tally is not None:
                label = judged.tally.overlap[masked]
                value = float((dice(once @ label) - dice(once @ own))[0])
                bounds = interval(dice(drawn @ label) - dice(drawn @ own))
                found[judged.name] = Gain(value=value, interval=bounds, enough=enough)
        return {name: gain for name, gain in found.items() if np.isfinite(gain.value)}

    def flattered(self, judged: Judged) -> bool:
        """Whether a fuser is judged on the side that it was fitted to."""
        return judged.fitted == self.split

    def change(self, judged: Judged) -> Array:
        """(R,): how much nearer to the truth than the decoder, in Brier score; NaN = not known."""
        if judged.tally is None or self.decoder is None or self.decoder.tally is None:
            return np.full(len(self.rows), np.nan)
        nearer: Array = self.decoder.tally.brier - judged.tally.brier
        return np.where(self.rows.masked, nearer, np.nan)


def _of_masks(tally: Tally, rows: Rows, chosen: Chosen) -> dict[str, float]:
    everything = tally[chosen].pooled
    truth = tally[chosen & rows.masked]
    pooled = truth.pooled
    by_threshold = np.nan_to_num(pooled.dice_by_threshold[0], nan=-1)
    best = int(by_threshold.argmax())
    has = by_threshold[best] >= 0
    return {
        "dice": pooled.dice[0],
        "brier": pooled.brier[0],
        "ece": pooled.ece[0],
        "auroc": _mean(truth.auroc),
        "average_precision": _mean(truth.average_precision),
        "best_dice": by_threshold[best] if has else np.nan,
        "best_threshold": np.concatenate([[0.0], EDGES])[best] if has else np.nan,
        "mean": everything.mean[0],
        "foreground": everything.foreground[0],
        "lesion_free": tally[chosen & rows.free].pooled.mean[0],
        "truth": pooled.prevalence[0],
    }


def _of_teaching(judged: Judged, rows: Rows, chosen: Chosen) -> dict[str, float]:
    found = {}
    if judged.taught is not None and judged.wrong is not None:
        known = chosen & rows.masked
        taught = judged.taught[known].sum()
        found["coverage"] = _mean(judged.taught[chosen])
        found["error"] = judged.wrong[known].sum() / taught if taught else np.nan
    if judged.class_taught is not None and judged.class_right is not None:
        known = chosen & (rows.labels >= 0) & (judged.class_taught > 0)
        found["label_coverage"] = _mean(judged.class_taught[chosen])
        found["label_accuracy"] = _mean(judged.class_right[known])
    return found


def _mean(values: Array) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

"""An audit's curves: calibration, risk against coverage, Dice by threshold, all over steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pseudolabel_kit.audit.findings import Findings, Judged
from pseudolabel_kit.engine.pixels import EDGES, Array, Tally
from pseudolabel_kit.report.canvas import COLOURS, MUTED, colour, dashes, drawing, dress, marker
from pseudolabel_kit.report.charts import Chart, Line, short

SIZE = (3.8, 2.8)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A named curve of a drawing; a single point is drawn as a mark.

    Attributes:
        colour: its number: who is judged keeps one colour on the page.
        told: the figure that the legend shows beside the name.
    """

    label: str
    colour: int
    x: Array
    y: Array
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Curves over one axis, and the sentence that explains them; shown like a `Chart`."""

    title: str
    caption: str
    curves: Sequence[Curve]
    x_label: str
    y_label: str
    diagonal: bool = False

    @property
    def legend(self) -> list[tuple[str, int, str]]:
        """Label, colour and figure of every curve."""
        return [(curve.label, curve.colour % COLOURS, curve.told) for curve in self.curves]

    @property
    def svg(self) -> Markup:
        """The drawing."""
        return drawing(*SIZE, f"{self.title}. {self.caption}", partial(_paint, self))


def _paint(drawn: Drawing, figure: Figure) -> None:
    figure.subplots_adjust(left=0.17, right=0.95, top=0.96, bottom=0.18)
    axes = figure.add_subplot()
    dress(axes)
    if drawn.diagonal:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
    for curve in drawn.curves:
        _plot(axes, curve)
    axes.set_xlabel(drawn.x_label, color=MUTED)
    axes.set_ylabel(drawn.y_label, color=MUTED)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)


def _plot(axes: Axes, curve: Curve) -> None:
    alone = len(curve.x) < 2
    dots = marker(curve.colour) if len(curve.x) < 20 else ""
    (line,) = axes.plot(
        curve.x, curve.y, color=colour(curve.colour), linewidth=1.8, marker=dots,
        markersize=7 if alone else 3.5, clip_on=False,
    )  # fmt: skip
    if dashes(curve.colour):
        line.set_dashes(dashes(curve.colour))


def labels(findings: Findings) -> list[Drawing]:
    """Reliability, and risk against coverage, of the decoder and of every label."""
    found = _known(findings, [*filter(None, [findings.decoder]), *findings.labels])
    if not found:
        return []
    return [
        Drawing(
            title="Reliability",
            caption="Of the pixels that are given a probability, how many are lesion: on the "
            "diagonal a label means what it says, above it it says too little.",
            curves=[_curve(*each, _reliability, "ECE", "ece") for each in found],
            x_label="stated probability",
            y_label="share of lesion",
            diagonal=True,
        ),
        Drawing(
            title="Error against coverage",
            caption="The share of wrong pixels among the surest ones, as ever more are taken in; "
            "lower is better. A mark: what a fuser teaches, where that is not everything.",
            curves=[
                *(_curve(*each, _risk, "Brier", "brier") for each in found if _soft(each[2])),
                *_points(findings, found),
            ],
            x_label="share of pixels",
            y_label="wrong",
        ),
    ]


def evidence(findings: Findings) -> list[Drawing]:
    """Dice by threshold, of the decoder and of every explainer's map."""
    found = _known(findings, [*filter(None, [findings.decoder]), *findings.evidence])
    if not findings.evidence or not found:
        return []
    return [
        Drawing(
            title="Dice by threshold",
            caption="What a map alone would mark, wherever one cuts it; the level at the left is "
            "what marking everything scores.",
            curves=[_curve(*each, _threshold, "best", "dice_by_threshold") for each in found],
            x_label="threshold",
            y_label="Dice",
        )
    ]


def over_steps(audits: Sequence[Findings]) -> list[Chart]:
    """AUROC of the evidence and Dice of the labels, checkpoint by checkpoint."""
    if len(audits) < 2:
        return []
    kinds = (("AUROC by step", "auroc", "explainer"), ("Dice by step", "dice", "fuser"))
    charts = [
        Chart(
            title=title,
            caption="The same images, checkpoint by checkpoint.",
            lines=list(_lines(audits, figure, kind)),
            until=audits[-1].step,
            from_zero=False,
        )
        for title, figure, kind in kinds
    ]
    return [chart for chart in charts if chart.drawn]


def _lines(audits: Sequence[Findings], figure: str, kind: str) -> Iterator[Line]:
    steps = [found.step for found in audits]
    for number, name in enumerate(e.name for e in audits[0].judged if e.kind in ("decoder", kind)):
        values = [
            found.figures(each).get(figure)
            for found in audits
            for each in found.judged
            if each.name == name and each.kind in ("decoder", kind)
        ]
        yield Line(label=name, x=steps, y=values, colour=number)


def _known(findings: Findings, who: Sequence[Judged]) -> list[tuple[int, str, Tally]]:
    """Colour, name and histograms, pooled over the images whose mask is known."""
    masked = findings.rows.masked
    return [
        (number, each.name, each.tally[masked].pooled)
        for number, each in enumerate(who)
        if each.tally is not None and masked.any()
    ]


def _curve(
    number: int,
    name: str,
    tally: Tally,
    points: Callable[[Tally], tuple[Array, Array]],
    word: str,
    figure: str,
) -> Curve:
    x, y = points(tally)
    told = float(np.max(np.nan_to_num(getattr(tally, figure))))
    return Curve(label=name, colour=number, x=x, y=y, told=f"{word} {short(told)}")


def _reliability(tally: Tally) -> tuple[Array, Array]:
    _, said, lesion = tally.reliability
    held = np.isfinite(said[0])
    return said[0][held], lesion[0][held]


def _risk(tally: Tally) -> tuple[Array, Array]:
    coverage, wrong = tally.risk
    held = np.isfinite(wrong[0])
    return coverage[0][held], wrong[0][held]


def _threshold(tally: Tally) -> tuple[Array, Array]:
    return np.concatenate([[0.0], EDGES]), tally.dice_by_threshold[0]


def _soft(tally: Tally) -> bool:
    """Whether pixels are told apart by more than 0 and 1."""
    return int((tally.counts.sum(axis=(0, 1)) > 0).sum()) > 2


def _points(findings: Findings, found: Sequence[tuple[int, str, Tally]]) -> list[Curve]:
    curves = []
    colours = {name: number for number, name, _ in found}
    for each in findings.labels:
        figures = findings.figures(each)
        coverage, error = figures.get("coverage"), figures.get("error")
        if coverage is None or error is None or coverage > 0.9999:
            continue
        curves.append(
            Curve(
                label=f"{each.name}, taught",
                colour=colours[each.name],
                x=np.array([coverage]),
                y=np.array([error]),
                told=short(error),
            )
        )
    return curves

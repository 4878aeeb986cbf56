"""The report's charts: which curves of a run's log stand together, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from pseudolabel_kit.report.charts import Chart, Line
from pseudolabel_kit.report.records import Json, Records
from pseudolabel_kit.report.words import EVERY

# Who is compared keeps one colour on the whole page; explainers take the others.
WHO = {"label": ("pseudo label", 0), "decoder": ("decoder", 1), "truth": ("truth", 2)}
_EXPLAINERS = (3, 4, 5, 0, 2)
_COMPARED = (
    ("Mean label", "mean_{}", "The soft share of lesion in the target, and in the decoder's own "
     "answer. If they part, fusing pushes the labels; if both climb, labels feed on themselves."),
    ("Mean label on lesion-free images", "lesion_free_{}", "Should stay near 0: whatever is "
     "taught here is painted on healthy tissue."),
    ("Dice of the labels", "{}_dice", "Overlap with the truth at 0.5, where the truth is known: "
     "is the target better than what the decoder says by itself?"),
    ("Brier score of the labels", "{}_brier", "The mean squared distance to the truth; less is "
     "better."),
    ("Calibration error of the labels", "{}_ece", "How far a stated probability is from the share "
     "that comes true (ECE, 15 bins); less is better."),
)  # fmt: skip
_ONE = (
    ("Marked as lesion", "foreground_share", "The share of pixels that the pseudo label puts "
     "above 0.5."),
    ("Coverage", "coverage", "The share of pixels that teach anything at all."),
    ("Class labels that teach", "label_coverage", "The share of images whose class label counts."),
)  # fmt: skip
_RANKED = (
    ("Evidence against the truth", "auroc/", "The chance that a map ranks a lesion pixel above "
     "another one, on images with a lesion. Under 0.5 it points away from the lesion."),
    ("Evidence against the decoder", "agreement/", "The same, with the decoder's answer taken for "
     "the truth: near 0.5 a map says something else than the decoder, or nothing."),
)  # fmt: skip
_MEASURED = (
    ("Dice", ("dice", "dice_image", "dice_patient"), "Overlap of marked and true lesion; 1 is "
     "perfect."),
    ("mIoU", ("miou", "miou_image", "miou_patient"), "Mean overlap of lesion and of background: "
     "marking nothing already scores nearly half."),
    ("Classes", ("accuracy", "sensitivity", "specificity", "auc"), "How well the image's class is "
     "told; 1 is perfect."),
    ("False positives", ("false_positive_share",), "Share of pixels marked on images that hold no "
     "lesion; 0 is perfect."),
)  # fmt: skip


def losses(records: Records) -> list[Chart]:
    """One chart for each loss term, and where it joined."""
    return [
        Chart(
            title=name,
            caption="The term before its weight; faint: steps, bold: their running mean.",
            lines=[series(records.steps, name, "losses", name)],
            until=last_step(records),
            noisy=True,
            marks=joined(records.steps, name, "joins"),
        )
        for name in names(records.steps, "losses")
    ]


def schedule(records: Records) -> list[Chart]:
    """The learning rate, the weights of the loss terms, and the time of a step."""
    chart = partial(Chart, until=last_step(records))
    weights = [
        series(records.steps, name, "weights", name) for name in names(records.steps, "weights")
    ]
    return drawn(
        [
            chart(
                title="Learning rate",
                caption="How far each step may move the network.",
                lines=[series(records.steps, "Learning rate", "lr")],
            ),
            chart(
                title="Loss weights",
                caption="How much each term counts in the total; a slope is a term joining.",
                lines=weights,
            ),
            chart(
                title="Seconds a step",
                caption="Wall-clock time; a jump is what labelling and explaining cost.",
                lines=[series(records.steps, "Seconds a step", "seconds")],
                noisy=True,
            ),
        ]
    )


def measures(records: Records) -> list[Chart]:
    """The measures on val, those of one kind together."""
    return drawn(
        Chart(
            title=title,
            caption=caption,
            lines=[
                series(
                    records.epochs, EVERY[name].title.removeprefix(f"{title}, "), "measures", name
                )
                for name in together
            ],
            until=last_step(records),
            marks=joined(records.steps, "consistency", "pseudo labels join"),
        )
        for title, together, caption in _MEASURED
    )


def audit(records: Records) -> list[Chart]:
    """The pseudo labels over time, on the same unlabelled images each time."""
    audits = [a for a in records.audits if a.get("when") != "preflight"]
    chart = partial(Chart, until=last_step(records))
    compared = [
        chart(
            title=title,
            caption=caption,
            lines=[recorded(audits, label, key.format(who), c) for who, (label, c) in WHO.items()],
        )
        for title, key, caption in _COMPARED
    ]
    ranked = [
        chart(title=title, caption=caption, lines=evidence(audits, prefix), level=(0.5, "chance"))
        for title, prefix, caption in _RANKED
    ]
    one = [
        chart(title=title, caption=caption, lines=[recorded(audits, title, key)])
        for title, key, caption in _ONE
    ]
    classes = chart(
        title="Right class labels",
        caption="Of those that teach, against the classifier's own answer on every image.",
        lines=[
            recorded(audits, "pseudo label", "label_accuracy", WHO["label"][1]),
            recorded(audits, "classifier", "classifier_accuracy", WHO["decoder"][1]),
        ],
    )
    told = [
        chart(title=title, caption="What the explainer reports of its own maps.", lines=lines)
        for title, lines in diagnostics(audits).items()
    ]
    return drawn([*compared, *one, classes, *ranked, *told])


def evidence(audits: Sequence[Json], prefix: str) -> list[Line]:
    """A curve for each map that was ranked, the decoder's first."""
    keys = [key for key in names(audits, "record") if key.startswith(prefix)]
    references = [key.removeprefix(prefix) for key in keys]
    colours = {r: _EXPLAINERS[i % 5] for i, r in enumerate(r for r in references if r != "decoder")}
    colours["decoder"] = WHO["decoder"][1]
    return [recorded(audits, r, prefix + r, colours[r]) for r in references]


def diagnostics(audits: Sequence[Json]) -> dict[str, list[Line]]:
    """What explainers say of themselves, "<reference>.<figure>", by figure."""
    groups: dict[str, list[Line]] = {}
    for key in names(audits, "record"):
        reference, dot, told = key.rpartition(".")
        if dot and "/" not in key:
            title = told.replace("_", " ").capitalize()
            groups.setdefault(title, []).append(recorded(audits, reference, key))
    return groups


def series(records: Sequence[Json], label: str, *path: str, colour: int | None = None) -> Line:
    """A curve over steps of what lies at a path of keys in each record."""
    steps = [r["step"] for r in records]
    return Line(label=label, x=steps, y=[_at(r, *path) for r in records], colour=colour)


def recorded(audits: Sequence[Json], label: str, key: str, colour: int | None = None) -> Line:
    """A curve of one figure of the audits."""
    return series(audits, label, "record", key, colour=colour)


def _at(record: Json, *path: str) -> float | None:
    for key in path[:-1]:
        record = record.get(key, {})
    value: float | None = record.get(path[-1])
    return value


def drawn(charts: Iterable[Chart]) -> list[Chart]:
    """The charts that have anything to show."""
    return [chart for chart in charts if chart.drawn]


def names(records: Sequence[Json], field: str) -> list[str]:
    """Every name that a field of any record holds, in the order of appearance."""
    return list(dict.fromkeys(name for r in records for name in r.get(field, {})))


def last_step(records: Records) -> float:
    """Where the run stands, so that all charts end there; at least 1."""
    logged: list[Mapping[str, float]] = [*records.steps, *records.epochs, *records.audits]
    return max((r["step"] for r in logged), default=1)


def joined(steps: Sequence[Json], term: str, word: str) -> list[tuple[float, str]]:
    """Where a loss term's weight left 0, unless it counted from the start."""
    group = "consistency" if term.startswith("consistency.") else term
    counted = [bool(s.get("weights", {}).get(group)) for s in steps]
    if True not in counted or counted[0]:
        return []
    return [(steps[counted.index(True)]["step"], word)]

"""The figures of an audit in words, shared by the terminal, the page and the CSV file."""

from __future__ import annotations

from collections.abc import Mapping

from pseudolabel_kit.report.words import Word

EVIDENCE: Mapping[str, Word] = {
    "auroc": Word("AUROC", "ranks a lesion pixel above another, mean over images with a lesion"),
    "average_precision": Word("AP", "average precision: precision over recall, likewise"),
    "best_dice": Word("Best Dice", "at the one threshold that suits all images best"),
    "best_threshold": Word("at", "that threshold"),
    "lesion_free": Word("Lesion free", "mean on images without a lesion", less_is_better=True),
}
LABELS: Mapping[str, Word] = {
    "dice": Word("Dice", "overlap with the truth at 0.5, all pixels together"),
    "brier": Word("Brier", "mean squared distance to the truth", less_is_better=True),
    "ece": Word("ECE", "stated probability against the share that is true", less_is_better=True),
    "foreground": Word("Lesion", "share of pixels at 0.5 and above"),
    "lesion_free": Word("Lesion free", "mean on images without a lesion", less_is_better=True),
    "coverage": Word("Coverage", "share of pixels that teach"),
    "error": Word("Error", "share of those on the wrong side of 0.5", less_is_better=True),
    "label_coverage": Word("Classes", "share of images whose class label teaches"),
    "label_accuracy": Word("right", "share of those that are right"),
}
TOLD: Mapping[str, Word] = {  # what the attributions of the kit say of themselves
    "completeness_error": Word(
        "Compl. error",
        "completeness: how far the attributions' sum is from what the score gains over the "
        "baseline's, in the score's units, mean over images",
        less_is_better=True,
    ),
    "completeness_gain": Word(
        "Score gain",
        "by how much the score differs from the baseline's, mean over images: an error of a "
        "third of it leaves a third not explained",
    ),
}
FITTED = {"val": "fitted on val", "labelled": "fitted on held-out labelled images"}
OTHERS = ("mean", "truth")  # in the CSV file; the page shows the truth beside labels


def told(name: str) -> Word:
    """The word for what an explainer says of its own maps, whoever wrote it."""
    return TOLD.get(name) or Word(name.replace("_", " "), "as the explainer itself says")

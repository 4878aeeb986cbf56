"""The words for measures, shared by the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A measure's title, what it says in plain words, and whether less is better."""

    title: str
    plain: str
    less_is_better: bool = False


MASKS = {
    "dice": Word("Dice, pooled", "overlap of marked and true lesion, all pixels together"),
    "dice_image": Word("Dice, per image", "the same, averaged over images with a lesion"),
    "dice_patient": Word("Dice, per patient", "the same, averaged over patients with a lesion"),
    "miou": Word("mIoU, pooled", "mean IoU of lesion and background, all pixels together"),
    "miou_image": Word("mIoU, per image", "the same, averaged over images with a lesion"),
    "miou_patient": Word("mIoU, per patient", "the same, averaged over patients with a lesion"),
    "false_positive_share": Word(
        "False-positive share", "pixels marked on images that hold no lesion", less_is_better=True
    ),
}
CLASSES = {
    "accuracy": Word("Accuracy", "share of images whose class is right"),
    "sensitivity": Word("Sensitivity", "share of a class's images found, averaged over classes"),
    "specificity": Word(
        "Specificity", "share of other classes' images left alone, averaged over classes"
    ),
    "auc": Word("AUC", "how well class scores rank a class above the rest, averaged over classes"),
}
GROUPS = {"Lesion masks": MASKS, "Image classes": CLASSES}
EVERY = {**MASKS, **CLASSES}


def figure(value: float | None) -> str:
    """A measure in three decimals, or a dash.

    >>> figure(0.61549), figure(None)
    ('0.615', '–')
    """
    return "–" if value is None else f"{value:.3f}"

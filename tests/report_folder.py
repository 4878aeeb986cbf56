"""A fabricated run folder, like one that a real run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pseudolabel_kit.config import Config

STEPS, EPOCHS, STARTS = 400, 20, 80
MEASURES = (
    ("dice", 0.62), ("dice_image", 0.55), ("dice_patient", 0.57), ("miou", 0.71),
    ("miou_image", 0.68), ("miou_patient", 0.69), ("false_positive_share", 0.012),
    ("accuracy", 0.84), ("sensitivity", 0.81), ("specificity", 0.9), ("auc", 0.93),
)  # fmt: skip


def make_run(folder: Path, images: int = 6, side: int = 96) -> Path:
    """Write everything that a finished run holds."""
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(Config().to_toml())
    write_json(folder / "provenance.json", provenance())
    lines = [*steps(), *epochs(), *audits(), *events()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for split, shift in (("val", 0.0), ("test", -0.04)):
        write_json(folder / f"evaluation-{split}.json", evaluation(split, shift))
    np.savez_compressed(folder / "strips.npz", **strips(images, side))
    write_json(folder / "strips.json", captions(images))
    return folder


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def provenance() -> dict[str, Any]:
    return {
        "started": "2026-01-01T12:00:00+00:00",
        "command": ["train", "--fuser", "sharpen"],
        "versions": {"pseudolabel-kit": "0.1.0", "torch": "2.6.0", "python": "3.11.9"},
        "device": "cpu (x86_64)",
        "seed": 0,
        "split_hash": "3f9ac1d2",
        "rows": {"labelled": 24, "unlabelled": 180, "val": 40, "test": 60},
        "patients": {"labelled": 6, "unlabelled": 45, "val": 10, "test": 15},
        "parameters": 1234567,
        "task": {"classes": ["NP", "CAP", "COVID-19"], "size": [96, 96]},
    }


def steps() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    found = []
    for step in range(1, STEPS + 1):
        t = step / STEPS
        losses = {"classification": 1.1 * np.exp(-2 * t), "segmentation": 0.7 * np.exp(-4 * t)}
        losses["caam"] = 0.3 - 0.1 * t
        ramp = min(1.0, max(0.0, (step - STARTS) / 80))
        if ramp > 0:
            losses["consistency.mask"] = 0.12 - 0.05 * t
        noise = {name: value * float(random.lognormal(0, 0.25)) for name, value in losses.items()}
        found.append(
            {
                "kind": "step",
                "step": step,
                "lr": 1e-3 * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * t))),
                "losses": noise,
                "weights": {"classification": 1, "segmentation": 5, "caam": 5, "consistency": ramp},
                "mean_label": 0.07 if ramp else None,
                "coverage": 1.0 if ramp else None,
                "seconds": 0.2 + 0.2 * bool(ramp) + 0.02 * random.random(),
            }
        )
    return found


def epochs() -> list[dict[str, Any]]:
    random = np.random.default_rng(1)
    return [
        {
            "kind": "epoch",
            "epoch": epoch,
            "step": epoch * STEPS // EPOCHS,
            "measures": {
                name: value * (1 - np.exp(-epoch / 4)) * (1 + 0.03 * random.standard_normal())
                for name, value in MEASURES
            },
        }
        for epoch in range(1, EPOCHS + 1)
    ]


def record(t: float, random: np.random.Generator) -> dict[str, float | None]:
    def about(value: float) -> float:
        return value * float(1 + 0.03 * random.standard_normal())

    return {
        "images": 64,
        "coverage": 1.0,
        "mean_label": about(0.06 + 0.02 * t),
        "mean_decoder": about(0.055 + 0.01 * t),
        "mean_truth": 0.058,
        "foreground_share": about(0.045),
        "decoder_foreground_share": about(0.05),
        "lesion_free_label": about(0.01),
        "lesion_free_decoder": about(0.008),
        "auroc/decoder": about(0.88),
        "auroc/ig": about(0.62),
        "auroc/caam": about(0.41),
        "agreement/ig": about(0.66),
        "agreement/caam": about(0.45),
        "label_dice": about(0.55 + 0.05 * t),
        "decoder_dice": about(0.57 + 0.05 * t),
        "label_brier": about(0.035 - 0.01 * t),
        "decoder_brier": about(0.033 - 0.01 * t),
        "label_ece": about(0.03),
        "decoder_ece": about(0.02),
        "ig.completeness_error": about(4.0 + t),
    }


def audits() -> list[dict[str, Any]]:
    random = np.random.default_rng(2)
    preflight = {"kind": "audit", "when": "preflight", "step": STARTS, "rows": 8}
    found: list[dict[str, Any]] = [
        {**preflight, "record": record(0.0, random) | {"label_brier": 0.2}, "verdict": "worse"}
    ]
    for epoch in range(5, EPOCHS + 1):
        at = {"kind": "audit", "when": "epoch", "step": epoch * STEPS // EPOCHS, "rows": 64}
        found.append({**at, "record": record(epoch / EPOCHS, random)})
    return found


def events() -> list[dict[str, Any]]:
    return [
        {
            "kind": "event",
            "step": STARTS,
            "level": "warning",
            "text": "pre-flight audit: the fused label is worse than the decoder's own: "
            "Dice 0.550 against 0.570, Brier 0.2000 against 0.0330",
        },
        {"kind": "event", "step": 0, "level": "info", "text": "decoded 304 images"},
    ]


def evaluation(split: str, shift: float) -> dict[str, Any]:
    measures = {name: max(0.002, value + shift) for name, value in MEASURES}
    return {
        "split": split,
        "measures": measures,
        "intervals": {name: [v * 0.93, min(1.0, v * 1.06)] for name, v in measures.items()},
        "rows": 40 if split == "val" else 60,
        "patients": 10 if split == "val" else 15,
        "step": 380,
    }


def strips(images: int, side: int) -> dict[str, Any]:
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:side, :side] / side
    body = ((rows - 0.5) ** 2 / 0.2 + (columns - 0.5) ** 2 / 0.22 < 1) * 0.6
    for centre in (0.32, 0.68):
        body[(rows - 0.5) ** 2 / 0.08 + (columns - centre) ** 2 / 0.02 < 1] = 0.15
    answers, evidence = ("image", "truth", "decoder", "pseudo"), ("cam", "caam", "ig:steps=8")
    found = {name: [] for name in (*answers, *(f"evidence/{each}" for each in evidence))}  # type: ignore[var-annotated]
    for i in range(images):
        y, x = 0.4 + 0.2 * random.random(), 0.32 if i % 2 else 0.68
        distance = np.sqrt((rows - y) ** 2 + (columns - x) ** 2)
        lesion = (distance < 0.09) & (i < images - 2)
        image = np.clip(body + 0.3 * lesion + 0.05 * random.standard_normal(body.shape), 0, 1)
        found["image"].append(image[None])
        found["truth"].append(np.where(i == images - 1, np.nan, lesion.astype(float)))
        found["decoder"].append(1 / (1 + np.exp(60 * (distance - 0.1))) * (0.95 if i < 4 else 0.2))
        found["pseudo"].append(1 / (1 + np.exp(40 * (distance - 0.09))) * (0.9 if i < 4 else 0.1))
        found["evidence/cam"].append(np.exp(-distance * 5))
        found["evidence/caam"].append(1 - np.exp(-distance * 6))
        found["evidence/ig:steps=8"].append(np.clip(random.random(body.shape) * body * 1.5, 0, 1))
    arrays = {name: np.array(maps, dtype=np.float32) for name, maps in found.items()}
    return {"names": np.array([f"images/slice-{i:03d}.png" for i in range(images)]), **arrays}


def captions(images: int) -> dict[str, Any]:
    return {
        "truth": ["COVID-19"] * (images - 2) + ["NP", None],
        "predicted": ["COVID-19"] * (images - 3) + ["CAP", "NP", "NP"],
        "probability": [0.5 + 0.07 * i for i in range(images)],
    }

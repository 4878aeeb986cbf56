"""The contract: what flows through a run, and what a plugin author writes.

Shapes    B rows of a batch, C image channels, N image classes, K mask channels
          (1 = one lesion, sigmoid), H W pixels, D h w a feature map.
Kinds     an ABC for what authors write, a Protocol for what they receive,
          a frozen dataclass for what flows between them.
Options   the fields of a part's frozen, keyword-only dataclass are its options.
Random    draw from torch's global generator: the engine seeds it before every
          step from (seed, step, rank), so that a run resumes bit for bit.

These modules import no torch: a light plugin module may import them.
"""

from __future__ import annotations

from pseudolabel_kit.interfaces.dataset import Dataset, Row, Sample, Split
from pseudolabel_kit.interfaces.flow import (
    Batch,
    Evidence,
    Family,
    LossTerm,
    Model,
    Prediction,
    PseudoLabels,
    Ramp,
    Scale,
    Task,
    View,
)
from pseudolabel_kit.interfaces.parts import Backbone, Explainer, Fuser, Part, Perturbation

__all__ = [
    "Backbone",
    "Batch",
    "Dataset",
    "Evidence",
    "Explainer",
    "Family",
    "Fuser",
    "LossTerm",
    "Model",
    "Part",
    "Perturbation",
    "Prediction",
    "PseudoLabels",
    "Ramp",
    "Row",
    "Sample",
    "Scale",
    "Split",
    "Task",
    "View",
]

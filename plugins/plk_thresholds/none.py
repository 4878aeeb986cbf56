"""No pseudo labels: what every method has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, PseudoLabels


@dataclass(frozen=True, kw_only=True)
class Nothing(Fuser):
    """Ignores every pixel: the run is supervised, unlabelled rows are not even read."""

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "nothing"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Nothing."""
        return PseudoLabels()

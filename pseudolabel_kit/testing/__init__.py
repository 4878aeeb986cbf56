"""The conformance kit: what authors of plugins test their parts with.

    from pseudolabel_kit.testing import FuserConformance

    class TestMine(FuserConformance):
        reference = "mine:beta=2"

pytest runs what such a class inherits; `plk plugins check mine` runs the same without pytest.
"""

from pseudolabel_kit.testing.backbone import BackboneConformance
from pseudolabel_kit.testing.dataset import DatasetConformance
from pseudolabel_kit.testing.explainer import ExplainerConformance
from pseudolabel_kit.testing.fault import ConformanceError
from pseudolabel_kit.testing.fuser import FuserConformance
from pseudolabel_kit.testing.perturbation import PerturbationConformance
from pseudolabel_kit.testing.recipe import RecipeConformance
from pseudolabel_kit.testing.samples import (
    make_batch,
    make_evidence,
    make_model,
    make_prediction,
    make_pseudo,
    make_task,
    make_view,
)
from pseudolabel_kit.testing.tracker import TrackerConformance

__all__ = [
    "BackboneConformance",
    "ConformanceError",
    "DatasetConformance",
    "ExplainerConformance",
    "FuserConformance",
    "PerturbationConformance",
    "RecipeConformance",
    "TrackerConformance",
    "make_batch",
    "make_evidence",
    "make_model",
    "make_prediction",
    "make_pseudo",
    "make_task",
    "make_view",
]

"""A frozen model that is asked about altered images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pseudolabel_kit.attribution import Baseline, ClassScores, baseline_of
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.label import predict
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.seeding import derived_seed, seed_everything
from pseudolabel_kit.evidence import target_class
from pseudolabel_kit.explanations.fields import smooth_fields
from pseudolabel_kit.explanations.infidelity import infidelity
from pseudolabel_kit.explanations.removal import area, curve, ranks
from pseudolabel_kit.explanations.sensitivity import sensitivity
from pseudolabel_kit.interfaces import Explainer, Prediction


@dataclass(frozen=True, kw_only=True)
class Asker:
    """How images are altered, and the model that answers.

    Attributes:
        steps: portions of pixels in which an image is taken apart.
        baseline: what a removed pixel becomes, and from what insertion begins; None = the image's
            mean for the one and the blurred image for the other, as in RISE (Petsiuk et al., 2018).
    """

    predictor: Predictor
    steps: int
    baseline: Baseline | None = None

    @property
    def seed(self) -> int:
        """Of fields, squares and noise: the run's."""
        return derived_seed(self.predictor.config.train.seed, "explanations")

    def faithful(
        self, images: Tensor, prediction: Prediction, maps: Tensor, names: Sequence[str], draws: int
    ) -> Iterator[tuple[str, Tensor]]:
        """Deletion, insertion and infidelity of maps (B,H,W), where the model classifies.

        Args:
            names: of the rows; a row's random fields hang on its name.
            draws: in how many orders pixels that are alike are taken; the areas are their means.
        """
        if prediction.class_logits is None:
            return
        task = self.predictor.task
        label = target_class("lesion", prediction.class_logits, task)[:, None]
        removed = baseline_of(images, self.baseline or "mean")
        begun = baseline_of(images, self.baseline or "blur")

        def logit(images: Tensor) -> Tensor:
            return self._classes(images).gather(1, label)[:, 0]

        def probability(images: Tensor) -> Tensor:
            return self._classes(images).softmax(dim=1).gather(1, label)[:, 0]

        orders = [ranks(maps, self._ties(maps, names, draw)) for draw in range(draws)]
        for name, start, end in (("deletion", images, removed), ("insertion", begun, images)):
            drawn = [curve(probability, start, end, order, self.steps) for order in orders]
            found = torch.stack(drawn).mean(dim=0)
            yield f"curve/{name}", found
            yield name, area(found)
        yield "infidelity", infidelity(logit, maps, images, removed, self.seed)

    def sensitive(self, images: Tensor, explainer: Explainer) -> Tensor:
        """Sensitivity (B,) of an explainer on images (B,C,H,W)."""
        method, model = self.predictor.method, self.predictor.model
        debias = self.predictor.config.loss.debias

        def explain(images: Tensor) -> Tensor:
            prediction = predict(model, images, method, debias=debias)
            return guard.explain(explainer, model, images, prediction).map.float()

        seed_everything(self.seed)  # for explainers that draw
        return sensitivity(explain, images, self.seed)

    def _ties(self, maps: Tensor, names: Sequence[str], draw: int) -> Tensor:
        seeds = [derived_seed(self.seed, name, draw) for name in names]
        return smooth_fields((maps.shape[1], maps.shape[2]), seeds).to(maps.device)

    def _classes(self, images: Tensor) -> Tensor:
        model = self.predictor.model
        with torch.no_grad(), guard.called(self.predictor.method.backbone, "classify"):
            scores: Tensor = ClassScores(model)(images)  # type: ignore[arg-type]
            return scores.float()

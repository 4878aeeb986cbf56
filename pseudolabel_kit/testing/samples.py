"""Small inputs, the same in every process: tasks, batches, predictions, evidence, a network.

All are drawn from their own generator, so that torch's global one is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Batch, Evidence, Prediction, PseudoLabels, Scale, Task, View

SIZE = (32, 37)  # the least height of the shipped backbones, and an odd width
WIDTHS = (8, 12)  # of the two scales


def make_task(
    channels: int = 1, masks: int = 1, size: tuple[int, int] = SIZE, classes: int = 3
) -> Task:
    """Grey images of three classes, of which the last can hold lesions; w = 0.5."""
    return Task(
        channels=channels,
        size=size,
        classes=("np", "cap", "covid", "other")[:classes],
        lesion_classes=(classes - 1,),
        mask_channels=masks,
        background_weight=0.5,
    )


GREY = make_task()
COLOUR = make_task(channels=3, masks=2, size=(33, 32), classes=2)
TASKS = (GREY, COLOUR)


def make_batch(rows: int = 3, task: Task | None = None, seed: int = 0) -> Batch:
    """Noise images; every second row lacks its label, all have masks."""
    task = task or make_task()
    rng = torch.Generator().manual_seed(seed)
    return Batch(
        image=torch.rand(rows, task.channels, *task.size, generator=rng),
        label=torch.randint(len(task.classes), (rows,), generator=rng),
        mask=torch.rand(rows, task.mask_channels, *task.size, generator=rng).round(),
        has_label=torch.arange(rows) % 2 == 0,
        has_mask=torch.ones(rows, dtype=torch.bool),
    )


def make_prediction(rows: int = 3, task: Task | None = None, seed: int = 0) -> Prediction:
    """Random logits and two random scales, without a network."""
    task = task or make_task()
    classes, rng = len(task.classes), torch.Generator().manual_seed(seed)
    return Prediction(
        class_logits=torch.randn(rows, classes, generator=rng),
        mask_logits=3 * torch.randn(rows, task.mask_channels, *task.size, generator=rng),
        scales=tuple(
            Scale(
                features=torch.randn(rows, width, side, side, generator=rng),
                weight=torch.randn(classes, width, generator=rng),
            )
            for width, side in zip(WIDTHS, (8, 4), strict=True)
        ),
    )


def make_evidence(rows: int = 3, task: Task | None = None, seed: int = 0) -> dict[str, Evidence]:
    """A random class map for each mask channel, a random attribution, a random uncertainty."""
    task = task or make_task()
    rng = torch.Generator().manual_seed(seed)
    class_map = torch.rand(rows, task.mask_channels, *task.size, generator=rng)
    attribution, uncertainty = torch.rand(2, rows, 1, *task.size, generator=rng)
    return {
        "caam": Evidence(map=class_map, family="class-map"),
        "ig": Evidence(map=attribution, family="attribution"),
        "uncertainty": Evidence(map=uncertainty, family="uncertainty"),
    }


def make_pseudo(rows: int = 3, task: Task | None = None, seed: int = 0) -> PseudoLabels:
    """Soft masks and soft classes, with weights in [0, 1]."""
    task = task or make_task()
    rng = torch.Generator().manual_seed(seed)
    return PseudoLabels(
        mask=torch.rand(rows, task.mask_channels, *task.size, generator=rng),
        mask_weight=torch.rand(rows, 1, *task.size, generator=rng),
        label=torch.randn(rows, len(task.classes), generator=rng).softmax(dim=1),
        label_weight=torch.rand(rows, generator=rng),
    )


def make_view(rows: int = 3, task: Task | None = None, seed: int = 0) -> View:
    """Unlabelled rows with pseudo labels."""
    return View(batch=make_batch(rows, task, seed), pseudo=make_pseudo(rows, task, seed))


def make_model(task: Task | None = None, seed: int = 0) -> TinyNet:
    """A network of two convolutions that keeps the `Model` protocol, in eval mode."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return TinyNet(task or make_task()).eval()


def detached(prediction: Prediction) -> Prediction:
    """The prediction as parts are handed it: without gradients."""
    found = prediction
    return Prediction(
        class_logits=None if found.class_logits is None else found.class_logits.detach(),
        mask_logits=None if found.mask_logits is None else found.mask_logits.detach(),
        scales=tuple(
            Scale(features=s.features.detach(), weight=s.weight.detach()) for s in found.scales
        ),
        sides=tuple(side.detach() for side in found.sides),
    )


class TinyNet(nn.Module):
    """Two scales, a linear head on each, a decoder of one layer; also a norm and a dropout."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        few, many = WIDTHS
        self.shallow = nn.Sequential(
            nn.Conv2d(task.channels, few, 3, padding=1), nn.BatchNorm2d(few), nn.ReLU()
        )
        self.deep = nn.Sequential(nn.Conv2d(few, many, 3, padding=1), nn.ReLU())
        self.heads = nn.ModuleList(nn.Conv2d(width, len(task.classes), 1) for width in WIDTHS)
        self.dropout = nn.Dropout(0.5)
        self.mask_head = nn.Conv2d(few + many, task.mask_channels, 1)

    def forward(
        self,
        images: Tensor,
        on_features: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None,
    ) -> Prediction:
        """Class logits (B,N), mask logits (B,K,H,W) and both scales."""
        features = self._encode(images)
        shallow, deep = on_features(features) if on_features else features
        grown = F.interpolate(deep, shallow.shape[-2:], mode="bilinear")
        return Prediction(
            class_logits=self._score(features),
            mask_logits=self.mask_head(self.dropout(torch.cat((shallow, grown), dim=1))),
            scales=tuple(
                Scale(features=f, weight=head.get_parameter("weight")[:, :, 0, 0])
                for f, head in zip(features, self.heads, strict=True)
            ),
        )

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N) alone."""
        return self._score(self._encode(images))

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        shallow = self.shallow(images)
        return shallow, self.deep(F.max_pool2d(shallow, 2, ceil_mode=True))

    def _score(self, features: tuple[Tensor, Tensor]) -> Tensor:
        maps = [head(f).amax(dim=(2, 3)) for f, head in zip(features, self.heads, strict=True)]
        return torch.stack(maps).sum(dim=0)

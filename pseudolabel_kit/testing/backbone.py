"""What a backbone and the network that it builds owe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from inspect import signature
from typing import Any, ClassVar, cast

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pseudolabel_kit.interfaces import Batch, Model, Prediction, PseudoLabels, Task
from pseudolabel_kit.losses import consistency
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.testing import rules
from pseudolabel_kit.testing.calls import ROWS, Arguments, RowConformance
from pseudolabel_kit.testing.fault import require, sound
from pseudolabel_kit.testing.learning import garbled, gradients
from pseudolabel_kit.testing.samples import make_batch, make_pseudo, make_task
from pseudolabel_kit.testing.witness import seeded, tensors, unedited, untouched

HEADS = ("classification", "segmentation")
SMALL = (make_task(size=(64, 69)), make_task(channels=3, masks=2, size=(65, 64), classes=2))


class BackboneConformance(RowConformance):
    """`build` and `loss`: a network that keeps the `Model` protocol and learns from its terms.

    Networks are called in eval mode, except where they learn.
    """

    kind: ClassVar[Kind] = "backbone"
    call: ClassVar[str] = "build"
    tasks: ClassVar[tuple[Task, ...]] = SMALL
    tiny: ClassVar[tuple[tuple[int, int], ...]] = ((32, 37), (8, 8), (1, 1))

    def arguments(self, task: Task, rows: int = ROWS, seed: int = 0) -> Arguments:
        """Noise images."""
        return {"images": make_batch(rows, task, seed).image}

    def flat(self, task: Task) -> list[Arguments]:
        """Black, grey and white images."""
        black = torch.zeros(2, task.channels, *task.size)
        return [{"images": black + value} for value in (0.0, 0.5, 1.0)]

    def work(self, part: Any, arguments: Arguments) -> Callable[[], Any]:
        """A forward pass of a newly built network, in eval mode and without gradients."""
        network = self.network(part)

        def forward() -> Any:
            with torch.no_grad():
                return network(**arguments)

        return forward

    def network(self, part: Any) -> nn.Module:
        """A network that was built under seed 0, in eval mode."""
        seeded()
        with sound("build"):
            network = part.build(part.task)
        require(
            isinstance(network, nn.Module), f"build gave {network!r}", "return a torch.nn.Module"
        )
        return cast(nn.Module, network).eval()

    def sane(self, answer: Any, rows: int, task: Task) -> None:
        """A prediction by the contract; in half precision its logits may be halves."""
        require(
            isinstance(answer, Prediction),
            f"the model answered with a {type(answer).__name__}",
            "return Prediction(class_logits=..., mask_logits=...)",
        )
        heads = {
            "class_logits": (rows, len(task.classes)),
            "mask_logits": (rows, task.mask_channels, *task.size),
        }
        found = {name: getattr(answer, name) for name in heads}
        require(
            any(head is not None for head in found.values()),
            "the model neither classifies nor segments",
            "give class_logits (B,N), mask_logits (B,K,H,W), or both",
        )
        for name, head in found.items():
            if head is not None:
                rules.tensor(name, head.float(), heads[name])
        for number, scale in enumerate(answer.scales):
            _sane_scale(f"scales[{number}]", scale.features, scale.weight, rows, task)
        for number, side in enumerate(answer.sides):
            require(
                len(side) == rows,
                f"sides[{number}] has shape {tuple(side.shape)}",
                "keep the rows as the first axis: perturbed views are cut out of it",
            )

    def test_classify_is_the_class_head(self) -> None:
        """`classify` gives the class logits of the whole forward pass."""
        for task in self.tasks:
            network = self.network(self.begun(task))
            images = self.arguments(task)["images"]
            with torch.no_grad(), sound("classify"):
                logits = network(images).class_logits
                if logits is None:
                    return
                require(
                    hasattr(network, "classify"),
                    "the model classifies but has no classify(images)",
                    "add classify(images) -> class logits (B,N), without the decoder",
                )
                alone = cast(Model, network).classify(images)
            require(
                torch.allclose(logits, alone, atol=1e-4),
                "classify(images) differs from forward(images).class_logits",
                "let both go through the same layers",
            )

    def test_the_same_seed_builds_the_same_network(self) -> None:
        """Weights are drawn from torch's generator, and from nothing else."""
        task = self.tasks[0]
        one, other = (self.network(self.begun(task)).state_dict() for _ in range(2))
        require(
            one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one),
            "two networks that were built under one seed differ",
            "initialise from torch's global generator alone",
        )

    def test_eval_mode_leaves_the_network_alone(self) -> None:
        """In eval mode a forward pass changes neither buffers nor anything else."""
        task = self.tasks[0]
        network = self.network(self.begun(task))
        with untouched("forward", network), torch.no_grad(), sound("forward"):
            network(**self.arguments(task))

    def test_a_network_can_be_copied_and_saved(self) -> None:
        """A copy, and a network that loads its weights, answer alike."""
        task = self.tasks[0]
        part = self.begun(task)
        network, images = self.network(part), self.arguments(task)["images"]
        lazy = [name for name, each in network.named_parameters() if is_lazy(each)]
        require(
            not lazy,
            f"parameter '{', '.join(lazy)[:60]}' has no shape until the first forward pass",
            "give every layer its sizes: averages and copies are made before the first pass",
        )
        with sound("copying and saving the network"), torch.no_grad():
            copy = deepcopy(network)
            torch.manual_seed(1)
            other = part.build(task).eval()
            flat = {name: t.detach().clone() for name, t in network.state_dict().items()}
            other.load_state_dict(load(save(flat)))
            expected = tensors(network(images))
            for name, found in {
                "a copy": copy(images),
                "a restored network": other(images),
            }.items():
                same = all(torch.equal(expected[k], t) for k, t in tensors(found).items())
                require(
                    same,
                    f"{name} answers otherwise than the network",
                    "keep everything that decides an answer in parameters and buffers",
                )

    def test_feature_maps_can_be_changed_where_it_says_so(self) -> None:
        """A forward pass with `on_features` hands over maps (B,D,h,w) and uses what comes back."""
        task = self.tasks[0]
        network, images = self.network(self.begun(task)), self.arguments(task)["images"]
        if "on_features" not in signature(network.forward).parameters:
            return
        seen: list[tuple[int, ...]] = []

        def look(features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.extend(tuple(each.shape) for each in features)
            return features

        with torch.no_grad(), sound("forward with on_features"):
            plain, kept = network(images), network(images, on_features=look)
            blank = network(images, on_features=lambda fs: tuple(torch.zeros_like(f) for f in fs))
        maps = bool(seen) and all(len(shape) == 4 and shape[0] == ROWS for shape in seen)
        require(maps, f"on_features was handed {seen}", "hand it a tuple of maps (B,D,h,w)")
        require(
            torch.equal(plain.mask_logits, kept.mask_logits)
            and not torch.equal(plain.mask_logits, blank.mask_logits),
            "what on_features returns is not what the decoder reads",
            "call features = on_features(features) between encoder and decoder",
        )

    def test_its_loss_teaches_rows_with_a_truth_alone(self) -> None:
        """Terms have known names, are finite, and do not read labels and masks that are missing."""
        for task in self.tasks:
            batch = make_batch(ROWS, task)
            batch = replace(batch, has_mask=torch.arange(ROWS) < ROWS - 1)
            one, other = (self._taught(task, each)[1] for each in (batch, garbled(batch)))
            require(
                all(torch.allclose(one[name], other[name], atol=1e-5) for name in one),
                "loss reads the label or mask of rows that have none",
                "multiply by batch.has_label or batch.has_mask, in total and in count",
            )

    def test_every_weight_learns(self) -> None:
        """Every trainable parameter gets a gradient from the supervised terms or from L_u."""
        task = self.tasks[0]
        network, found = self._taught(task, make_batch(ROWS, task))
        trainable = [name for name, each in network.named_parameters() if each.requires_grad]
        idle = [name for n, name in enumerate(trainable) if f"gradient {n}" not in found]
        require(
            not idle,
            f"no loss reaches {len(idle)} parameters, '{idle[0] if idle else ''}' among them",
            "use them in forward, give them a term in loss, or freeze them",
        )

    def _taught(self, task: Task, batch: Batch) -> tuple[nn.Module, dict[str, Tensor]]:
        """A network in training mode, its terms, and the gradients of its trainable weights."""
        part = self.begun(task)
        network = self.network(part).train()
        seeded()
        with sound("loss"):
            prediction = network(batch.image)
            with unedited("loss", prediction=prediction, batch=batch):
                terms: Mapping[str, Any] = rules.terms("loss", part.loss(prediction, batch))
        for name in terms:
            require(
                name.partition(".")[0] in HEADS,
                f"loss term '{name}' has no weight in a run",
                f"begin its name with {' or '.join(HEADS)}, as in 'segmentation.edge'",
            )
        sums = [term.total.sum() for term in terms.values()]
        unlabelled = _consistency(prediction, task)
        leaves = [each for each in network.parameters() if each.requires_grad]
        found = tensors(terms) | gradients(torch.stack(sums + unlabelled).sum(), leaves, "loss")
        return network, found


def _consistency(prediction: Prediction, task: Task) -> list[Tensor]:
    """L_u for the heads that there are."""
    pseudo: PseudoLabels = make_pseudo(ROWS, task)
    if prediction.mask_logits is None:
        pseudo = replace(pseudo, mask=None, mask_weight=None)
    if prediction.class_logits is None:
        pseudo = replace(pseudo, label=None, label_weight=None)
    terms = consistency(prediction, pseudo, background_weight=1.0)
    return [term.total.sum() for term in terms.values()]


def _sane_scale(name: str, features: Tensor, weight: Tensor, rows: int, task: Task) -> None:
    width = features.shape[1] if features.ndim == 4 else -1
    require(
        features.ndim == 4 and len(features) == rows,
        f"{name}.features has shape {tuple(features.shape)}, expected (B,D,h,w)",
        "give the feature map that the linear head classifies",
    )
    require(
        tuple(weight.shape) == (len(task.classes), width),
        f"{name}.weight has shape {tuple(weight.shape)}, expected {(len(task.classes), width)}",
        "give the head's weight (N,D), without its bias",
    )

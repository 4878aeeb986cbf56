"""What the network that a backbone builds owes, before it has learned anything."""

from __future__ import annotations

from copy import deepcopy
from inspect import signature
from typing import Any, ClassVar, cast

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pseudolabel_kit.engine.contract import head_shapes
from pseudolabel_kit.interfaces import Model, Prediction, Task
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.testing import rules
from pseudolabel_kit.testing.answers import ROWS, apart, same
from pseudolabel_kit.testing.calls import Arguments, Call
from pseudolabel_kit.testing.fault import ConformanceError, require, sound, where
from pseudolabel_kit.testing.learning import (
    stir,
)
from pseudolabel_kit.testing.rows import RowConformance
from pseudolabel_kit.testing.samples import make_batch, make_task
from pseudolabel_kit.testing.settings import restored, seeded, settings_kept
from pseudolabel_kit.testing.witness import untouched

STIRRED = (0.1, 0.3, 1.0, 3.0, 10.0)  # deep networks overflow where shallow ones wake up
SMALL = (make_task(size=(64, 69)), make_task(channels=3, masks=2, size=(65, 64), classes=2))


class NetworkConformance(RowConformance):
    """`build`: a network that keeps the `Model` protocol. It is called in eval mode."""

    kind: ClassVar[Kind] = "backbone"
    call: ClassVar[str] = "forward"
    tasks: ClassVar[tuple[Task, ...]] = SMALL
    tiny: ClassVar[tuple[tuple[int, int], ...]] = ((32, 37), (8, 8), (1, 1))

    def arguments(self, task: Task, rows: int = ROWS, seed: int = 0) -> Arguments:
        """Noise images."""
        return {"images": make_batch(rows, task, seed).image}

    def flat(self, task: Task) -> list[Arguments]:
        """Black, grey and white images."""
        black = torch.zeros(2, task.channels, *task.size)
        return [{"images": black + value} for value in (0.0, 0.5, 1.0)]

    def ready(self, part: Any) -> Call:
        """A forward pass of a newly built network, in eval mode and without gradients."""
        return torch.no_grad()(self._network(part))

    def _network(self, part: Any) -> nn.Module:
        """A newly built network, always under the same seed, in eval mode."""
        seeded()
        with sound("build", part):
            network = part.build(part.task)
        if not isinstance(network, nn.Module):
            raise ConformanceError(f"build gave {network!r:.60}", "return a torch.nn.Module")
        return network.eval()

    def sane(self, answer: Any, rows: int, task: Task) -> None:
        """A prediction by the contract; in half precision its logits may be halves."""
        require(
            isinstance(answer, Prediction),
            f"the model answered with a {type(answer).__name__}",
            "return Prediction(class_logits=..., mask_logits=...)",
        )
        shapes = head_shapes(task, rows, *task.size)
        found = {name: getattr(answer, name) for name in shapes}
        require(
            any(head is not None for head in found.values()),
            "the model neither classifies nor segments",
            "give class_logits (B,N), mask_logits (B,K,H,W), or both",
        )
        for name, head in found.items():
            if isinstance(head, Tensor) and head.is_floating_point():
                head = head.float()
            if head is not None:
                rules.tensor(name, head, shapes[name])
        for number, scale in enumerate(answer.scales):
            rules.scale(f"scales[{number}]", scale, rows, task)
        for number, side in enumerate(answer.sides):
            require(
                side.ndim > 0 and len(side) == rows,
                f"sides[{number}] has shape {tuple(side.shape)}, expected {rows} rows",
                "keep the rows as the first axis: perturbed views are cut out of it",
            )

    def test_the_same_answer_twice(self) -> None:
        """In eval mode the same images give the same answer, whatever the seed."""
        task = self.tasks[0]
        network, images = self._network(self.begun(task)), self.arguments(task)["images"]
        with restored(), torch.no_grad(), sound("forward", self.part()):
            one, other = network(images), network(images)
        require(
            same(one, other),
            f"in eval mode the network answered the same images in two ways{apart(one, other)}",
            "draw nothing in eval mode: F.dropout(x, training=self.training), or nn.Dropout",
        )

    def test_the_same_seed_builds_the_same_network(self) -> None:
        """Weights are drawn from torch's generator, and from nothing else."""
        task = self.tasks[0]
        parts = [self.begun(task) for _ in range(2)]
        seeded()
        with settings_kept("build"):
            networks = [self._network(part) for part in parts]
        for network in networks:
            self._answer_of(network, task)  # lazy modules draw their weights here
        one, other = (network.state_dict() for network in networks)
        require(
            same(one, other),
            f"two networks that were built under one seed differ{apart(one, other):.200}",
            "initialise from torch's global generator alone",
        )

    def test_classify_is_the_class_head(self) -> None:
        """`classify` gives the class logits of the whole forward pass."""
        for task in self.tasks:
            network, images = self._network(self.begun(task)), self.arguments(task)["images"]
            if (logits := self._answer_of(network, task).class_logits) is None:
                return
            require(
                hasattr(network, "classify"),
                "the model classifies but has no classify(images)",
                "add classify(images) -> class logits (B,N), without the decoder",
            )
            seeded()
            with restored(), torch.no_grad(), sound("classify", self.part()):
                alone = cast(Model, network).classify(images)
            require(
                same(logits, alone, 1e-4),
                f"classify(images) differs from forward(images).class_logits{apart(logits, alone)}",
                "let both go through the same layers",
            )

    def test_the_predicted_class_can_be_explained(self) -> None:
        """The class logits of `classify` can be differentiated by the images."""
        task = self.tasks[0]
        network = self._network(self.begun(task))
        if self._answer_of(network, task).class_logits is None or not hasattr(network, "classify"):
            return
        images = self.arguments(task)["images"].requires_grad_()
        with restored(), isolated(network), sound("classify", self.part()):
            score = cast(Model, network).classify(images).amax(dim=1).sum()
            reached = torch.autograd.grad(score, images) if score.requires_grad else ()
        require(
            any(bool(slope.isfinite().all() and slope.any()) for slope in reached),
            "classify(images) has no finite slope by the images: no explainer can read it",
            "use no torch.no_grad(), detach(), argmax or threshold between images and logits",
        )

    def _answer_of(self, network: nn.Module, task: Task, **more: Any) -> Prediction:
        """A network's answer to noise images."""
        with restored():
            return self.ask(torch.no_grad()(network), {**self.arguments(task), **more})  # type: ignore[no-any-return]

    def test_heads_give_logits(self) -> None:
        """Logits come out of the heads: no sigmoid and no softmax has been at them."""
        task = self.tasks[0]
        network = self._network(self.begun(task))
        squashed = {"class_logits": "softmax", "mask_logits": "sigmoid"}
        for far in STIRRED:
            answer = self._answer_of(network, task)
            squashed = {n: f for n, f in squashed.items() if _stays(getattr(answer, n))}
            stir(network, far)
        for head, function in squashed.items():
            raise ConformanceError(
                f"{head} stay in [0, 1] whatever the weights are: they are probabilities",
                f"leave out the last {function}: losses and fusers apply it themselves",
            )

    def test_eval_mode_leaves_the_network_alone(self) -> None:
        """In eval mode a forward pass changes neither buffers nor anything else."""
        task = self.tasks[0]
        network = self._network(self.begun(task))
        self._answer_of(network, task)  # lazy modules get their shapes here
        with untouched("forward", network):
            self._answer_of(network, task)

    def test_a_network_can_be_copied_and_saved(self) -> None:
        """A copy, and a network that loads its weights, answer alike."""
        task = self.tasks[0]
        part = self.begun(task)
        network = self._network(part)
        lazy = [name for name, each in network.named_parameters() if is_lazy(each)]
        require(
            not lazy,
            f"parameter '{', '.join(lazy):.60}' has no shape until the first forward pass",
            "give every layer its sizes: averages and copies are made before the first pass",
        )
        with sound("copying and saving the network", part):
            torch.manual_seed(1)  # what is not saved is drawn otherwise
            other = part.build(task).eval()
            copy = deepcopy(network)
            flat = {name: t.detach().clone() for name, t in network.state_dict().items()}
            other.load_state_dict(load(save(flat)))
        expected = self._answer_of(network, task)
        for name, each in {"a copy": copy, "a restored network": other}.items():
            found = self._answer_of(each, task)
            self._agree(
                expected,
                found,
                f"{name} answers otherwise than the network",
                "keep everything that decides an answer in parameters and buffers: "
                "self.register_buffer(name, tensor)",
            )

    def test_feature_maps_can_be_changed_where_it_says_so(self) -> None:
        """A forward pass with `on_features` hands over maps (B,D,h,w) and uses what comes back."""
        task = self.tasks[0]
        network = self._network(self.begun(task))
        if "on_features" not in signature(network.forward).parameters:
            return
        seen: list[tuple[int, ...]] = []

        def look(features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.extend(tuple(each.shape) for each in features)
            return features

        def blank(features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(torch.zeros_like(each) for each in features)

        with where("with on_features"):
            plain, kept, changed = (
                self._answer_of(network, task, **more)
                for more in ({}, {"on_features": look}, {"on_features": blank})
            )
        maps = bool(seen) and all(len(shape) == 4 and shape[0] == ROWS for shape in seen)
        require(maps, f"on_features was handed {seen}", "hand it a tuple of maps (B,D,h,w)")
        require(
            same(plain, kept) and not same(plain, changed),
            "what on_features returns is not what the decoder reads",
            "call features = on_features(features) between encoder and decoder",
        )


def _stays(head: Tensor | None) -> bool:
    return head is not None and not bool(((head < 0) | (head > 1)).any())

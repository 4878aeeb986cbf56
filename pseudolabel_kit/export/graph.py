"""A run's network as a graph of plain operations: images in, probabilities out."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._python_dispatch import TorchDispatchMode

from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Task
from pseudolabel_kit.losses import unbiased

INPUT = "image"
CLASSES, MASKS = "class_probability", "mask_probability"
PLACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node")


class Probabilities(nn.Module):
    """What `plk predict` computes of images (B,C,H,W) in [0, 1], in 32 bits on the CPU.

    Its answer has `class_probability` (B,N) and `mask_probability` (B,K,H,W), the background
    weight undone; a network that lacks a head has the other one alone.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model.cpu().float().eval().requires_grad_(False)
        self.task = task

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Answer."""
        prediction = self.model(image)
        found = {}
        if prediction.class_logits is not None:
            found[CLASSES] = prediction.class_logits.softmax(dim=1)
        if prediction.mask_logits is not None:
            weight = self.task.background_weight
            found[MASKS] = unbiased(prediction.mask_logits, weight).sigmoid()
        return found


def traced(network: Probabilities, backbone: str) -> ExportedProgram:
    """The network as a graph for any number of images, without the places of its source files.

    Raises:
        RunError: it holds an operation that torch cannot trace; names it and the backbone.
    """
    task = network.task
    two = torch.rand(2, task.channels, *task.size)  # one would be taken for a constant
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # what matters shows when the answers are compared
            program = torch.export.export(
                network, (two,), dynamic_shapes=({0: Dim("batch")},), strict=False
            )
    except Exception as error:  # whatever a stranger's network meets in the tracer
        raise RunError(
            f"{backbone} cannot be exported: {_gradient(network, two) or first_line(error)}"
        ) from error
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            for place in PLACES:
                node.meta.pop(place, None)
    return program


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class _Gradients(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the first operation that belongs to a gradient."""

    found = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if not self.found and "backward" in str(func):
            self.found = str(func)
        return func(*args, **(kwargs or {}))


def _gradient(network: nn.Module, images: Tensor) -> str:
    """Names the gradient that a network takes on its way forward, if it does."""
    with torch.no_grad(), _Gradients() as seen:  # type: ignore[no-untyped-call]
        network(images)
    return seen.found and f"its forward takes a gradient ({seen.found}), which no tracer follows"

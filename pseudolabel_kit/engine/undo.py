"""Taking back what a failure has left half done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

COPIED = 8 * 2**20  # bytes of buffers that are copied before each step, the smallest first


class Undo:
    """What was taken back.

    Attributes:
        whole: false once something had changed that was not copied: it stays as the failure left
            it. Writing through `.data` is not noticed.
    """

    whole = True


@contextmanager
def undone(module: nn.Module, *watched: nn.Module) -> Iterator[Undo]:
    """If the block fails, the module's buffers and gradients are as they were before.

    Copying weights or a large memory would take as long as a step: they are watched only, and
    so are the weights of the `watched` modules.
    """
    buffers = [
        (owner._buffers, name, buffer)
        for owner in module.modules()
        for name, buffer in owner._buffers.items()
    ]
    small, large = _by_size(buffer for _, _, buffer in buffers if buffer is not None)
    copies = [(buffer, buffer.detach().clone()) for buffer in small]
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    weights = (parameter for each in (module, *watched) for parameter in each.parameters())
    untouched, undo = _watch([*large, *weights]), Undo()
    try:
        yield undo
    except BaseException:  # an interrupt, too
        undo.whole = untouched()
        for owner, name, buffer in buffers:
            owner[name] = buffer  # a part may have put another in its place
        for buffer, copy in copies:
            buffer.data = copy
        for parameter, gradient in gradients:
            parameter.grad = gradient
        raise


def _by_size(buffers: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Those that are copied, and those that are too large together with all smaller ones."""
    unique = {id(buffer): buffer for buffer in buffers}.values()
    small, large, size = list[Tensor](), list[Tensor](), 0
    for buffer in sorted(unique, key=lambda each: each.nbytes):
        size += buffer.nbytes
        (small if size <= COPIED else large).append(buffer)
    return small, large


def _watch(tensors: Iterable[Tensor]) -> Callable[[], bool]:
    """A function that says whether nobody has written to these tensors since."""
    before = [(tensor, tensor._version) for tensor in tensors]
    return lambda: all(tensor._version == version for tensor, version in before)


def random_state(model: nn.Module) -> Callable[[], None]:
    """A function that puts torch's generators back to where they are now."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    cpu = torch.get_rng_state()
    own = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state()

    def put_back() -> None:
        torch.set_rng_state(cpu)
        if own is not None:
            torch.get_device_module(device).set_rng_state(own)

    return put_back

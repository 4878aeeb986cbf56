"""Taking back what a failure has left half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def undone(module: nn.Module) -> Iterator[None]:
    """If the block fails, the module's buffers and gradients are as they were before."""
    buffers = [
        (owner._buffers, name, buffer, None if buffer is None else buffer.detach().clone())
        for owner in module.modules()
        for name, buffer in owner._buffers.items()
    ]
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    try:
        yield
    except BaseException:  # an interrupt, too
        for owner, name, buffer, copy in buffers:
            owner[name] = buffer  # a part may have put another in its place
            if buffer is not None and copy is not None:
                buffer.data = copy
        for parameter, gradient in gradients:
            parameter.grad = gradient
        raise


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

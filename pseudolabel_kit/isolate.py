"""Lending a model to foreign code, and getting it back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


@contextmanager
def isolated(model: Net) -> Iterator[Net]:
    """The model in eval mode and without trainable parameters, for as long as the block lasts.

    Afterwards, also after an exception, every submodule is in its place and in its mode, every
    parameter is in its place with its `.grad` and `requires_grad`, and all module hooks and all
    buffers are as they were. Inside, buffers are copies and `.grad` is None, so that not even
    in-place changes reach the originals. The parameters' values are neither copied nor guarded.

    >>> model = nn.Linear(1, 1)
    >>> with isolated(model):
    ...     model.training, model.weight.requires_grad
    (False, False)
    >>> model.training, model.weight.requires_grad
    (True, True)
    """
    with ExitStack() as undo:
        copies: dict[int, Tensor] = {}
        for parameter in model.parameters():
            undo.callback(_restore_parameter, parameter, parameter.grad, parameter.requires_grad)
            parameter.grad = None
            parameter.requires_grad_(False)
        for module in model.modules():
            undo.callback(_restore_module, module, module.training, _hooks(module))
            for table in (module._modules, module._parameters, module._buffers):
                undo.callback(_restore_dict, table, dict(table))
            for name, buffer in module._buffers.items():
                if buffer is not None:  # a buffer that two modules share stays one
                    module._buffers[name] = copies.setdefault(id(buffer), buffer.detach().clone())
        model.eval()
        yield model


def _restore_parameter(parameter: nn.Parameter, grad: Tensor | None, trainable: bool) -> None:
    parameter.grad = grad
    parameter.requires_grad_(trainable)


def _restore_module(module: nn.Module, training: bool, hooks: dict[str, Any]) -> None:
    module.training = training
    for name, before in hooks.items():
        if isinstance(before, dict):  # in place: a hook's handle points at this very dict
            _restore_dict(getattr(module, name), before)
        else:
            setattr(module, name, before)


def _restore_dict(now: dict[Any, Any], before: dict[Any, Any]) -> None:
    now.clear()
    now.update(before)


def _hooks(module: nn.Module) -> dict[str, Any]:
    """The module's hook tables (copied) and hook flags, by attribute."""
    found = {name: value for name, value in vars(module).items() if "hook" in name}
    return {k: v.copy() if isinstance(v, dict) else v for k, v in found.items()}

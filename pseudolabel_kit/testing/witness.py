"""Witnesses: what a part may not change, looked at before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pseudolabel_kit.testing.fault import require

ITS_OWN = frozenset({"training", "_parameters", "_buffers", "_modules"})  # looked at by name
FIXES = {
    "mode": "never call train() or eval(): the model comes in eval mode",
    "grad": "use torch.autograd.grad(score, images) in place of backward()",
    "requires_grad": "leave requires_grad alone: parameters come without gradients",
    "hooks": "remove every hook that you register, also when something raises",
    "buffer": "leave buffers alone, and load no state into the model",
    "weight": "leave weights alone: work on a copy of the model",
    "layer": "replace layers of a copy of the model: copy.deepcopy(model)",
    "attributes": "change attributes of a copy of the model: copy.deepcopy(model)",
}


def tensors(thing: object, name: str = "") -> dict[str, Tensor]:
    """Every tensor within a dataclass, mapping or sequence, by its path."""
    if isinstance(thing, Tensor):
        return {name: thing}
    if isinstance(thing, Mapping):
        inner = {f"{name}[{key!r}]" if name else str(key): value for key, value in thing.items()}
    elif is_dataclass(thing) and not isinstance(thing, type):
        inner = {f"{name}.{f.name}".strip("."): getattr(thing, f.name) for f in fields(thing)}
    elif isinstance(thing, tuple | list):
        inner = {f"{name}[{number}]": value for number, value in enumerate(thing)}
    else:
        return {}
    return {
        path: found for key, value in inner.items() for path, found in tensors(value, key).items()
    }


@contextmanager
def unedited(call: str, **given: object) -> Iterator[None]:
    """Nothing that the part was handed may have changed when the block ends.

    Raises:
        ConformanceError: a tensor was edited, added or taken away; it names the tensor.
    """
    before = {name: (t.detach().clone(), t.requires_grad) for name, t in tensors(given).items()}
    yield
    now = tensors(given)
    for name in {**before, **now}:
        require(
            name in before and name in now,
            f"{call} {'added' if name in now else 'took away'} {name}",
            "leave what you are given as it is: dict(evidence) is a copy",
        )
        require(
            torch.equal(before[name][0], now[name].detach()),
            f"{call} edited {name} in place",
            "work on a copy: x = x.clone(), or use the form without a trailing underscore",
        )
        require(
            before[name][1] == now[name].requires_grad,
            f"{call} changed requires_grad of {name}",
            "work on a copy: x = x.detach().clone().requires_grad_()",
        )


@contextmanager
def untouched(call: str, model: nn.Module) -> Iterator[None]:
    """The model must be as it was when the block ends, in every respect of `FIXES`.

    Gradients are set to a sentinel first, and one parameter is frozen unlike the others, so that
    a part that resets all alike is noticed.

    Raises:
        ConformanceError: it names the first difference.
    """
    _mark(model)
    before = _traits(model)
    yield
    now = _traits(model)
    for trait in {**before, **now}:
        kind, _, place = trait.partition(" of ")
        require(
            _alike(before.get(trait), now.get(trait)),
            f"{call} changed the model: the {kind} of {place or 'the whole'}",
            FIXES[kind],
        )


def attributes(owner: object) -> dict[str, str]:
    """What an object holds besides tensors, modules and hooks, in words."""
    return {
        name: repr(value)
        for name, value in vars(owner).items()
        if name not in ITS_OWN
        and "hook" not in name
        and not (tensors(value) or isinstance(value, nn.Module))
    }


def _mark(model: nn.Module) -> None:
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 7.0)
        parameter.requires_grad_()
    if parameters:
        parameters[-1].requires_grad_(False)


def _traits(model: nn.Module) -> dict[str, Any]:
    traits: dict[str, Any] = {}
    for name, module in model.named_modules():
        traits[f"layer of {name}"] = id(module)
        traits[f"mode of {name}"] = module.training
        traits[f"attributes of {name}"] = attributes(module)
        traits[f"hooks of {name}"] = [
            (key, len(value) if hasattr(value, "__len__") else bool(value))
            for key, value in sorted(vars(module).items())
            if "hook" in key and value is not None
        ]
    for name, buffer in model.named_buffers():
        traits[f"buffer of {name}"] = buffer.detach().clone()
    for name, parameter in model.named_parameters():
        traits[f"weight of {name}"] = parameter.detach().clone()
        traits[f"hooks of {name}"] = len(parameter._backward_hooks or ())
        traits[f"requires_grad of {name}"] = parameter.requires_grad
        traits[f"grad of {name}"] = None if parameter.grad is None else parameter.grad.clone()
    return traits


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return not isinstance(one, Tensor) and not isinstance(other, Tensor) and bool(one == other)

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pseudolabel_kit.isolate import isolated


class Net(nn.Module):
    """Two linear layers, one frozen, two buffers of which one is shared, a gradient, a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 1)
        self.norm = nn.BatchNorm1d(2)
        self.shared = nn.Dropout()
        table = torch.arange(3.0)
        self.register_buffer("table", table)
        self.shared.register_buffer("table", table)
        self.second.bias.requires_grad_(False)
        self.norm.eval()
        self.first.weight.grad = torch.full((2, 2), 7.0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.norm(self.first(x)))
        return y


def state(model: nn.Module) -> dict[str, object]:
    """All that foreign code may not change, in a form that compares with ==."""
    return {
        "modules": [(name, id(m)) for name, m in model.named_modules()],
        "parameters": [(name, id(p)) for name, p in model.named_parameters()],
        "mode": [m.training for m in model.modules()],
        "trainable": [p.requires_grad for p in model.parameters()],
        "grad": [
            (id(p.grad), None if p.grad is None else p.grad.tolist()) for p in model.parameters()
        ],
        "buffers": [(name, id(b), b.tolist()) for name, b in model.named_buffers()],
        "hooks": [
            {k: list(v) if isinstance(v, dict) else v for k, v in vars(m).items() if "hook" in k}
            for m in model.modules()
        ],
    }


def vandalise(model: nn.Module) -> None:
    """Everything that foreign code was ever seen to leave behind."""
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model(torch.randn(4, 2)).sum().backward()  # writes .grad and the running statistics
    for module in model.modules():
        module.register_forward_hook(lambda *_: None)
        module.register_full_backward_hook(lambda *_: None)
        module.register_forward_pre_hook(lambda *_: None, with_kwargs=True)
    model.get_buffer("table").add_(1)
    model.register_buffer("left_behind", torch.zeros(1))
    model.shared = nn.Identity()
    model.norm = None
    model.first.weight = nn.Parameter(torch.zeros(2, 2))
    model.register_parameter("added", nn.Parameter(torch.zeros(1)))


def test_inside_it_is_in_eval_mode_and_nothing_is_trainable() -> None:
    model = Net()
    with isolated(model) as lent:
        assert lent is model
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
        assert model.table is model.shared.table


@pytest.mark.parametrize("fails", [False, True])
def test_whatever_foreign_code_does_is_undone(fails: bool) -> None:
    model = Net()
    before = state(model)
    with pytest.raises(RuntimeError) if fails else torch.enable_grad(), isolated(model):
        vandalise(model)
        if fails:
            raise RuntimeError
    assert state(model) == before
    assert "left_behind" not in dict(model.named_buffers())


def test_a_hook_of_the_owner_still_works_and_can_still_be_removed() -> None:
    model, calls = Net(), []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    with isolated(model):
        handle.remove()
        model(torch.zeros(2, 2))
    model(torch.zeros(2, 2))
    assert calls == [1]
    handle.remove()
    model(torch.zeros(2, 2))
    assert calls == [1]


def test_a_graph_made_before_can_still_be_walked_back() -> None:
    model = Net()
    loss = model(torch.randn(4, 2)).sum()
    with isolated(model):
        vandalise(model)
    loss.backward()
    assert model.second.weight.grad is not None


def test_it_nests() -> None:
    model = Net()
    before = state(model)
    with isolated(model), isolated(model):
        pass
    assert state(model) == before

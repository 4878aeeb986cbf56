"""What a failure changed is taken back, and what cannot be is at least noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from pseudolabel_kit.engine import undo
from pseudolabel_kit.engine.undo import Undo, undone


class Net(nn.Module):
    """A weight, a shared buffer, a small one and one that may be large."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.linear.weight.grad = torch.ones(1, 2)
        self.linear.register_buffer("seen", torch.zeros(1))
        self.register_buffer("seen", self.linear.seen)
        self.register_buffer("bank", torch.zeros(8))
        self.register_buffer("none", None)


def failed(net: Net, do: Callable[[Net], object], *watched: nn.Module) -> Undo:
    def leave() -> None:
        do(net)
        raise SystemExit

    with pytest.raises(SystemExit), undone(net, *watched) as found:
        leave()
    return found


def test_buffers_and_gradients_are_as_they_were() -> None:
    net = Net()
    before = [(name, id(buffer), buffer.tolist()) for name, buffer in net.named_buffers()]
    gradient = net.linear.weight.grad

    def change(net: Net) -> None:
        net.bank.add_(1)
        net.seen = torch.ones(1)
        net.none = torch.ones(1)
        net.linear.get_buffer("seen").fill_(2)
        net.linear.weight.grad = None
        net.linear.bias.grad = torch.ones(1)

    assert failed(net, change).whole
    assert [(name, id(each), each.tolist()) for name, each in net.named_buffers()] == before
    assert net.linear.weight.grad is gradient
    assert net.linear.bias.grad is None


def test_without_a_failure_nothing_is_taken_back() -> None:
    net = Net()
    with undone(net):
        net.bank.add_(1)
    assert net.bank.tolist() == [1.0] * 8


def test_weights_that_were_written_to_are_noticed() -> None:
    def zero(net: nn.Module) -> None:
        with torch.no_grad():
            net.get_parameter("linear.weight").zero_()

    other = Net()
    assert not failed(Net(), zero).whole
    assert not failed(Net(), lambda _: zero(other), other).whole
    assert failed(Net(), lambda _: zero(other)).whole


def test_a_large_memory_is_not_copied_but_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo, "COPIED", 16)
    net = Net()
    assert failed(net, lambda net: net.seen.add_(1)).whole
    assert net.seen.tolist() == [0.0]
    assert not failed(net, lambda net: net.bank.add_(1)).whole
    assert net.bank.tolist() == [1.0] * 8
    bank = net.bank
    assert failed(net, lambda net: setattr(net, "bank", torch.zeros(8))).whole
    assert net.bank is bank

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from plk_support import begun, make_net
from torch import nn

from plk_calibrated.margin_cam import MarginCam, margin
from pseudolabel_kit.interfaces import Batch, Scale, Task
from pseudolabel_kit.testing import make_task

TASK = make_task()


def test_the_margin_by_hand() -> None:
    features = torch.tensor([[[[1.0]], [[2.0]]]])
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # scores 1, 2, 3
    task = Task(channels=1, size=(1, 1), classes=("a", "b", "c"), lesion_classes=(1, 2))
    found = margin(Scale(features=features, weight=weight), task)
    expected = torch.logsumexp(torch.tensor([2.0, 3.0]), 0) - 1
    assert found.shape == (1, 1, 1, 1)
    assert found.item() == pytest.approx(float(expected))


def test_the_margins_of_its_levels_are_averaged() -> None:
    net, images = make_net(TASK), torch.rand(1, TASK.channels, 64, 64)
    prediction = net(images)
    one, other, both = (
        torch.logit(begun(MarginCam(levels=levels), TASK).explain(net, images, prediction))
        for levels in ((1,), (3,), (1, 3))
    )
    assert (one - other).abs().max() > 0.01
    torch.testing.assert_close(both, (one + other) / 2, atol=1e-4, rtol=1e-4)


def test_lesion_and_background_count_alike_and_the_loss_by_its_weight() -> None:
    """Scores of 0: the margin is the log of how many classes stand on each side, everywhere."""
    net, images = make_net(TASK), torch.rand(1, TASK.channels, 32, 32)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :8] = 1
    known = torch.ones(1, dtype=torch.bool)
    batch = Batch(
        image=images, label=torch.zeros(1).long(), mask=mask, has_label=known, has_mask=known
    )
    part = begun(MarginCam(pixels=0.25), TASK)
    prediction = net(images)
    blank = [replace(scale, weight=torch.zeros_like(scale.weight)) for scale in prediction.scales]
    term = part.loss(replace(prediction, scales=tuple(blank)), batch)
    assert term is not None
    held = len(TASK.lesion_classes), len(TASK.classes) - len(TASK.lesion_classes)
    odds = math.log(held[0] / held[1])
    expected = 0.25 * F.softplus(torch.tensor(-odds)) + 0.75 * F.softplus(torch.tensor(odds))
    assert term.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert part.loss_ramp().weight == 0.25


def test_evidence_is_the_probability_of_the_margin() -> None:
    net, images = make_net(TASK), torch.rand(2, TASK.channels, 64, 64)
    part = begun(MarginCam(levels=(1, 3)), TASK)
    prediction = net(images)
    before = part.explain(net, images, prediction)
    assert isinstance(part.state, nn.Module)
    with torch.no_grad():
        part.state.offset.add_(2)  # type: ignore[operator,union-attr]
    after = part.explain(net, images, prediction)
    torch.testing.assert_close(torch.logit(after) - torch.logit(before), torch.full_like(after, 2))


def test_training_by_pixels_teaches_the_map_where_the_lesion_is() -> None:
    """The class head learns the place from masks."""
    generator = torch.Generator().manual_seed(0)
    images = 0.1 * torch.rand(4, TASK.channels, 64, 64, generator=generator)
    mask = torch.zeros(4, 1, 64, 64)
    for row in range(4):
        mask[row, :, 8 * row : 8 * row + 16, 24:40] = 1
    images = (images + 0.6 * mask).clamp(0, 1)
    known = torch.ones(4, dtype=torch.bool)
    lesion = torch.full((4,), TASK.lesion_classes[0])
    batch = Batch(image=images, label=lesion, mask=mask, has_label=known, has_mask=known)
    torch.manual_seed(0)
    net, part = make_net(TASK), begun(MarginCam(), TASK)
    assert part.state is not None
    optimiser = torch.optim.Adam([*net.parameters(), *part.state.parameters()], 0.02)
    for _ in range(30):
        term = part.loss(net(images), batch)
        assert term is not None
        optimiser.zero_grad()
        (term.total.sum() / term.count.sum()).backward()
        optimiser.step()
    map_ = part.explain(net, images, net(images))
    assert map_[mask > 0].mean() > map_[mask == 0].mean() + 0.3


def test_rows_without_a_mask_do_not_count() -> None:
    net, images = make_net(TASK), torch.rand(2, TASK.channels, 32, 32)
    batch = Batch(
        image=images,
        label=torch.zeros(2, dtype=torch.int64),
        mask=torch.rand(2, 1, 32, 32).round(),
        has_label=torch.ones(2, dtype=torch.bool),
        has_mask=torch.tensor([True, False]),
    )
    term = begun(MarginCam(), TASK).loss(net(images), batch)
    assert term is not None
    assert term.count.tolist() == [1, 0]
    assert term.total[1] == 0


def test_without_pixels_nothing_is_trained() -> None:
    part = begun(MarginCam(pixels=0), TASK)
    net, images = make_net(TASK), torch.rand(2, TASK.channels, 32, 32)
    assert part.state is None
    assert part.loss(net(images), None) is None  # type: ignore[arg-type]
    assert part.explain(net, images, net(images)).shape == (2, 1, 32, 32)


def test_classes_without_a_rival_are_held_against_nothing() -> None:
    """As where images have masks and no classes: the maps are taught all the same."""
    task = Task(channels=1, size=(64, 64), classes=("any",), lesion_classes=())
    part, net, images = begun(MarginCam(), task), make_net(task), torch.rand(1, 1, 64, 64)
    (scale, *_), prediction = net(images).scales, net(images)
    scores = torch.einsum("nd,bdhw->bnhw", scale.weight, scale.features)
    found = part.explain(net, images, prediction)
    expected = F.interpolate(scores, (64, 64), mode="bilinear").sigmoid()
    torch.testing.assert_close(found, expected)

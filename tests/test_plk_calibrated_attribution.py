from __future__ import annotations

import pytest
import torch
from plk_support import Toy, begun, make_batch, make_net, make_task

from pseudolabel_kit.attribution import Baseline, baseline_of
from plk_captum.input_x_gradient import InputXGradient
from plk_calibrated.integrated_gradients import IntegratedGradients
from pseudolabel_kit.evidence import smooth, target_class, to_evidence as evidence
from pseudolabel_kit.interfaces import Task


def test_baselines() -> None:
    images = make_batch(2, make_task(channels=3)).image
    assert not baseline_of(images, "zero").any()
    mean = baseline_of(images, "mean")
    torch.testing.assert_close(mean[..., :1, :1], images.mean(dim=(2, 3), keepdim=True))
    assert mean.std(dim=(2, 3)).max() < 1e-6
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    blurred = baseline_of(ramp + 0.2 * (torch.arange(64) % 2), "blur")
    assert (blurred - ramp - 0.1)[..., 8:-8].abs().max() < 0.02  # stripes go, the ramp stays


@pytest.mark.parametrize("kind", ["mean", "blur", "zero"])
def test_an_attribution_is_nil_where_the_image_is_its_own_baseline(kind: Baseline) -> None:
    images = torch.zeros(1, 1, 32, 37)
    part = begun(InputXGradient(baseline=kind))
    net = make_net()
    assert not part.explain(net, images, net(images)).any()


def test_a_black_lesion_is_seen_from_the_mean_and_never_from_black() -> None:
    images = torch.full((1, 1, 32, 37), 0.8)
    images[..., 10:20, 10:20] = 0
    seen, blind = (
        begun(InputXGradient(baseline=kind)).explain(Toy(), images + 1e-3, Toy()(images))
        for kind in ("mean", "zero")
    )
    inside, outside = (slice(None), slice(None), slice(12, 18), slice(12, 18)), (..., 30, 30)
    assert blind[inside].max() < 0.01 < blind[outside]
    assert seen[inside].max() > 0


def test_evidence_counts_negative_credit_and_all_channels() -> None:
    signed = torch.zeros(1, 3, 32, 32)
    signed[:, 0, 8, 8], signed[:, 2, 24, 24] = -5, 5
    found = evidence(signed)
    assert found[0, 0, 8, 8] == found[0, 0, 24, 24] == 1
    assert found[0, 0, 16, 16] == 0


def test_evidence_does_not_depend_on_the_attributions_unit() -> None:
    signed = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(evidence(signed * 1e-20), evidence(signed))


def test_one_outlier_does_not_swallow_the_rest() -> None:
    signed = torch.rand(1, 1, 64, 64)
    calm = evidence(signed)
    signed[0, 0, 32, 32] = 1e6
    assert evidence(signed).mean() > 0.9 * calm.mean()


def test_evidence_of_nothing_is_nothing() -> None:
    assert not evidence(torch.zeros(2, 1, 32, 32)).any()


def test_smoothing_keeps_the_sum_of_an_inner_point() -> None:
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1
    spread = smooth(point)
    assert spread.sum().item() == pytest.approx(1)
    assert spread[0, 0, 4, 4].item() == pytest.approx((3 / 9) ** 2)


def test_target_class() -> None:
    logits = torch.tensor([[5.0, 1, 2], [0, 3, 1]])
    task = Task(channels=1, size=(32, 32), classes=("a", "b", "c"), lesion_classes=(1, 2))
    assert target_class("predicted", logits, task).tolist() == [0, 1]
    assert target_class("lesion", logits, task).tolist() == [2, 1]
    nameless = Task(channels=1, size=(32, 32), classes=("a", "b", "c"), lesion_classes=())
    assert target_class("lesion", logits, nameless).tolist() == [0, 1]


@pytest.mark.parametrize("rows", [1, 3])
def test_internal_batch_bounds_the_rows_of_a_pass_and_changes_nothing(rows: int) -> None:
    images, seen = make_batch(rows).image, []

    def classify(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return Toy().classify(x)

    label = torch.zeros(rows, dtype=torch.int64)
    small, large = (
        begun(IntegratedGradients(steps=6, internal_batch=size)).attribute(
            classify, images, torch.zeros_like(images), label
        )
        for size in (4, 64)
    )
    torch.testing.assert_close(small, large)
    assert max(seen[:-1]) <= max(4, rows)
    assert seen[-1] == 6 * rows

"""The paper's equations 1 to 12, written anew in NumPy float64 from the text, against the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from plk_support import Toy, begun, make_batch, make_evidence, make_prediction, make_task

from plk_calibrated.caam import Caam, caam, cam, minmax
from plk_calibrated.integrated_gradients import IntegratedGradients
from plk_calibrated.sharpen import Norm, Sharpen
from plk_captum.input_x_gradient import InputXGradient
from pseudolabel_kit.interfaces import Evidence, Prediction, Scale
from pseudolabel_kit.losses import classification, segmentation, unbiased, weighted_bce

Array = NDArray[np.float64]
NORMS: tuple[Norm, ...] = ("image-rms", "pixel", "batch-rms", "paper")


def f64(tensor: torch.Tensor) -> Array:
    return tensor.detach().double().numpy()


def close(tensor: torch.Tensor, expected: Array, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(f64(tensor), expected, atol=atol, rtol=1e-4)


def softmax(a: Array, axis: int) -> Array:
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def scaled(a: Array) -> Array:
    """Min-max over each image's pixels."""
    low, high = a.min(axis=(1, 2), keepdims=True), a.max(axis=(1, 2), keepdims=True)
    return np.asarray((a - low) / (high - low))


# ── classification: eq. 1 to 5 ──────────────────────────────────────────────────────


def test_eq_1_cross_entropy() -> None:
    batch, logits = make_batch(), make_prediction().class_logits
    y = np.eye(3)[batch.label.numpy()]
    expected = -(y * np.log(softmax(f64(logits), 1))).sum(axis=1) * batch.has_label.numpy()
    close(classification(logits, batch.label, batch.has_label).total, expected)


def cam_by_hand(scale: Scale, label: Array) -> Array:
    w, f = f64(scale.weight), f64(scale.features)
    return np.stack(
        [sum(w[i, k] * f[b, k] for k in range(f.shape[1])) for b, i in enumerate(label)]
    )


def test_eq_2_class_activation_map() -> None:
    scale, label = make_prediction().scales[0], make_batch().label
    close(cam(scale, label)[:, 0], cam_by_hand(scale, label.numpy()))


def test_eq_3_class_agnostic_activation_map() -> None:
    scale = make_prediction().scales[0]
    f = f64(scale.features)
    close(caam(scale)[:, 0], f[:, 0] + f[:, 1] + f[:, 2] + f[:, 3])
    close(minmax(caam(scale))[:, 0], scaled(f.sum(axis=1)))


def test_eq_4_and_5_cam_loss_over_two_scales() -> None:
    batch, prediction = make_batch(), make_prediction()
    label, known = batch.label.numpy(), batch.has_label.numpy()
    expected = np.zeros(3)
    for alpha, scale in zip((5, 2), prediction.scales, strict=True):
        target = scaled(cam_by_hand(scale, label))
        agnostic = scaled(f64(scale.features).sum(axis=1))
        expected += alpha * np.abs(agnostic - target).mean(axis=(1, 2))
    term = begun(Caam(levels=(1, 2), alpha=(5, 2))).loss(prediction, batch)
    assert term is not None
    close(term.total, expected * known)
    close(term.count, known.astype(float))


# ── saliency: eq. 6 and 7 ───────────────────────────────────────────────────────────


def test_eq_6_converges_to_the_known_integral() -> None:
    """F = 3 sum x^3 from x' = 0: the integral is 3 x^3 exactly; Gauss-Legendre finds it."""
    images = make_batch().image
    label = torch.full((3,), 2)
    part = begun(IntegratedGradients(steps=4, method="gausslegendre", baseline="zero"))
    close(
        part.attribute(Toy().classify, images, torch.zeros_like(images), label),
        3 * f64(images) ** 3,
    )


@pytest.mark.parametrize("steps", [2, 5])
def test_eq_7_right_riemann_sum(steps: int) -> None:
    images, label = make_batch().image, torch.tensor([0, 1, 2])
    base = torch.full_like(images, 0.25)
    x, start, factor = f64(images), 0.25, np.array([1, 2, 3]).reshape(3, 1, 1, 1)
    gradient = sum(factor * 3 * (start + g / steps * (x - start)) ** 2 for g in range(1, steps + 1))
    part = begun(IntegratedGradients(steps=steps))
    close(part.attribute(Toy().classify, images, base, label), (x - start) * gradient / steps)


def test_input_x_gradient_is_eq_7_with_one_step() -> None:
    images, label = make_batch().image, torch.tensor([0, 1, 2])
    x, factor = f64(images), np.array([1, 2, 3]).reshape(3, 1, 1, 1)
    part = begun(InputXGradient())
    got = part.attribute(Toy().classify, images, torch.full_like(images, 0.25), label)
    close(got, (x - 0.25) * factor * 3 * x**2)


def test_completeness_is_measured_against_the_scores() -> None:
    images = make_batch().image
    x, t = f64(images), 4
    gain = 3 * (x**3).sum(axis=(1, 2, 3))
    miss = gain * ((t + 1) * (2 * t + 1) / (2 * t**2) - 1)  # sum of g^2/t^3 against a third
    part = begun(IntegratedGradients(steps=t, baseline="zero"))
    figures = part.diagnose(Toy(), images, Toy()(images))
    assert figures["completeness_error"] == pytest.approx(miss.mean(), rel=1e-4)
    assert figures["completeness_gain"] == pytest.approx(gain.mean(), rel=1e-4)


# ── fusion: eq. 8 to 10 ─────────────────────────────────────────────────────────────


def lifted(prediction: Prediction, evidence: Mapping[str, Evidence], logit: bool) -> list[Array]:
    """c, s and p as (B,2,H,W), background first; p of the first mask channel."""
    c, s = (f64(evidence[name].map)[:, 0] for name in ("caam", "ig"))
    z = f64(prediction.mask_logits)[:, 0]
    p = 1 / (1 + np.exp(-z))
    decoder = (-z / 2, z / 2) if logit else (1 - p, p)
    return [np.stack(pair, axis=1) for pair in ((1 - c, c), (1 - s, s), decoder)]


NORM_BY_HAND: dict[Norm, Callable[[Array], Array]] = {  # of all three maps, (3,B,2,H,W)
    "paper": lambda a: np.sqrt((a**2).sum(axis=(0, 2, 3, 4))).reshape(-1, 1, 1, 1),  # eq. 9
    "image-rms": lambda a: np.sqrt((a**2).mean(axis=(0, 2, 3, 4))).reshape(-1, 1, 1, 1),
    "batch-rms": lambda a: np.asarray(np.sqrt((a**2).mean())),
    "pixel": lambda a: np.sqrt((a**2).sum(axis=(0, 2)))[:, None],
}


def fused_by_hand(maps: list[Array], norm: Norm, temperature: float) -> Array:
    n = NORM_BY_HAND[norm](np.stack(maps))
    a = sum(r * softmax(m / n, 1) for r, m in zip((0.3, 0.4, 0.4), maps, strict=True))  # eq. 8
    power = np.asarray(a) ** (1 / temperature)
    return np.asarray(power / power.sum(axis=1, keepdims=True))[:, 1]  # eq. 10


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("decoder", ["logit", "probability"])
@pytest.mark.parametrize("temperature", [0.5, 0.2, 1.0])
def test_eq_8_to_10_with_every_norm(norm: Norm, decoder: str, temperature: float) -> None:
    prediction, evidence = make_prediction(), make_evidence()
    part = Sharpen(
        ratios=(0.3, 0.4, 0.4),
        norm=norm,
        decoder=decoder,  # type: ignore[arg-type]
        temperature=temperature,
        gate="none",
    )
    expected = fused_by_hand(lifted(prediction, evidence, decoder == "logit"), norm, temperature)
    close(begun(part).fuse(prediction, evidence).mask[:, 0], expected)


@pytest.mark.parametrize("norm", NORMS)
def test_labels_are_stuck_at_one_half_under_the_printed_norm_alone(norm: Norm) -> None:
    """A lesion that all three maps agree on, in a 224x224 image."""
    square = torch.zeros(1, 1, 224, 224)
    square[..., 80:120, 80:120] = 1
    prediction = Prediction(
        class_logits=torch.tensor([[0.0, 0.0, 9.0]]), mask_logits=8 * square - 4
    )
    evidence = {
        "caam": Evidence(map=square, family="class-map"),
        "ig": Evidence(map=square, family="attribution"),
    }
    for part in (Sharpen(norm=norm), Sharpen(norm=norm, decoder="probability", gate="none")):
        mask = begun(part).fuse(prediction, evidence).mask
        if norm == "paper":
            assert mask.min() >= 0.49
            assert mask.max() <= 0.51
        else:
            assert mask.max() > 0.6
            assert mask.min() < 0.4


# ── losses: eq. 11 and 12 ───────────────────────────────────────────────────────────


def wbce(y: Array, q: Array, w: float) -> Array:
    return np.asarray(-y * np.log(q) - w * (1 - y) * np.log(1 - q))


def test_eq_11_supervised_weighted_bce() -> None:
    batch, z = make_batch(), make_prediction().mask_logits
    expected = wbce(f64(batch.mask), 1 / (1 + np.exp(-f64(z))), 0.5).mean(axis=(1, 2, 3))
    close(segmentation(z, batch.mask, batch.has_mask, 0.5).total, expected)


def test_eq_12_weighted_bce_against_the_pseudo_label() -> None:
    student, part = make_prediction(seed=1), begun(Sharpen())
    pseudo = part.fuse(make_prediction(), make_evidence())
    q = 1 / (1 + np.exp(-f64(student.mask_logits)))
    expected = wbce(f64(pseudo.mask), q, make_task().background_weight).mean(axis=(1, 2, 3))
    close(part.loss(student, pseudo, student)["mask"].total, expected)


@pytest.mark.parametrize("debias", [True, False])
def test_the_fixed_point_of_l_u_is_the_teacher_where_w_is_undone(debias: bool) -> None:
    """A decoder at its optimum under eq. 11 labels a student, which is trained to convergence."""
    w = make_task().background_weight
    lesion = torch.linspace(0.05, 0.9, 16).reshape(1, 1, 4, 4)
    teacher = torch.logit(lesion) - log(w)
    seen = unbiased(teacher, w) if debias else teacher
    part = begun(Sharpen())
    pseudo = part.fuse(Prediction(class_logits=torch.zeros(1, 3), mask_logits=seen), {})
    student = torch.zeros_like(teacher, requires_grad=True)
    optimiser = torch.optim.LBFGS([student], max_iter=200, tolerance_grad=1e-9)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = weighted_bce(student, pseudo.mask, w).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    drift = 0.0 if debias else -log(w)  # each round of relabelling adds this much
    close(student, f64(teacher) + drift, atol=2e-3)

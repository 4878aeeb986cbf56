"""What all methods of the plugin share, and the two that remember nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun, make_prediction, make_task
from torch import Tensor
from torch.autograd import grad

from plk_thresholds.confidence import ByConfidence
from plk_thresholds.fixmatch import FixMatch
from plk_thresholds.flexmatch import FlexMatch
from plk_thresholds.freematch import FreeMatch
from plk_thresholds.none import Nothing
from plk_thresholds.pseudo_label import PseudoLabel
from plk_thresholds.softmatch import SoftMatch
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import Prediction, Task
from pseudolabel_kit.plugin.build import build

METHODS: dict[str, type[ByConfidence]] = {
    "pseudo-label": PseudoLabel,
    "fixmatch": FixMatch,
    "flexmatch": FlexMatch,
    "freematch": FreeMatch,
    "softmatch": SoftMatch,
}
PAIR = Task(channels=1, size=(4, 4), classes=("sound", "ill"), lesion_classes=(1,))

every_method = pytest.mark.parametrize("method", list(METHODS.values()), ids=list(METHODS))


def prediction_of(lesion: list[float], classes: list[float]) -> Prediction:
    """One row whose pixels and classes have these probabilities."""
    return Prediction(
        class_logits=torch.tensor([classes]).log(),
        mask_logits=torch.tensor(lesion).reshape(1, 1, 1, -1).logit(),
    )


def known(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def grown(part: ByConfidence, batches: int = 3) -> ByConfidence:
    """The part after a few batches: whatever it remembers is no longer at its start."""
    for seed in range(100, 100 + batches):
        part.fuse(make_prediction(seed=seed), {})
    return part


# ── the methods without a memory ────────────────────────────────────────────────────


def test_fixmatch_counts_pixels_where_lesion_or_background_is_sure() -> None:
    prediction = prediction_of([0.99, 0.96, 0.94, 0.51, 0.06, 0.04, 0.01], [0.2, 0.3, 0.5])
    pseudo = begun(FixMatch()).fuse(prediction, {})
    assert known(pseudo.mask).flatten().tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert known(pseudo.mask_weight).flatten().tolist() == [1, 1, 0, 0, 0, 1, 1]
    assert pseudo.label is pseudo.label_weight is None


@pytest.mark.parametrize(("sure", "weight"), [([0.01, 0.97, 0.02], 1), ([0.1, 0.8, 0.1], 0)])
def test_fixmatch_counts_rows_where_their_class_is_sure(sure: list[float], weight: int) -> None:
    pseudo = begun(FixMatch(targets="both")).fuse(prediction_of([0.99, 0.6], sure), {})
    assert known(pseudo.label).tolist() == [[0, 1, 0]]
    assert known(pseudo.label_weight).tolist() == [weight]
    assert known(pseudo.mask_weight).flatten().tolist() == [1, 0]


def test_the_loss_is_the_mean_over_all_pixels_and_rows_ignored_ones_too() -> None:
    part = begun(FixMatch(targets="both"), make_task())
    sure, unsure = prediction_of([0.99, 0.6], [0.98, 0.01, 0.01]), [0.4, 0.3, 0.3]
    teacher = Prediction(
        class_logits=torch.cat((known(sure.class_logits), torch.tensor([unsure]).log())),
        mask_logits=known(sure.mask_logits).expand(2, 1, 1, 2),
    )
    student = Prediction(class_logits=torch.zeros(2, 3), mask_logits=torch.zeros(2, 1, 1, 2))
    terms = part.loss(student, part.fuse(teacher, {}), student)
    mask, label = terms["mask"], terms["label"]
    half, third = torch.tensor(2.0).log(), torch.tensor(3.0).log()
    torch.testing.assert_close(mask.total.sum() / mask.count.sum(), half / 2)  # 1 pixel of 2
    torch.testing.assert_close(label.total.sum() / label.count.sum(), third / 2)  # 1 row of 2


def test_pseudo_label_counts_everything_however_unsure() -> None:
    prediction = prediction_of([0.51, 0.49, 0.99], [0.3, 0.3, 0.4])
    pseudo = begun(PseudoLabel(targets="both")).fuse(prediction, {})
    assert known(pseudo.mask).flatten().tolist() == [1, 0, 1]
    assert known(pseudo.mask_weight).flatten().tolist() == [1, 1, 1]
    assert known(pseudo.label).tolist() == [[0, 0, 1]]
    assert known(pseudo.label_weight).tolist() == [1]


@given(low=st.floats(0.5, 0.98), more=st.floats(0, 0.01), seed=st.integers(0, 99))
def test_a_higher_threshold_never_covers_more(low: float, more: float, seed: int) -> None:
    prediction = make_prediction(seed=seed)
    wide, narrow = (
        known(begun(FixMatch(threshold=t)).fuse(prediction, {}).mask_weight)
        for t in (low, low + more)
    )
    assert (narrow <= wide).all()


def test_none_ignores_everything_and_is_not_even_asked_to_read() -> None:
    prediction = make_prediction()
    part = begun(Nothing())
    pseudo = part.fuse(prediction, {})
    assert part.reads == "nothing"
    assert pseudo.mask is pseudo.mask_weight is pseudo.label is pseudo.label_weight is None
    assert part.loss(prediction, pseudo, prediction) == {}


# ── every method ────────────────────────────────────────────────────────────────────


@every_method
def test_labels_are_hard_weights_are_shares_and_shapes_are_the_contract(
    method: type[ByConfidence],
) -> None:
    part = grown(begun(method(targets="both")))
    prediction = make_prediction(rows=4)
    pseudo = part.fuse(prediction, {})
    logits = known(prediction.mask_logits)
    assert torch.equal(known(pseudo.mask), (logits > 0).float())
    assert known(pseudo.mask_weight).shape == logits.shape
    assert torch.equal(known(pseudo.label).argmax(1), known(prediction.class_logits).argmax(1))
    assert known(pseudo.label).sum(1).eq(1).all()
    assert known(pseudo.label_weight).shape == (4,)
    for weight in (known(pseudo.mask_weight), known(pseudo.label_weight)):
        assert weight.ge(0).all()
        assert weight.le(1).all()


@every_method
def test_a_pixel_counts_as_much_as_its_least_sure_channel(method: type[ByConfidence]) -> None:
    sure, unsure = 9.0, 0.1
    both = torch.tensor([[sure, sure], [-sure, unsure]]).reshape(1, 2, 1, 2)
    alone = both[:, 1:]
    weights = []
    for logits in (both, alone):
        part = begun(method(), make_task(masks=logits.shape[1]))
        for _ in range(40):
            part.fuse(Prediction(mask_logits=torch.full_like(logits, sure)), {})
        weights.append(known(part.fuse(Prediction(mask_logits=logits), {}).mask_weight))
    assert weights[0].shape == (1, 1, 1, 2)
    assert torch.equal(weights[0], weights[1])


@every_method
@pytest.mark.parametrize("targets", ["mask", "class", "both"])
def test_only_what_is_asked_for_is_labelled_and_needed(
    method: type[ByConfidence], targets: str
) -> None:
    part = begun(method(targets=targets))  # type: ignore[arg-type]
    prediction = make_prediction()
    pseudo = part.fuse(prediction, {})
    assert ((pseudo.mask is None), (pseudo.mask_weight is None)) == (targets == "class",) * 2
    assert ((pseudo.label is None), (pseudo.label_weight is None)) == (targets == "mask",) * 2
    names = {term.partition(".")[0] for term in part.loss(prediction, pseudo, prediction)}
    assert names == {"both": {"mask", "label"}, "class": {"label"}, "mask": {"mask"}}[targets]

    headless = {
        "mask": Prediction(class_logits=prediction.class_logits),
        "class": Prediction(mask_logits=prediction.mask_logits),
    }
    for head, model in headless.items():
        if targets in (head, "both"):
            with pytest.raises(PluginError, match=rf"^{method.__name__}: this backbone does not"):
                part.fuse(model, {})
        else:
            part.fuse(model, {})


@every_method
@given(seed=st.integers(0, 99), row=st.integers(0, 2))
def test_batchmates_never_change_a_label_or_its_weight(
    method: type[ByConfidence], seed: int, row: int
) -> None:
    prediction = make_prediction(seed=seed)
    together = grown(begun(method(targets="both"))).fuse(prediction, {})
    alone = grown(begun(method(targets="both"))).fuse(prediction.rows(slice(row, row + 1)), {})
    for name in ("mask", "mask_weight", "label", "label_weight"):
        assert torch.equal(getattr(together, name)[row], getattr(alone, name)[0])


@every_method
def test_two_classes_and_a_mask_channel_are_the_same_problem(method: type[ByConfidence]) -> None:
    """Rows of a class (0, z) against pixels of the logit z, through batches and to the loss."""
    part = begun(method(targets="both"), PAIR)
    rng = torch.Generator().manual_seed(0)
    for _ in range(5):
        z = 3 * torch.randn(16, generator=rng) - 1
        prediction = Prediction(
            class_logits=torch.stack((torch.zeros(16), z), dim=1),
            mask_logits=z.reshape(16, 1, 1, 1),
        )
        pseudo = part.fuse(prediction, {})
        assert torch.equal(known(pseudo.mask).flatten(), known(pseudo.label)[:, 1])
        weights = known(pseudo.mask_weight).flatten(), known(pseudo.label_weight)
        torch.testing.assert_close(*weights)
        terms = part.loss(prediction, pseudo, prediction)
        for kind in ("", ".fairness"):
            if f"mask{kind}" in terms:
                mask, label = terms[f"mask{kind}"], terms[f"label{kind}"]
                torch.testing.assert_close(mask.total, label.total)


@every_method
@pytest.mark.parametrize("size", [0.0, 1e4, float(torch.finfo(torch.bfloat16).max)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(
    method: type[ByConfidence], size: float, dtype: torch.dtype
) -> None:
    part = begun(method(targets="both"))
    signs = make_prediction()
    prediction = Prediction(
        class_logits=(known(signs.class_logits).sign() * size).to(dtype),
        mask_logits=(known(signs.mask_logits).sign() * size).to(dtype),
    )
    for _ in range(3):
        pseudo = part.fuse(prediction, {})
    for tensor in (pseudo.mask_weight, pseudo.label_weight, *buffers(part)):
        assert known(tensor).isfinite().all()
    student = make_prediction(seed=1)
    heads = [
        known(student.class_logits).requires_grad_(),
        known(student.mask_logits).requires_grad_(),
    ]
    loss = torch.stack([t.total.sum() for t in part.loss(student, pseudo, student).values()]).sum()
    assert loss.isfinite()
    assert all(slope.isfinite().all() for slope in grad(loss, heads))


def buffers(part: ByConfidence) -> list[Tensor]:
    return [] if part.state is None else list(part.state.buffers())


# ── options and names ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_found_by_its_name(name: str) -> None:
    assert build("fuser", f"{name}:targets=both") == METHODS[name](targets="both")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("fixmatch:threshold=1", "threshold=1: expected float >= 0"),
        ("fixmatch:momentum=0.9", "there is no option 'momentum'"),
        ("pseudo-label:threshold=0.5", "there is no option 'threshold'"),
        ("pseudo-label:targets=pixels", "targets=pixels: expected mask|class|both"),
        ("flexmatch:threshold=-0.1", "threshold=-0.1: expected float >= 0"),
        ("flexmatch:momentum=1", "momentum=1: expected float >= 0 and < 1"),
        ("freematch:fairness=-1", "fairness=-1: expected float >= 0"),
        ("softmatch:n_sigma=0", "n_sigma=0: expected float > 0"),
        ("softmatch:align=perhaps", "align=perhaps: expected true|false"),
    ],
)
def test_options_out_of_range_are_refused(reference: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build("fuser", reference)
    assert expected in str(refusal.value)

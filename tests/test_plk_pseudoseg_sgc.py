from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plk_support import SIZE, begun, make_batch, make_net, make_prediction, make_task
from torch import Tensor, nn

from plk_pseudoseg.head import SgcHead
from plk_pseudoseg.sgc import Sgc, class_maps, hypercolumn
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import Prediction, Scale, Task
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.build import build

LESION = torch.tensor([-9.0, -9.0, 9.0])  # the one class that can hold lesions, in make_task


def sure(prediction: Prediction, logits: Tensor = LESION) -> Prediction:
    """The same, of rows that all show a class."""
    assert prediction.class_logits is not None
    return replace(prediction, class_logits=logits.expand_as(prediction.class_logits))


def explained(part: Sgc, prediction: Prediction) -> Tensor:
    net = make_net()  # SGC reads the prediction alone
    return part.explain(net, torch.zeros(len(prediction.need_classes("")), 1, *SIZE), prediction)


# ── propagation ─────────────────────────────────────────────────────────────────────


def worked_head() -> SgcHead:
    """Query 2 and key 1 of a single feature, so that attention is softmax(2 f_i f_j)."""
    head = SgcHead(maps=1, masks=1, dim=1)
    head.load_state_dict(
        {**head.state_dict(), "query": torch.tensor([[2.0]]), "key": torch.tensor([[1.0]])}
    )
    return head


def test_propagation_of_two_by_two_pixels_by_hand() -> None:
    features = torch.tensor([1.0, 0.0, 0.0, -1.0]).reshape(1, 1, 2, 2)
    maps = torch.tensor([1.0, 0.0, 0.5, 0.0]).reshape(1, 1, 2, 2)
    e = torch.e
    first = (e**2 + 0.5) / (e**2 + 2 + e**-2)  # like itself, unlike the last
    even = 1.5 / 4  # a feature of 0 is like all others
    last = (e**-2 + 0.5) / (e**-2 + 2 + e**2)
    spread = torch.tensor([first, even, even, last]).reshape(1, 1, 2, 2)
    head = worked_head()
    torch.testing.assert_close(head.propagate(features, maps), spread)

    score = spread + maps  # the skip
    torch.testing.assert_close(head(features, maps), score - (2 - score))  # the untrained 1x1


def test_attention_is_scaled_by_the_root_of_the_width() -> None:
    head = SgcHead(maps=1, masks=1, dim=4)
    ones = torch.ones(4, 1)
    head.load_state_dict({**head.state_dict(), "query": ones, "key": ones})
    features = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    maps = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    found = head.propagate(features, maps).flatten()
    torch.testing.assert_close(found, torch.tensor([torch.e**2 / (torch.e**2 + 1), 0.5]))  # 4 / 2


@given(seed=st.integers(0, 99), maps=st.integers(1, 3))
def test_scores_never_leave_two(seed: int, maps: int) -> None:
    torch.manual_seed(seed)
    head, seeds = SgcHead(maps=maps, masks=1, dim=4), torch.rand(2, maps, 3, 5)
    head(features := torch.randn(2, 6, 3, 5), seeds)
    spread = head.propagate(features, seeds)
    assert (spread <= seeds.amax(dim=(2, 3), keepdim=True) + 1e-6).all()
    assert (spread >= seeds.amin(dim=(2, 3), keepdim=True) - 1e-6).all()


# ── Grad-CAM ────────────────────────────────────────────────────────────────────────


class Pooled(nn.Module):
    """A linear head after global pooling, by mean or by maximum."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.head = nn.Linear(5, 3)

    def forward(self, features: Tensor) -> Tensor:
        pooled = features.mean(dim=(2, 3)) if self.pool == "mean" else features.amax(dim=(2, 3))
        logits: Tensor = self.head(pooled)
        return logits


def grad_cam(logits: Tensor, features: Tensor, label: int) -> Tensor:
    """As Selvaraju et al. (2017) define it, over its maximum."""
    (gradient,) = torch.autograd.grad(logits[:, label].sum(), features, retain_graph=True)
    found = (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1, keepdim=True).relu()
    return found / found.amax(dim=(2, 3), keepdim=True).clamp_min(1e-30)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_class_maps_are_grad_cam_without_a_backward_pass(pool: str) -> None:
    torch.manual_seed(0)
    features, net = torch.randn(4, 5, 6, 7, requires_grad=True), Pooled(pool)
    found = class_maps(Scale(features=features, weight=net.head.weight), range(3))
    logits = net(features)
    assert not found.requires_grad
    assert found.amax() == 1
    for label in range(3):
        expected = grad_cam(logits, features, label)
        torch.testing.assert_close(found[:, label, None], expected)


def test_class_maps_are_grad_cam_of_the_networks_last_block() -> None:
    net, images = make_net(), make_batch().image
    prediction = net(images)
    last = prediction.scales[-1]
    expected = grad_cam(prediction.class_logits, last.features, 2)
    torch.testing.assert_close(class_maps(last, [2]), expected)


def test_a_class_that_nothing_speaks_for_has_a_blank_map() -> None:
    scale = Scale(features=torch.ones(1, 2, 3, 3), weight=torch.tensor([[-1.0, -1.0]]))
    assert not class_maps(scale, [0]).any()


# ── hypercolumn ─────────────────────────────────────────────────────────────────────


def test_the_hypercolumn_is_the_last_two_scales_on_the_last_grid() -> None:
    first, second = make_prediction().scales
    three = (Scale(features=torch.zeros(3, 9, 16, 16), weight=torch.zeros(3, 9)), first, second)
    found = hypercolumn(three)
    assert found.shape == (3, 8, 4, 4)
    quarter = first.features.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(found[:, :4], quarter)
    assert torch.equal(found[:, 4:], second.features)
    assert torch.equal(hypercolumn((second,)), second.features)


# ── evidence ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("masks", [1, 2])
def test_evidence_is_a_probability_of_each_mask_channel(masks: int) -> None:
    part = begun(Sgc(), make_task(masks=masks))
    found = explained(part, sure(make_prediction(masks=masks)))
    assert found.shape == (3, masks, *SIZE)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found.amax(dim=(1, 2, 3)) - found.amin(dim=(1, 2, 3)) > 0.2).all()


@given(seed=st.integers(0, 20), row=st.integers(0, 2))
def test_batchmates_never_change_evidence(seed: int, row: int) -> None:
    part, prediction = begun(Sgc()), make_prediction(seed=seed)
    together = explained(part, prediction)[row]
    alone = explained(part, prediction.rows(slice(row, row + 1)))[0]
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_images_that_show_no_lesion_class_have_a_blank_map() -> None:
    prediction = make_prediction()
    healthy = explained(begun(Sgc()), sure(prediction, LESION.flip(0)))
    least = torch.sigmoid(torch.tensor(-2.0)).expand_as(healthy)  # 0 against 2 - 0
    torch.testing.assert_close(healthy, least)
    assert (explained(begun(Sgc(presence=0.0)), sure(prediction, LESION.flip(0))) > 0.2).any()


def test_of_several_lesion_classes_each_has_its_own_map() -> None:
    task = replace(make_task(), lesion_classes=(1, 2))
    part, prediction = begun(Sgc(presence=0.0), task), make_prediction()
    explained(part, prediction)
    assert part.state is not None
    assert part.state.get_parameter("odds.weight").shape == (1, 3, 1, 1)
    second = explained(part, sure(prediction, LESION.roll(-1)))
    assert second.shape == (3, 1, *SIZE)


def test_backbones_without_classes_or_scales_are_refused() -> None:
    prediction = make_prediction()
    with pytest.raises(PluginError, match="sgc: the model's classifier has no linear head"):
        explained(begun(Sgc()), replace(prediction, scales=()))
    with pytest.raises(PluginError, match="sgc: this backbone does not classify"):
        begun(Sgc()).loss(replace(prediction, class_logits=None), make_batch())


@pytest.mark.parametrize("reference", ["sgc:dim=0", "sgc:presence=2"])
def test_options_out_of_range_are_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match=reference.partition(":")[2]):
        build("explainer", reference)


# ── training ────────────────────────────────────────────────────────────────────────


def test_the_head_learns_and_nothing_else_does() -> None:
    net, part, batch = make_net(), begun(Sgc()), make_batch()
    term = part.loss(net(batch.image), batch)
    term.total.sum().backward()
    assert part.state is not None
    for name, parameter in part.state.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    assert all(parameter.grad is None for parameter in net.parameters())


def test_only_rows_with_a_mask_teach() -> None:
    prediction = sure(make_prediction())
    batch = replace(make_batch(), has_mask=torch.tensor([True, False, True]))
    part = begun(Sgc())
    term = part.loss(prediction, batch)
    assert term.count.tolist() == [1, 0, 1]
    assert term.total[1] == 0
    other = replace(batch, mask=batch.mask.clone())
    other.mask[1] = 1 - other.mask[1]
    assert torch.equal(part.loss(prediction, other).total, term.total)


def test_the_loss_is_the_pixels_cross_entropy() -> None:
    prediction, batch = sure(make_prediction()), make_batch()
    batch = replace(batch, has_label=torch.zeros(3, dtype=torch.bool))
    part = begun(Sgc())
    p = explained(part, prediction)
    entropy = nn.functional.binary_cross_entropy(p, batch.mask, reduction="none")
    torch.testing.assert_close(part.loss(prediction, batch).total, entropy.mean(dim=(1, 2, 3)))


def test_a_known_class_is_shown_whatever_the_model_sees() -> None:
    seen, blind = (sure(make_prediction(), logits) for logits in (LESION, LESION.flip(0)))
    part, batch = begun(Sgc()), replace(make_batch(), label=torch.full((3,), 2))
    known, unknown = (replace(batch, has_label=torch.full((3,), k)) for k in (True, False))
    assert torch.equal(part.loss(blind, known).total, part.loss(seen, known).total)
    assert not torch.equal(part.loss(blind, unknown).total, part.loss(seen, unknown).total)


def test_training_moves_the_map_towards_the_masks() -> None:
    part, prediction = begun(Sgc(dim=8)), sure(make_prediction())
    batch = replace(make_batch(), mask=torch.zeros(3, 1, *SIZE))
    batch.mask[:, :, :, :18] = 1
    first = part.loss(prediction, batch).total.mean()
    assert part.state is not None
    optimiser = torch.optim.Adam(part.state.parameters(), lr=0.05)
    for _ in range(30):
        optimiser.zero_grad()
        part.loss(prediction, batch).total.mean().backward()
        optimiser.step()
    assert part.loss(prediction, batch).total.mean() < 0.8 * first


# ── a width that is found out ───────────────────────────────────────────────────────


def begun_afresh(task: Task | None = None) -> Sgc:
    torch.manual_seed(99)
    return begun(Sgc(dim=8), task)


def test_the_head_comes_back_from_a_file_before_it_has_seen_a_feature() -> None:
    part, prediction = begun(Sgc(dim=8)), sure(make_prediction())
    expected = explained(part, prediction)
    assert part.state is not None
    file = io.BytesIO()
    torch.save({f"explainer 0.{k}": v for k, v in part.state.state_dict().items()}, file)
    file.seek(0)

    fresh = begun_afresh()
    assert fresh.state is not None
    nn.ModuleDict({"explainer 0": fresh.state}).load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(explained(fresh, prediction), expected)


def test_the_width_is_kept_when_a_rehearsal_that_is_undone_finds_it() -> None:
    part, prediction = begun(Sgc(dim=8)), sure(make_prediction())
    assert part.state is not None
    before = dict(part.state.named_parameters())
    with isolated(part.state):
        expected = explained(part, prediction)
    after = dict(part.state.named_parameters())
    assert {k: id(v) for k, v in before.items()} == {k: id(v) for k, v in after.items()}
    assert all(p.requires_grad and p.grad is None for p in after.values())
    assert after["query"].shape == (8, 8)
    torch.testing.assert_close(explained(part, prediction), expected)


def test_the_width_does_not_change_once_it_is_known() -> None:
    part, prediction = begun(Sgc(dim=8)), make_prediction()
    explained(part, prediction)
    with pytest.raises(RuntimeError):
        explained(part, replace(prediction, scales=prediction.scales[-1:]))

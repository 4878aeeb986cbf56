"""What every strong view keeps: range, shape, determinism, inputs, and labels that fit pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from plk_support import begun, make_batch, make_task
from torch import Tensor

from plk_views import COMPONENTS
from plk_views.bcp import BidirectionalCopyPaste
from plk_views.colour_jitter import ColourJitter
from plk_views.cutmix import CutMix
from plk_views.cutout import CutOut
from plk_views.noise import Noise
from plk_views.unimatch import UniMatch
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Batch, Perturbation, PseudoLabels, View
from pseudolabel_kit.plugin.build import build

PARTS: dict[str, Perturbation] = {
    "noise": Noise(),
    "colour-jitter": ColourJitter(p=1),
    "cutout": CutOut(),
    "cutmix": CutMix(p=1),
    "unimatch": UniMatch(),
    "bcp": BidirectionalCopyPaste(),
}
CLASSLESS = {"bcp"}  # drops the pseudo labels of classes


def view_of(rows: int = 4, channels: int = 1, dtype: torch.dtype = torch.float32) -> View:
    """Random rows with a region and with pseudo labels of both kinds."""
    batch = make_batch(rows, make_task(channels=channels))
    batch = replace(batch, image=batch.image.to(dtype), region=batch.mask.flip(-1))
    pseudo = PseudoLabels(
        mask=torch.rand_like(batch.mask),
        mask_weight=torch.rand_like(batch.mask),
        label=torch.softmax(torch.randn(rows, 3), dim=1),
        label_weight=torch.rand(rows),
    )
    return View(batch=batch, pseudo=pseudo)


def views(part: Perturbation, view: View, seed: int = 0) -> Sequence[View]:
    torch.manual_seed(seed)
    return begun(part).perturb(view, labelled_like(view))


def labelled_like(view: View) -> Batch:
    return replace(view.batch, image=view.batch.image.flip(0), mask=view.batch.mask.flip(0))


def tensors(view: View) -> list[Tensor]:
    found = [*vars(view.batch).values(), *vars(view.pseudo).values()]
    return [each for each in found if each is not None]


def test_every_view_that_the_plugin_offers_is_tested_here() -> None:
    assert [each.name for each in COMPONENTS] == list(PARTS)
    for name, part in PARTS.items():
        assert type(build("perturbation", name)) is type(part)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "channels"), [(1, 1), (4, 3)])
def test_images_stay_images(name: str, dtype: torch.dtype, rows: int, channels: int) -> None:
    before = view_of(rows, channels, dtype)
    for after in views(PARTS[name], before):
        assert after.batch.image.shape == before.batch.image.shape
        assert after.batch.image.dtype == dtype
        assert after.batch.image.min() >= 0
        assert after.batch.image.max() <= 1
        assert after.batch.region is not None
        assert after.pseudo.mask is not None
        assert after.pseudo.mask.shape == after.batch.mask.shape
        assert (after.pseudo.label is None) == (name in CLASSLESS)


@pytest.mark.parametrize("name", PARTS)
def test_something_changes_and_the_inputs_do_not(name: str) -> None:
    before = view_of()
    kept = [each.clone() for each in tensors(before)]
    assert any(not torch.equal(v.batch.image, kept[0]) for v in views(PARTS[name], before))
    assert all(map(torch.equal, tensors(before), kept))


@pytest.mark.parametrize("name", PARTS)
def test_draws_come_from_torchs_generator(name: str) -> None:
    before = view_of()
    one, same, other = (views(PARTS[name], before, seed)[0].batch.image for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", [name for name in PARTS if name != "bcp"])
@pytest.mark.parametrize("kind", ["mask", "label"])
def test_labels_of_one_kind_are_enough(name: str, kind: str) -> None:
    before = view_of()
    pseudo = replace(before.pseudo, **{kind: None, f"{kind}_weight": None})
    for after in views(PARTS[name], replace(before, pseudo=pseudo)):
        assert getattr(after.pseudo, kind) is None
        assert getattr(after.pseudo, f"{kind}_weight") is None


@pytest.mark.parametrize("name", PARTS)
def test_without_regions_there_are_none(name: str) -> None:
    before = view_of()
    before = replace(before, batch=replace(before.batch, region=None))
    assert all(after.batch.region is None for after in views(PARTS[name], before))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("noise:std=-1", "std=-1: expected float >= 0"),
        ("colour-jitter:contrast=2", "contrast=2: expected float >= 0"),
        ("colour-jitter:p=2", "p=2: expected"),
        ("cutout:size=2", "size=2: expected"),
        ("cutout:fill=black", "fill=black: expected mean|grey"),
        ("cutmix:area=0.4/0.1", "the smaller share first"),
        ("cutmix:aspect=0.5", "aspect=0.5: expected float >= 1"),
        ("unimatch:dropout=1", "dropout=1: expected"),
        ("bcp:size=1", "size=1: expected"),
        ("bcp:alpha=-1", "alpha=-1: expected float >= 0"),
    ],
)
def test_options_out_of_range_are_refused(reference: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build("perturbation", reference)
    assert expected in str(refusal.value)

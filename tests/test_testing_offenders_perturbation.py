"""Perturbations with one fault each, and their innocent twins, before the kit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import Site
from planted_support import ANSWERS, Offender, Offenders, faults_of
from torch import Tensor

from pseudolabel_kit.interfaces import Batch, Perturbation, View

offends = Offenders("perturbation")


@dataclass(frozen=True, kw_only=True)
class Sound(Perturbation):
    """Darkens every image."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view.with_image(0.8 * view.batch.image)]


# ── innocents ───────────────────────────────────────────────────────────────────────


def moved(view: View, move: Any) -> View:
    """The view with its pixels moved, and all that is said of them."""

    def all_of(part: Any, *names: str) -> Any:
        given = {n: getattr(part, n) for n in names}
        return replace(part, **{n: None if t is None else move(t) for n, t in given.items()})

    return replace(
        view,
        batch=all_of(view.batch, "image", "mask", "region"),
        pseudo=all_of(view.pseudo, "mask", "mask_weight"),
    )


class Flips(Sound):
    """Flips all that is said of a pixel."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [moved(view, lambda t: t.flip(3))]


class Inverts(Sound):
    """The negative, of two views."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view, view.with_image(1 - view.batch.image)]


class Blurs(Sound):
    """A box of five pixels a side, and noise."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        image = F.avg_pool2d(view.batch.image, 5, 1, 2, count_include_pad=False)
        return [view.with_image((image + 0.2 * torch.randn_like(image)).clamp(0, 1))]


class Jitters(Sound):
    """Another brightness and contrast for every row."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        gain, shift = torch.rand(2, len(view.batch.image), 1, 1, 1)
        return [view.with_image((view.batch.image * (0.3 + gain) + shift - 0.5).clamp(0, 1))]


class Shuffles(Sound):
    """Rows change places, with all that is said of them."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        order = torch.randperm(len(view.batch.image))

        def reordered(part: Any) -> Any:
            given = {f.name: getattr(part, f.name) for f in fields(part)}
            return replace(part, **{n: None if t is None else t[order] for n, t in given.items()})

        return [View(batch=reordered(view.batch), pseudo=reordered(view.pseudo))]


class Hides(Sound):
    """A square without content, which no label speaks of."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        image = view.batch.image.clone()
        image[..., :12, :12] = 0.5
        weight = view.pseudo.mask_weight
        if weight is not None:
            weight = weight.clone()
            weight[..., :12, :12] = 0
        return [replace(view.with_image(image), pseudo=replace(view.pseudo, mask_weight=weight))]


@pytest.mark.parametrize(
    "part",
    [Sound, Flips, Inverts, Blurs, Jitters, Shuffles, Hides],
    ids=lambda p: p.__name__,
)
def test_the_innocent_pass(part: type, site: Site) -> None:
    assert faults_of("perturbation", part, site) == {}


# ── offenders ───────────────────────────────────────────────────────────────────────

MOVES = "labels_move_with_their_pixels"


@offends(MOVES, "pixels moved and their pseudo labels did not", "same geometry")
class FlipsTheImageAlone(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view.with_image(view.batch.image.flip(3))]


@offends(MOVES, "pixels moved and their pseudo labels did not", "all of pseudo")
class FlipsEverySecondImageAlone(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        image = view.batch.image
        return [view.with_image(image.flip(2) if torch.rand(()) < 0.5 else image)]


@offends(MOVES, "pixels moved and their pseudo labels did not", "mask_weight to 0")
class ShiftsTheLabelAlone(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        mask = view.pseudo.mask
        mask = None if mask is None else mask.roll((9, 9), dims=(2, 3))
        return [replace(view, pseudo=replace(view.pseudo, mask=mask))]


@offends(MOVES, "pixels moved and their pseudo labels did not", "same geometry")
class ShufflesImagesAlone(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view.with_image(view.batch.image.roll(1, dims=0))]


@offends(MOVES, "pixels moved and their weights did not", "all of pseudo")
class FlipsAllButTheWeights(Flips):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        (flipped,) = super().perturb(view, labelled)
        pseudo = replace(flipped.pseudo, mask_weight=view.pseudo.mask_weight)
        return [replace(flipped, pseudo=pseudo)]


@offends(MOVES, "pixels moved and their region did not", "batch.region")
class FlipsAllButTheRegion(Flips):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        (flipped,) = super().perturb(view, labelled)
        return [replace(flipped, batch=replace(flipped.batch, region=view.batch.region))]


@offends(MOVES, "rows changed places and their class labels did not", "order of rows")
class ShufflesAllButClassLabels(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [moved(view, lambda rows: rows.flip(0))]


@offends("shapes_types_and_ranges", r"image lies in \[.*1\.2.*\[0, 1\]", "clamp", ANSWERS)
class Brightens(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view.with_image(view.batch.image + 0.25)]


@offends("shapes_types_and_ranges", "a view has 4 rows, 5 were given", "keep each row", ANSWERS)
class DropsARow(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view.with_image(view.batch.image[:-1])]


@offends("shapes_types_and_ranges", "perturb gave a View", "return a list", ANSWERS)
class ReturnsAView(Sound):
    def perturb(self, view: View, labelled: Batch) -> Any:
        return view


@offends("inputs_are_left_alone", "perturb edited view.batch.image in place", "clone")
class EditsTheView(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view.with_image(view.batch.image.mul_(0.8))]


@offends("inputs_are_left_alone", "perturb edited labelled.mask in place", "clone")
class EditsTheLabelled(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        labelled.mask.zero_()
        return super().perturb(view, labelled)


@offends("labels_of_one_kind", "whose mask is None: perturb raised AttributeError", "or refuse")
class TrustsInMasks(Flips):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        assert view.pseudo.mask.ndim == 4  # type: ignore[union-attr]
        return super().perturb(view, labelled)


@offends("regions_are_passed_on", r"region has shape \(5, 1, 31, 37\), expected", "as the image")
class CutsTheRegion(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        region: Tensor | None = view.batch.region
        region = None if region is None else region[:, :, 1:]
        return [replace(view, batch=replace(view.batch, region=region))]


@offends("global_settings_are_left_alone", "the seed of torch's generator", "seed no global")
class Reseeds(Sound):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        torch.manual_seed(3)
        return super().perturb(view, labelled)


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)

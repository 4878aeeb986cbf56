"""Each trap that a page tells of is walked into, and the kit says what the page quotes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import getdoc
from types import SimpleNamespace
from typing import TypeAlias

import planted_backbones
import planted_fusers
import pytest
import test_testing_offenders_backbone as backbone
import test_testing_offenders_dataset as dataset
import test_testing_offenders_explainer as explainer
import test_testing_offenders_fuser as fuser
import test_testing_offenders_fuser_loss as loss
import test_testing_offenders_options as recipes
import test_testing_offenders_perturbation as perturbation
import test_testing_tracker as trackers
import torch.nn.functional as F
from conftest import Site
from docs_page import DOCS
from planted_support import Offenders

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.plugin.hooks import Observers
from pseudolabel_kit.testing import ConformanceError
from pseudolabel_kit.testing.suites import suite_of

Trap: TypeAlias = Callable[[Site], str]  # walks into it; what the kit says

in_fusers, in_backbones = Offenders("fuser"), Offenders("backbone")


@in_fusers("what_it_reads_is_what_it_says", "without any evidence", "")
class TakesTheFirstEvidence(planted_fusers.Sound):
    def fuse(self, prediction, evidence):  # type: ignore[no-untyped-def]
        return planted_fusers.labels(next(iter(evidence.values())).map)


class DoublingNet(planted_backbones.Net):
    def forward(self, images, on_features=None):  # type: ignore[no-untyped-def]
        found = super().forward(images, on_features)
        masks = F.interpolate(F.max_pool2d(found.mask_logits, 2), scale_factor=2)
        return replace(found, mask_logits=masks)


@in_backbones("shapes_types_and_ranges", "has shape", "")
class DoublesItsSize(planted_backbones.Sound):
    network = DoublingNet


OFFENDERS: Mapping[type, tuple[Kind, str]] = {
    each.part: (offenders.kind, each.check)
    for offenders in (
        *(module.offends for module in (backbone, dataset, explainer, fuser, loss, perturbation)),
        *(in_fusers, in_backbones),
    )
    for each in offenders.all
}


def said(kind: Kind, reference: str, check: str) -> str:
    """The promise that is broken, what was found and how it is mended."""
    suite = suite_of(kind, reference)
    broken = getattr(suite(), f"test_{check}")
    with pytest.raises(ConformanceError) as fault:
        broken()
    return f"{getdoc(broken)} {fault.value.found} {fault.value.fix}"


def part(planted: type) -> Trap:
    """An offender, before the one check that is about its fault."""
    kind, check = OFFENDERS[planted]

    def walk(site: Site) -> str:
        target = f"{planted.__module__}:{planted.__name__}"
        site.offer("planted", f"{kind!r}, 'planted', {target!r}, 'For a test.'")
        catalogue.cache_clear()
        return said(kind, "planted", check)

    return walk


def recipe(check: str, lines: str = "", without: str = "") -> Trap:
    """A sound recipe with more lines or fewer, where two plugins offer the fuser 'twice'."""

    def walk(site: Site) -> str:
        for plugin in ("one", "other"):
            site.offer(plugin, "'fuser', 'twice', 'planted_fusers:Sound', 'For a test.'")
        recipes.plant(site, recipes.GOOD.replace(without, "") + lines)
        return said("recipe", "gentle", check)

    return walk


def tracker(check: str, sound: str, fault: str) -> Trap:
    """A sound tracker with one change."""

    def walk(site: Site) -> str:
        trackers.planted(site, trackers.SOUND.replace(sound, fault))
        return said("tracker", "planted", check)

    return walk


HOOKS = {  # by what is written in place of what; a run refuses these, too
    "plk_step_end(": "plk_step_ended(",
    "\n    def": "\n    @hookimpl\n    def",
    "(self, run, number, losses)": "(self, run, step, losses)",
}
TRAPS: Mapping[str, Sequence[Trap]] = {
    "backbone": [
        part(backbone.LazyLayers),
        part(backbone.ClassifiesAnotherWay),
        part(DoublesItsSize),
        part(backbone.SpareLayer),
        part(backbone.DropsInEvalMode),
        part(backbone.OwnGenerator),
        part(backbone.BatchStatisticsInEvalMode),
        part(backbone.UnknownTerm),
        part(backbone.ClassesUnderASoftmax),
    ],
    "dataset": [
        part(dataset.OrderAtRandom),
        part(dataset.LabelsFromOne),
        part(dataset.PatientOnTwoSides),
        part(dataset.NotScaled),
        part(dataset.FloatMask),
        part(dataset.ReadsAtRandom),
    ],
    "explainer": [
        part(explainer.GoesBackward),
        part(explainer.TrustsInGradMode),
        part(explainer.StretchesTheBatch),
        part(explainer.LeavesAHook),
        part(fuser.Reseeds),  # what every part owes is told alike
        part(fuser.NumpysRandom),
        part(explainer.StretchesTheImage),
        part(explainer.NoChannel),
        part(explainer.ReadsHiddenMasks),
    ],
    "fuser": [
        part(fuser.StretchesTheBatch),
        part(fuser.EditsThePrediction),
        part(fuser.Halved),
        part(fuser.StretchesEachRow),
        part(TakesTheFirstEvidence),
        part(fuser.NoWeight),
        part(fuser.CountsInAGlobal),
        part(loss.LossIgnoresWeights),
        part(loss.LossOfTheWholeBatch),
    ],
    "perturbation": [
        part(perturbation.FlipsTheImageAlone),
        part(perturbation.EditsTheView),
        part(perturbation.Brightens),
        part(perturbation.TrustsInMasks),
        part(perturbation.DropsARow),
    ],
    "recipe": [
        recipe("every_key_is_known", "[los]\nconsistency = 1.0\n"),
        recipe("it_says_nothing_of_machine_or_data", "[train]\nseed = 7\n"),
        recipe("it_says_what_it_is", without=recipes.GOOD.partition("\n")[0]),
        recipe("every_part_can_be_made", 'fuser = "twice"\n', without='fuser = "sharpen"\n'),
    ],
    "tracker": [
        *(tracker("it_observes", sound, fault) for fault, sound in HOOKS.items()),
        tracker(
            "observing_writes_nothing_yet", "self.opened = False", "run.folder.mkdir(parents=True)"
        ),
        tracker("it_changes_nothing", trackers.STEP, "losses.clear()"),
        tracker("it_prints_nothing", trackers.STEP, "print(step)"),
        tracker("it_changes_nothing", trackers.STEP, "torch.rand(1)"),
        tracker("it_hears_a_whole_run", "pass", "measures['dice'] > 0.5"),
    ],
}


def quotations(kind: str) -> list[str]:
    """What the kit is said to say, row by row; where a row quotes nothing, nothing is said."""
    page = (DOCS / "authors" / f"{kind}.md").read_text(encoding="utf-8")
    table = page.partition("## Traps")[2].partition("##")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [found for _, told, _ in rows for found in re.findall("“(.*?)”", told)]


def assert_quoted(quotation: str, text: str) -> None:
    pieces = filter(None, map(str.strip, quotation.split("…")))
    assert re.search(".*?".join(map(re.escape, pieces)), text, re.S), text


@pytest.mark.parametrize("kind", TRAPS)
def test_every_quotation_has_its_trap(kind: str) -> None:
    assert len(quotations(kind)) == len(TRAPS[kind])


@pytest.mark.parametrize(
    ("quotation", "trap"),
    [
        pytest.param(quotation, trap, id=f"{kind}: {quotation}")
        for kind, traps in TRAPS.items()
        for quotation, trap in zip(quotations(kind), traps, strict=False)
    ],
)
def test_the_kit_says_what_the_page_quotes(quotation: str, trap: Trap, site: Site) -> None:
    assert_quoted(quotation, trap(site))


@pytest.mark.parametrize(
    ("quotation", "fault"), list(zip(quotations("tracker"), HOOKS, strict=False))
)
def test_a_run_says_so_of_hooks(quotation: str, fault: str, site: Site) -> None:
    trackers.planted(site, trackers.SOUND.replace(HOOKS[fault], fault))
    observer = build("tracker", "planted").observe(SimpleNamespace())
    with pytest.raises(PluginError) as error:
        Observers().add("tracker 'planted'", observer)
    assert_quoted(quotation, str(error.value))

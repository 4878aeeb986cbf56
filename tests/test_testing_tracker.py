"""The suite for trackers keeps the shipped ones, and catches an offender for every promise."""

from __future__ import annotations

import re

import pytest
import torch
from conftest import Site

from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.testing.fault import ConformanceError
from pseudolabel_kit.testing.tracker import TrackerConformance


class TestTensorBoard(TrackerConformance):
    reference = "tensorboard"


class TestMLflow(TrackerConformance):
    reference = "mlflow"


class TestWandB(TrackerConformance):
    reference = "wandb"


# ── planted offenders ───────────────────────────────────────────────────────────────

SOUND = """
import os
import torch
from dataclasses import dataclass
from pseudolabel_kit.plugin import Tracker, hookimpl


class Observer:
    def __init__(self, run):
        self.opened = False

    @hookimpl
    def plk_step_ended(self, run, step, losses):
        self.opened = True

    @hookimpl
    def plk_epoch_ended(self, measures):
        pass

    @hookimpl
    def plk_pseudo_labelled(self, pseudo):
        pass

    @hookimpl
    def plk_run_ended(self, outcome):
        pass


@dataclass(frozen=True, kw_only=True)
class Planted(Tracker):
    '''Tells nobody.'''

    def observe(self, run):
        return Observer(run)
"""

STEP, EPOCH, LABEL = (
    "self.opened = True",
    "(self, measures):\n        pass",
    "pseudo):\n        pass",
)
END = "outcome):\n        pass"

OFFENCES = [
    ("plk_step_ended", "plk_step_endet", "observes", "Observer is no observer: there is no hook"),
    ("(self, measures)", "(self, mesures)", "observes", "'mesures'"),
    ("@hookimpl\n    def", "def", "observes", "lacks @hookimpl"),
    ("return Observer(run)", "return run.rank", "observes", "observe raised AttributeError"),
    (
        "self.opened = False",
        "run.folder.mkdir(parents=True)",
        "observing_writes_nothing_yet",
        "observe made played/",
    ),
    (EPOCH, EPOCH.replace("pass", "measures['dice']"), "hears_a_whole_run", "KeyError: 'dice'"),
    (STEP, "return losses", "hears_a_whole_run", "plk_step_ended returned"),
    (
        END,
        END.replace("pass", "assert outcome != 'interrupted'"),
        "hears_a_whole_run",
        "plk_run_ended raised AssertionError",
    ),
    (STEP, "(run.folder / f'{step}').touch(exist_ok=False)", "goes_on_with_a_run", "FileExists"),
    (STEP, "(run.folder / f'{step}').touch(exist_ok=False)", "hears_a_run_begin_anew", "FileEx"),
    (END, END.replace("pass", "assert self.opened"), "hears_a_run_that_fails_at_once", "ended"),
    (LABEL, LABEL.replace("pass", "pseudo.mask.zero_()"), "changes_nothing", "in place"),
    (STEP, "losses.clear()", "changes_nothing", "losses became {}"),
    (STEP, "torch.rand(1)", "changes_nothing", "drew random numbers"),
    (STEP, "torch.set_grad_enabled(step < 2)", "changes_nothing", "changed grad mode"),
    (STEP, "os.chdir('..')", "stays_where_it_is", "changed the working folder"),
    (STEP, "print('step', step)", "prints_nothing", "it printed 'step 1"),
]


def planted(site: Site, source: str) -> TrackerConformance:
    component = "'tracker', 'planted', 'heavy_planted:Planted', 'Tells nobody.'"
    site.offer("planted", component, heavy_planted=source)
    catalogue.cache_clear()
    suite = TrackerConformance()
    suite.reference = "planted"  # type: ignore[misc]
    return suite


@pytest.mark.parametrize(("sound", "fault", "check", "message"), OFFENCES)
def test_an_offender_is_caught(
    site: Site, sound: str, fault: str, check: str, message: str
) -> None:
    assert sound in SOUND
    suite = planted(site, SOUND.replace(sound, fault))
    with torch.enable_grad(), pytest.raises(ConformanceError, match=re.escape(message)) as caught:
        getattr(suite, f"test_it_{check}" if "observing" not in check else f"test_{check}")()
    assert caught.value.fix


def test_a_sound_tracker_is_not(site: Site) -> None:
    suite = planted(site, SOUND)
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()

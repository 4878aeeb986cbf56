"""Running a suite without pytest: each promise, kept or broken, with the fault and its fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import getdoc

from pseudolabel_kit.errors import UserError
from pseudolabel_kit.interfaces import Dataset
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.testing.backbone import BackboneConformance
from pseudolabel_kit.testing.calls import RIVAL, CallConformance
from pseudolabel_kit.testing.conformance import Conformance
from pseudolabel_kit.testing.dataset import DatasetConformance
from pseudolabel_kit.testing.explainer import ExplainerConformance
from pseudolabel_kit.testing.fault import ConformanceError, sound
from pseudolabel_kit.testing.fuser import FuserConformance
from pseudolabel_kit.testing.perturbation import PerturbationConformance
from pseudolabel_kit.testing.recipe import RecipeConformance
from pseudolabel_kit.testing.tracker import TrackerConformance

SUITES: dict[Kind, type[Conformance]] = {
    suite.kind: suite
    for suite in (
        BackboneConformance,
        DatasetConformance,
        ExplainerConformance,
        FuserConformance,
        PerturbationConformance,
        RecipeConformance,
        TrackerConformance,
    )
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one promise.

    Attributes:
        check: the name of the method that tested it.
        promise: what was promised, in one line.
        fault: what was found; None where the promise was kept.
        fix: what to change.
    """

    check: str
    promise: str
    fault: str | None = None
    fix: str = ""


def check(kind: Kind, reference: str) -> Iterator[Verdict]:
    """Every promise of a part of this kind, one after the other."""
    suite = suite_of(kind, reference)
    part = suite().part()
    for name in promises(suite):
        promise = (getdoc(getattr(suite, name)) or name).split("\n")[0]
        try:
            with sound("it", part):
                getattr(suite(), name)()
        except ConformanceError as fault:
            yield Verdict(check=name, promise=promise, fault=fault.found, fix=fault.fix)
        else:
            yield Verdict(check=name, promise=promise)


def begin(kind: Kind, reference: str) -> None:
    """Make a part, and read a dataset's rows, so that what is the user's is not told as a fault.

    Raises:
        UserError: an option is refused, or the data are missing.
    """
    part = suite_of(kind, reference)().part()
    if not isinstance(part, Dataset):
        return
    try:
        part.rows()
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException:  # a stranger's code: it may raise anything
        return  # its author's, and told under the promises that it breaks


def suite_of(kind: Kind, reference: str) -> type[Conformance]:
    """The suite that tests this part."""
    return type(f"Test{kind.title()}", (SUITES[kind],), {"reference": reference})


def price(kind: Kind, reference: str) -> str | None:
    """What a part's call costs beside a plain forward pass; None where it has no such call."""
    suite = suite_of(kind, reference)()
    if not isinstance(suite, CallConformance):
        return None
    call, forward = suite.price()
    ratios = {
        "time": call.seconds / forward.seconds,
        "memory": call.peak / forward.peak,
    }
    told = " and ".join(f"{100 * ratio:.3g}% of the {what}" for what, ratio in ratios.items())
    return f"{suite.call} costs {told} of a forward pass of {RIVAL} on 8 images of 64 x 64"


def promises(suite: type[Conformance]) -> list[str]:
    """The names of a suite's checks, those that every part owes first."""
    names = (name for home in reversed(suite.__mro__) for name in vars(home))
    return list(dict.fromkeys(name for name in names if name.startswith("test_")))

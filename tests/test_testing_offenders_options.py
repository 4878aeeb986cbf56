"""Parts whose options, door or recipe have one fault each, and innocent ones, before the kit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from conftest import Site
from planted_support import Offender, Offenders, faults_of
from pydantic import Field

from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, PseudoLabels
from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.plugin.moment import Moment
from pseudolabel_kit.testing.suites import Verdict, check

offends = Offenders("fuser")
FROZEN, WRITTEN = "its_options_are_frozen", "its_options_survive_being_written"
DOCUMENTED, NONSENSE = "its_options_are_documented", "its_options_refuse_nonsense"


@dataclass(frozen=True, kw_only=True)
class Plain(Fuser):
    """The decoder's own probability."""

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        mask = prediction.need_masks(self.origin).float().sigmoid()
        return PseudoLabels(mask=mask, mask_weight=torch.ones_like(mask[:, :1]))


@dataclass(frozen=True, kw_only=True)
class Sound(Plain):
    """The decoder's own probability, with an option of every sort.

    Attributes:
        beta: a number in a range.
        mode: one of two words.
        weights: three numbers,
            on two lines.
        names: words.
        path: a file, or none.
        note: any text.
        start: a moment of the run.
    """

    beta: Annotated[float, Field(gt=0)] = 0.5
    mode: Literal["soft", "hard"] = "soft"
    weights: tuple[float, float, float] = (0.3, 0.3, 0.4)
    names: tuple[str, ...] = ("a", "b")
    path: Path | None = None
    note: Annotated[str, Field(title="any text")] = ""
    start: Moment = "20%"


@pytest.mark.parametrize("options", ["", ":beta=2:weights=1/2/3:names=c:path=x.pt:note=a=b"])
def test_the_innocent_pass(options: str, site: Site) -> None:
    assert faults_of("fuser", Sound, site, options) == {}


# ── options ─────────────────────────────────────────────────────────────────────────


@offends(FROZEN, "option 'beta' can be assigned to", r"frozen=True, kw_only=True")
class Thawed(Sound):
    __setattr__ = object.__setattr__


# nor can a list be written in a reference
@offends(FROZEN, "option 'weights' holds a list, which can", "tuple", frozenset({WRITTEN}))
@dataclass(frozen=True, kw_only=True)
class ListOption(Plain):
    """A list.

    Attributes:
        weights: numbers.
    """

    weights: list[float] = field(default_factory=list)


@offends(DOCUMENTED, "option 'beta' is not documented", '"beta: what it does."')
@dataclass(frozen=True, kw_only=True)
class Undocumented(Plain):
    """Says nothing of its option."""

    beta: float = 1.0


@offends(DOCUMENTED, "class Silent has no docstring", "first line")
@dataclass(frozen=True, kw_only=True)
class Silent(Plain):
    pass


@offends(WRITTEN, "default of option 'beta' is refused: beta=-1.0: expected float > 0", "allows")
@dataclass(frozen=True, kw_only=True)
class BadDefault(Plain):
    """Means "switched off" by a number that it forbids.

    Attributes:
        beta: a number.
    """

    beta: Annotated[float, Field(gt=0)] = -1.0


@offends(WRITTEN, "option 'beta' was given 0.5 and holds 0.25", "compute from them in a property")
@dataclass(frozen=True, kw_only=True)
class Rewrites(Sound):
    """Squares its option when it is made."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", self.beta**2)


@offends(WRITTEN, r"'planted:beta=0.5:.*' builds .*, expected", "__eq__")
class NeverEqual(Sound):
    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = Sound.__hash__


@offends(NONSENSE, "option 'beta' takes anything: it is annotated Any", "annotate it: Annotated")
@dataclass(frozen=True, kw_only=True)
class Untyped(Plain):
    """Takes anything.

    Attributes:
        beta: a number, one hopes.
    """

    beta: Any = "1"


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)


# ── the door ────────────────────────────────────────────────────────────────────────

DOOR = "its_light_module_imports_no_torch"


@pytest.mark.parametrize(
    ("door", "extra", "found"),
    [
        ("wide", "import parts_wide", "imports parts_wide, torch"),
        ("heavy", "import torch", "imports torch"),
    ],
)
def test_a_heavy_door_is_caught(door: str, extra: str, found: str, site: Site) -> None:
    parts = {f"parts_{door}": "from test_testing_offenders_options import Sound\n"}
    site.offer(door, f"'fuser', {door!r}, 'parts_{door}:Sound', '.'", extra=extra, **parts)
    verdict = only("fuser", door)
    assert (verdict.check, verdict.fault) == (
        f"test_{DOOR}",
        f"the light module light_{door} {found}",
    )
    assert "name the class in its Component, as 'package.module:Class'" in verdict.fix


def test_a_door_that_opens_here_alone_is_caught(site: Site) -> None:
    site.offer(
        "shy",
        "'fuser', 'shy', 'test_testing_offenders_options:Sound', '.'",
        extra="import sys\nassert 'pytest' in sys.modules, 'no tests here'",
    )
    verdict = only("fuser", "shy")
    assert verdict.check == f"test_{DOOR}"
    assert verdict.fault == (
        "the light module light_shy cannot be imported by itself: AssertionError: no tests here"
    )


def only(kind: Any, reference: str) -> Verdict:
    """The one fault of a part."""
    catalogue.cache_clear()
    (verdict,) = (each for each in check(kind, reference) if each.fault is not None)
    return verdict


# ── recipes ─────────────────────────────────────────────────────────────────────────

GOOD = '# Ours, gently.\n[method]\nbackbone = "vgg-multiscale:width=0.1"\nfuser = "sharpen"\n'


@pytest.mark.parametrize(
    ("text", "check", "found", "fix"),
    [
        (GOOD + "[los]\nconsistency = 1.0\n", "every_key_is_known", "'los'", "that a run.toml has"),
        (
            GOOD.replace("sharpen", "sharpenn"),
            "every_part_can_be_made",
            "its fuser 'sharpenn' cannot be made: there is no fuser 'sharpenn' (did you mean",
            "let the package depend on",
        ),
        (
            GOOD + "[train]\nseed = 7\n",
            "it_says_nothing_of_machine_or_data",
            "it sets train.seed",
            "to the command line",
        ),
        (
            GOOD + '[data]\nsource = "scans"\n',
            "it_says_nothing_of_machine_or_data",
            "it sets data.source",
            "to the command line",
        ),
        (
            GOOD.partition("\n")[2],
            "it_says_what_it_is",
            "the file has no comment on top",
            "which method this is",
        ),
    ],
)
def test_a_faulty_recipe_is_caught(text: str, check: str, found: str, fix: str, site: Site) -> None:
    plant(site, text)
    verdict = only("recipe", "gentle")
    assert verdict.check == f"test_{check}"
    assert found in (verdict.fault or "")
    assert fix in verdict.fix


def test_a_good_recipe_passes(site: Site) -> None:
    plant(site, GOOD)
    assert [each for each in check("recipe", "gentle") if each.fault is not None] == []


def plant(site: Site, text: str) -> None:
    """A recipe 'gentle' with this text."""
    package = site.folder / "gently"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "gentle.toml").write_text(text)
    site.offer("gently", "'recipe', 'gentle', 'gently:gentle.toml', 'For a test.'")
    catalogue.cache_clear()

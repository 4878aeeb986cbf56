"""Parts with one fault each, planted in a site and checked as `plk plugins check` does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conftest import Site

from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.plugin.component import Kind

if TYPE_CHECKING:
    from pseudolabel_kit.testing.suites import Verdict

# The checks that look at an answer: a fault that every answer has is seen by each of them.
ANSWERS = frozenset(
    {
        "shapes_types_and_ranges",
        "images_without_content",
        "odd_and_tiny_images",
        "mixed_precision",
        "what_it_reads_is_what_it_says",
        "a_missing_head_is_refused_by_name",
        "labels_of_one_kind",
        "a_batch_of_one_row_can_be_learned",
    }
)
EVERY = frozenset({"every"})  # a fault that no check can look past


@dataclass(frozen=True)
class Offender:
    """A part with a fault, and what is to be said of it.

    Attributes:
        part: the class.
        check: the check that is about its fault, without "test_".
        found: a pattern of what it says, and `fix` of how it is mended.
        also: other checks that cannot but see the fault.
    """

    part: type
    check: str
    found: str
    fix: str
    also: frozenset[str]

    def __str__(self) -> str:
        return self.part.__name__


@dataclass
class Offenders:
    """Those of one kind; as a decorator it takes one more."""

    kind: Kind
    all: list[Offender] = field(default_factory=list)

    def __str__(self) -> str:
        return self.kind

    def __call__(
        self, check: str, found: str, fix: str, also: frozenset[str] = frozenset()
    ) -> Callable[[type], type]:
        def take(part: type) -> type:
            self.all.append(Offender(part, check, found, fix, also))
            return part

        return take

    def assert_caught(self, offender: Offender, site: Site) -> None:
        """The check that is about the fault names it and its remedy, and no other fails."""
        faults = faults_of(self.kind, offender.part, site)
        told = {name: verdict.fault for name, verdict in faults.items()}
        assert offender.check in faults, told
        if offender.also is not EVERY:
            assert faults.keys() <= {offender.check} | offender.also, told
        verdict = faults[offender.check]
        assert re.search(offender.found, verdict.fault or ""), verdict
        assert re.search(offender.fix, verdict.fix), verdict


def faults_of(kind: Kind, part: type, site: Site, options: str = "") -> dict[str, Verdict]:
    """The broken promises of a part that a plugin brings, by their checks' names."""
    from pseudolabel_kit.testing.suites import check  # planted datasets are read without torch

    target = f"{part.__module__}:{part.__name__}"
    site.offer("planted", f"{kind!r}, 'planted', {target!r}, 'For a test.'")
    catalogue.cache_clear()
    verdicts = check(kind, f"planted{options}")
    return {v.check.removeprefix("test_"): v for v in verdicts if v.fault is not None}

"""Pages for studies, one after another, each whole or absent; those that are done are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pseudolabel_kit import __version__
from pseudolabel_kit.audit.sweep import named
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.files import claimed, write_text
from pseudolabel_kit.interfaces import Explainer
from pseudolabel_kit.scans.study import Skipped
from pseudolabel_kit.viewer.card import Card, card, index, read_card, write_card
from pseudolabel_kit.viewer.drawing import drawn
from pseudolabel_kit.viewer.page import page
from pseudolabel_kit.viewer.stack import Stack

CARDS, INDEX = "cards", "index.html"
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was done.

    Attributes:
        cards: of the studies asked for, those that were kept included.
        kept: how many had been done before.
        skipped: studies that cannot be used, and why.
        index: the page that lists all studies in the folder; None where it holds one.
    """

    cards: Sequence[Card]
    kept: int
    skipped: Sequence[Skipped]
    index: Path | None


def write_pages(
    run: Path,
    predictor: Predictor,
    explainers: Mapping[str, Explainer],
    stacks: Sequence[Stack],
    out: Path,
    *,
    overwrite: bool = False,
    told: Told = lambda what, done, total: None,
) -> Written:
    """Write NAME.html for each study, and index.html where the folder holds several.

    Args:
        told: (the study's name, slices done, slices in all).

    Raises:
        RunError: a page is there that was made otherwise, or `out` cannot be written.
        PluginError: a part fails; it is named.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file; expected a folder for --out")
    stamps = {stack.name: _stamp(run, predictor, explainers, stack) for stack in stacks}
    with claimed(out, "another process writes explanations into it"):
        cards = {} if overwrite else _done(out, stamps)
        kept, skipped = len(cards), list[Skipped]()
        for stack in (each for each in stacks if each.name not in cards):
            try:
                study = drawn(predictor, explainers, stack, partial(told, stack.name))
            except DataError as error:
                skipped.append(Skipped(stack.name, str(error)))
                continue
            _card(out, stack.name).unlink(missing_ok=True)  # it would be of another page
            write_text(_page(out, stack.name), page(study, run=named(run), step=predictor.step))
            cards[stack.name] = card(study, stamps[stack.name])
            write_card(_card(out, stack.name), cards[stack.name])
        return Written(
            cards=[cards[stack.name] for stack in stacks if stack.name in cards],
            kept=kept,
            skipped=skipped,
            index=_write_index(out, run),
        )


def _done(out: Path, stamps: Mapping[str, str]) -> dict[str, Card]:
    """The cards of studies that need not be done again; a page without one was not finished.

    Raises:
        RunError: a page would be replaced that is another.
    """
    found = {}
    for name, stamp in stamps.items():
        there = read_card(_card(out, name))
        if there and there.stamp == stamp and _page(out, name).exists():
            found[name] = there
        elif _page(out, name).exists() and _card(out, name).exists():
            raise RunError(
                f"{_page(out, name)}: exists, of another run, other explainers or other images; "
                "replace with --overwrite, or choose another --out"
            )
    return found


def _write_index(out: Path, run: Path) -> Path | None:
    there = filter(None, map(read_card, sorted((out / CARDS).glob("*.json"))))
    cards = [each for each in there if _page(out, each.name).exists()]
    if len(cards) < 2:
        return None
    write_text(out / INDEX, index(cards, named(run)))
    return out / INDEX


def _stamp(
    run: Path, predictor: Predictor, explainers: Mapping[str, Explainer], stack: Stack
) -> str:
    facts = (__version__, RunFolder(run).config_hash(), predictor.step, *explainers, stack.stamp)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _page(out: Path, name: str) -> Path:
    return out / f"{name}.html"


def _card(out: Path, name: str) -> Path:
    return out / CARDS / f"{name}.json"

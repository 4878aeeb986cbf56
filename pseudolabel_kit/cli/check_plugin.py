"""`plk plugins check`: every promise of a part, kept or broken, and what the part costs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pseudolabel_kit.cli.console import err, out, wrapped
from pseudolabel_kit.cli.named import named
from pseudolabel_kit.plugin.catalogue import Offer

if TYPE_CHECKING:
    from pseudolabel_kit.testing.suites import Verdict

EPILOG = """
\b
Examples:
  plk plugins check my-fuser                     the part, by its name
  plk plugins check my-fuser:beta=2              with options
  plk plugins check explainer/ig                 where two kinds have one name
  plk plugins check manifest:path=scans          your data, as the contract wants it
  plk plugins check my-plugin                    every part of a plugin
"""


def check(
    name: Annotated[str, typer.Argument(help="A part, with options if you like, or a plugin.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Test parts against the contract; exits with 1 where a promise is broken."""
    asked, _, options = name.partition(":")
    tail = f":{options}" if options else ""
    reports, broken, offers = [], 0, named(asked, plugins=True)
    with err.status("importing torch"):
        from pseudolabel_kit.testing import suites

    for offer in offers:
        suites.begin(offer.component.kind, f"{offer}{tail}")  # refused before a report
    for offer in offers:
        if not as_json:
            out.print(f"{offer.component.kind} {offer}{tail}", style="bold", markup=False)
        verdicts = []
        for verdict in suites.check(offer.component.kind, f"{offer}{tail}"):
            verdicts.append(verdict)
            if verdict.fault is None and not as_json:
                _say("  ✓ ", verdict.promise, "green")
        broken += (faults := sum(verdict.fault is not None for verdict in verdicts))
        price = None if faults else suites.price(offer.component.kind, f"{offer}{tail}")
        reports.append(_as_table(offer, tail, verdicts, price))
        if not as_json:
            _show_faults(verdicts)
            _conclude(len(verdicts), faults, price)
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
    raise typer.Exit(1 if broken else 0)


def _show_faults(verdicts: Iterable[Verdict]) -> None:
    """Each fault once, under all the promises that it breaks."""
    told: list[list[Verdict]] = []
    for each in verdicts:
        if each.fault is not None:
            alike = next((group for group in told if _is_again(each, group[0])), None)
            if alike is None:
                told.append(alike := [])
            alike.append(each)
    for group in told:
        for each in group:
            _say("  ✗ ", each.promise, "red")
        _say("      ", str(group[0].fault))
        _say("      fix: ", group[0].fix)


def _is_again(one: Verdict, first: Verdict) -> bool:
    """Whether it tells that fault, figures aside, perhaps "on images without content: ..."."""
    again, told = (re.sub(r"-?\d[\d.e+-]*", "0", f": {each.fault}") for each in (one, first))
    return again.endswith(told)


def _say(lead: str, text: str, style: str | None = None) -> None:
    """A lead, in a style, and a text that is wrapped beside it."""
    out.print(lead, style=style, markup=False, end="")
    out.print(wrapped(out, text, len(lead)), markup=False, soft_wrap=True)


def _conclude(promises: int, faults: int, price: str | None) -> None:
    if price:
        _say("  ", price)
    told = f"{faults} of {promises} promises broken" if faults else f"{promises} promises kept"
    out.print(f"  {told}\n", style="red" if faults else "green", markup=False)


def _as_table(
    offer: Offer, tail: str, verdicts: list[Verdict], price: str | None
) -> dict[str, Any]:
    return {
        "kind": offer.component.kind,
        "reference": f"{offer}{tail}",
        "plugin": offer.plugin,
        "price": price,
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }

"""`plk plugins list`: what is on offer, kind by kind, and which plugins are broken, and why."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Annotated, Any

import typer

from pseudolabel_kit.cli.console import out, wrapped
from pseudolabel_kit.cli.options import known_kind
from pseudolabel_kit.plugin import CONTRACT
from pseudolabel_kit.plugin.catalogue import Catalogue, Offer, catalogue
from pseudolabel_kit.plugin.component import KINDS, Kind

SLOW = 0.1  # seconds that one plugin may take from a command


def list_parts(
    kind: Annotated[
        Kind | None,
        typer.Option(
            parser=known_kind, metavar=f"<{'|'.join(KINDS)}>", help="Only parts of this kind."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List every part, and every plugin that is broken or switched off."""
    installed = catalogue()
    names = installed.names()
    offers = sorted(installed.offers(kind), key=_place)
    if as_json:
        typer.echo(json.dumps(_as_tables(installed, offers, names), indent=2))
        return
    _say(_summary(installed, kind, offers), style="bold")
    _print_parts(offers, names)
    out.print()
    if any(names[offer] == str(offer) for offer in offers):
        _say("A name with '/' is offered by several plugins: write it so.", style="yellow")
    for plugin in installed.plugins:
        if plugin.seconds > SLOW:
            taken = f"{plugin.seconds:.2f} s of every command that looks for a part"
            _say(f"Slow: plugin '{plugin.name}' takes {taken}.", style="yellow")
    if installed.disabled:
        _say(f"Switched off: {', '.join(installed.disabled)}")
    for each in installed.broken:
        _say(f"Broken: plugin '{each.name}' of {each.distribution}: {each.reason}", style="red")


def _place(offer: Offer) -> int:
    return KINDS.index(offer.component.kind)


def _summary(installed: Catalogue, kind: Kind | None, offers: list[Offer]) -> str:
    what = f"parts of kind {kind}" if kind else "parts"
    broken = f" · {len(installed.broken)} broken" if installed.broken else ""
    return f"contract {CONTRACT} · {len(installed.plugins)} plugins{broken} · {len(offers)} {what}"


def _print_parts(offers: list[Offer], names: dict[Offer, str]) -> None:
    """Kind by kind in columns; for a program one part a line, however long."""
    name_width = max((len(names[each]) for each in offers), default=0)
    plugin_width = max((len(each.plugin) for each in offers), default=0)
    indent = name_width + plugin_width + 6
    for kind, group in groupby(offers, key=lambda offer: offer.component.kind):
        _say(f"\n{kind}", style="bold")
        lines = [
            f"  {names[each]:{name_width}}  {each.plugin:{plugin_width}}  "
            + wrapped(out, each.component.summary, indent)
            for each in group
        ]
        _say("\n".join(lines))


def _say(text: str, style: str | None = None) -> None:
    out.print(text, style=style, markup=False, soft_wrap=True)


def _as_tables(
    installed: Catalogue, offers: list[Offer], names: dict[Offer, str]
) -> dict[str, Any]:
    return {
        "contract": CONTRACT,
        "components": [
            {
                "kind": offer.component.kind,
                "name": offer.component.name,
                "target": offer.component.target,
                "summary": offer.component.summary,
                "plugin": offer.plugin,
                "reference": names[offer],
            }
            for offer in offers
        ],
        "plugins": [
            {"name": each.name, "distribution": each.distribution, "seconds": each.seconds}
            for each in installed.plugins
        ],
        "broken": [vars(each) for each in installed.broken],
        "disabled": list(installed.disabled),
    }

"""`plk plugins show`: what a part does, its options, and who offers it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from inspect import getdoc
from typing import Annotated, Any

import tomli_w
import typer

from pseudolabel_kit.cli.console import out
from pseudolabel_kit.cli.named import named
from pseudolabel_kit.plugin.catalogue import Catalogue, Offer, catalogue


def show(
    name: Annotated[str, typer.Argument(help="sharpen, calibrated/sharpen or fuser/sharpen.")],
) -> None:
    """Show what a part does, its options, and who offers it."""
    for offer in named(name):
        _show(catalogue(), offer)


def _show(installed: Catalogue, offer: Offer) -> None:
    from pseudolabel_kit.plugin.build import read_recipe

    part = offer.component
    recipe = part.kind == "recipe"
    content: Any = read_recipe(str(offer)) if recipe else installed.load(offer)
    origin = next(each.distribution for each in installed.plugins if each.name == offer.plugin)
    _say(f"{part.kind} {part.name}", style="bold")
    _say(part.summary)
    _say(f"From plugin '{offer.plugin}' ({origin}), {part.target}\n")
    if part.formerly:
        _say(f"Formerly '{part.formerly.name}', which goes in version {part.formerly.until}.\n")
    if recipe:
        _say(tomli_w.dumps(content))
    else:
        _show_class(offer, content)


def _show_class(offer: Offer, part: type[Any]) -> None:
    from pseudolabel_kit.plugin.options import options

    text = re.split(r"\n\n(?:Attributes|Options):\n", getdoc(part) or "")[0]
    if not text.startswith(f"{part.__name__}("):  # what dataclasses write where nobody did
        _say(f"{text}\n")
    known = options(part)
    rows = [
        (o.name, o.type, "(must be given)" if o.default is None else o.default, o.doc)
        for o in known
    ]
    if rows:
        _print_table(("option", "type", "default", "meaning"), rows)
    example = [offer.component.name, *(f"{o.name}={o.default or '...'}" for o in known[:2])]
    _say(f"As in: {':'.join(example)}\n")


def _print_table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: a bracket in a summary is no markup
    out.print(table)


def _say(text: str, style: str | None = None) -> None:
    out.print(text, style=style, markup=False, soft_wrap=True)

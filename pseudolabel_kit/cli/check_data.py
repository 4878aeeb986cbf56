"""`plk data check`: what is wrong with a dataset, with the rows and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pseudolabel_kit.check.check import Checked
    from pseudolabel_kit.check.finding import Finding

EPILOG = """
\b
Looks for patients, copies and near-copies on two sides, also flipped; copies with different
labels; masks that lie outside the region, cover nearly everything, have specks, or
contradict their class; constant images and outliers in brightness or contrast.
Exits with 1 where there is an error or a warning, with 0 where there are notes at most.

\b
Examples:
  plk data check --data scans
  plk data check --data scans --html check.html
  plk data check --data scans --json --set data.size=224
"""
NAMED = 3  # cases of a finding that are named
WITHIN = 6  # images of a case that are named
STYLES = {"error": "red", "warning": "yellow", "note": "cyan"}


def check(
    source: Annotated[
        str | None,
        typer.Option("--data", help="A manifest.csv, its folder, or a dataset's name."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with pictures of the rows concerned."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: every finding with all its rows.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As in --set data.size=224"),
    ] = None,
) -> None:
    """Look for leaks, copies, and masks, labels and images that are wrong.

    The truth of every row is read here, also of those that training must not know.
    """
    from pseudolabel_kit.check.check import check as checked_by
    from pseudolabel_kit.check.words import as_table
    from pseudolabel_kit.cli import console
    from pseudolabel_kit.cli.display import stages
    from pseudolabel_kit.files import write_text
    from pseudolabel_kit.layers import assignment, resolve

    named = {"data": {"source": source}} if source else {}
    config = resolve(named, *map(assignment, settings or []))
    with ExitStack() as stack:
        checked = checked_by(config.data, stages(stack))
    if html:
        from pseudolabel_kit.check.page import page

        write_text(html, page(checked, _command(checked.source, settings or [], html)))
    if as_json:
        typer.echo(json.dumps(as_table(checked), indent=2))
    else:
        _tell(checked)
        if html:
            console.out.print(f"page: {html}", markup=False, soft_wrap=True)
    raise typer.Exit(0 if checked.sound else 1)


def _tell(checked: Checked) -> None:
    from pseudolabel_kit.check.words import patients_known, tally
    from pseudolabel_kit.cli import console
    from pseudolabel_kit.data.splits import SIDES

    how = "drawn as a run would" if checked.drawn else "as the dataset names them"
    count = ", ".join(f"{checked.sides.count(side)} {side}" for side in SIDES)
    lines = [
        f"{checked.source}: {len(checked.sides)} images",
        f"sides, {how}: {count}",
        patients_known(checked),
    ]
    for line in lines:
        console.out.print(line, markup=False, soft_wrap=True)
    for finding in checked.findings:
        title = f"\n{finding.severity}: {finding.said}: {finding.amount}"
        console.out.print(title, style=STYLES[finding.severity], markup=False, soft_wrap=True)
        for line in _cases(checked, finding):
            console.out.print(f"  {line}", markup=False, soft_wrap=True)
        fix = console.wrapped(console.out, finding.fix, len("  fix: "))
        console.out.print(f"  fix: {fix}", markup=False, soft_wrap=True)
    console.out.print(f"\n{tally(checked)}", style="green" if checked.sound else "bold")


def _cases(checked: Checked, finding: Finding) -> Iterator[str]:
    """The first cases by their files' names, and how many more there are."""
    store = checked.store
    for case, told in list(zip(finding.cases, finding.told, strict=True))[:NAMED]:
        named = []
        for i in case[:WITHIN]:
            label = store.rows[i].label
            known = [checked.sides[i], *([] if label is None else [store.classes[label]])]
            named.append(f"{store.rows[i].name} ({', '.join(known)})")
        if (rest := len(case) - WITHIN) > 0:
            named.append(f"{rest} more")
        yield " = ".join(named) + (f": {told}" if told else "")
    if (more := len(finding.cases) - NAMED) > 0:
        yield f"and {more} more; --json names all"


def _command(source: str, settings: list[str], html: Path) -> str:
    import shlex

    chosen = [word for setting in settings for word in ("--set", setting)]
    return shlex.join(["plk", "data", "check", "--data", source, *chosen, "--html", str(html)])

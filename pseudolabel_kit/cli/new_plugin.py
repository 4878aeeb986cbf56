"""`plk plugins new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from pseudolabel_kit.cli.options import known_kind
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.plugin.component import KINDS

EPILOG = """
\b
KIND is backbone, explainer, fuser, perturbation, dataset, recipe or tracker. The package holds
a small part that works: install it, run its tests, then write your own method over it.

\b
Examples:
  plk plugins new fuser my-fuser
  plk plugins new explainer occlusion-test --out plugins/occlusion
  plk plugins new dataset clinic
"""


def new(
    kind: Annotated[str, typer.Argument(help="What the part is for, as fuser.", metavar="KIND")],
    name: Annotated[str, typer.Argument(help="What it is called, as my-fuser.", metavar="NAME")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The package's folder; default: NAME.", show_default=False
        ),
    ] = None,
) -> None:
    """Write a package for a part of your own, which installs, passes its tests and runs."""
    from pseudolabel_kit.plugin.catalogue import catalogue
    from pseudolabel_kit.scaffold.names import checked
    from pseudolabel_kit.scaffold.writer import light_file, method_file, training, write

    if kind not in KINDS and name in KINDS:
        raise ConfigError(f"the kind stands first: plk plugins new {name} {shlex.quote(kind)}")
    names = checked(known_kind(kind), name, catalogue())
    folder = out or Path(name)
    write(names, folder)
    typer.echo(
        f"wrote {folder}: the {kind} {name}, which works; make it yours in {method_file(names)},\n"
        f"and its line for lists in {light_file(names)}\n"
        "next:\n"
        f"  cd {shlex.quote(str(folder))}\n"
        '  pip install -e ".[test]"\n'
        f"  plk plugins check {name}\n"
        "  pytest\n"
        f"  {training(names)}"
    )

"""`plk data`: the commands about datasets, each in a module of its own."""

from __future__ import annotations

import typer

from pseudolabel_kit.cli import import_data
from pseudolabel_kit.cli.describe_data import describe

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Make a dataset of scans; describe one as it was understood."""


app.command("describe")(describe)
app.command("import", epilog=import_data.EPILOG)(import_data.import_scans)

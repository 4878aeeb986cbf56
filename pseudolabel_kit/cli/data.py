"""`plk data`: the commands about datasets, each in a module of its own."""

from __future__ import annotations

import typer

from pseudolabel_kit.cli import split_data
from pseudolabel_kit.cli.describe_data import describe

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Describe and split a dataset."""


app.command("describe")(describe)
app.command("split", epilog=split_data.EPILOG)(split_data.split)

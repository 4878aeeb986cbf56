"""`plk data`: the commands about datasets, each in a module of its own."""

from __future__ import annotations

import typer

from pseudolabel_kit.cli import check_data, import_data, lung_regions, split_data
from pseudolabel_kit.cli.describe_data import describe

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Make a dataset of scans; describe, check and split one."""


app.command("import", epilog=import_data.EPILOG)(import_data.import_scans)
app.command("describe")(describe)
app.command("check", epilog=check_data.EPILOG)(check_data.check)
app.command("split", epilog=split_data.EPILOG)(split_data.split)
app.command("lungs", epilog=lung_regions.EPILOG)(lung_regions.lungs)

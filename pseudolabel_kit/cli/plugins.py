"""`plk plugins`: the commands about parts, each in a module of its own."""

from __future__ import annotations

import typer

from pseudolabel_kit.cli import check_plugin, new_plugin
from pseudolabel_kit.cli.list_plugins import list_parts
from pseudolabel_kit.cli.show_plugin import show

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def plugins() -> None:
    """List, show and check parts; begin one of your own."""


app.command("list")(list_parts)
app.command("new", epilog=new_plugin.EPILOG)(new_plugin.new)
app.command("check", epilog=check_plugin.EPILOG)(check_plugin.check)
app.command("show")(show)

"""The command `plk`: a table of commands, each in a module that is imported when it is named.

A command module exposes `app`, a `typer.Typer(add_completion=False)`: with one command and no
callback it is that command (`plk train`), with a callback it is a group (`plk data describe`).
It imports torch and its like inside its functions, so that its own `--help` is quick, and it
leaves errors alone: `run` shows a `UserError` as one line and exits with 2.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from pseudolabel_kit.errors import ConfigError, UserError, nearest

COMMANDS = {
    "train": "Train a model on labelled and unlabelled images.",
    "evaluate": "Measure a trained run on one side of the split.",
    "audit": "Judge evidence and pseudo labels on a trained run.",
    "compare": "Train methods with several seeds and say how they differ.",
    "predict": "Write masks, volumes and classes for scans and images.",
    "explain": "Show a study's slices with answers and evidence, as a page.",
    "export": "Write the network as one ONNX or torch file.",
    "plugins": "List, show and check parts; begin one of your own.",
    "data": "Make a dataset of scans; describe, check and split one.",
}

EXAMPLES = """
Examples:

  plk train                                       the embedded phantom, about three minutes
  plk train --data DIR --out runs/first           your images, by DIR/manifest.csv
  plk train --fuser fixmatch:threshold=0.95 --explainer none
  plk evaluate runs/first --split test
  plk audit runs/first --fuser sharpen,fixmatch
  plk compare --recipe supervised,fixmatch,calibrated --seeds 3
  plk data import hospital/ --out scans           NIfTI, DICOM and others, with a manifest
  plk data lungs --data scans                     lung regions, without a model
  plk predict runs/first scan.nii.gz --out answers
  plk explain runs/first scan.nii.gz --out explained
  plk export runs/first --onnx lesions.onnx
  plk plugins show sharpen
  plk plugins new fuser my-fuser                  a package of your own
"""


class LazyGroup(TyperGroup):
    """A group whose help is the table above and whose commands are imported when asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of a first day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        return get_command(import_module(f"pseudolabel_kit.cli.{cmd_name}").app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or name the nearest."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise ConfigError(f"there is no command '{args[0]}'{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table without importing a module."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they stand, not rewrapped."""
        formatter.write(EXAMPLES)


app = typer.Typer(cls=LazyGroup, rich_markup_mode=None)


def _show_version(wanted: bool) -> None:
    if wanted:
        from pseudolabel_kit import __version__

        typer.echo(f"plk {__version__}")
        raise typer.Exit


@app.callback()
def main(
    no_plugin: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Leave a plugin out; 'all' = every third-party one."),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Pseudo-label strategies for semi-supervised medical imaging, as plugins."""
    from pseudolabel_kit.cli.console import quieten, show_warnings

    quieten()
    show_warnings()
    if no_plugin:
        _switch_off(no_plugin)


def _switch_off(names: list[str]) -> None:
    from pseudolabel_kit.plugin.discovery import DISABLE, discover

    known = {"all", *(point.name for point in discover())}
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            raise ConfigError(f"--no-plugin {name}: there is no plugin '{name}'{hint}")
    # In the environment, so that the processes of a distributed run leave it out too.
    os.environ[DISABLE] = ",".join(filter(None, [os.environ.get(DISABLE), *names]))


def run() -> None:
    """Run the command line; exits with 2 and one line where the user can mend it."""
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit code; anything but a user's error is raised."""
    try:
        code = get_command(app).main(arguments or ["--help"], "plk", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except UserError as error:
        message = str(error)
    except typer.TyperException as error:
        where = getattr(error, "ctx", None)
        hint = f" (see {where.command_path} --help)" if where else ""
        message = f"{error.format_message()}{hint}"
    else:
        return code if isinstance(code, int) else 0
    typer.echo(f"plk: {message}", err=True)
    return 2

"""`plk train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pseudolabel_kit.errors import ConfigError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
Examples:
  plk train                                                   the embedded phantom
  plk train --fuser fixmatch:threshold=0.95 --explainer none
  plk train --data scans/ --explainer ig:steps=8,caam --out runs/first
  plk train --recipe calibrated-paper --set train.epochs=50
  plk train --data scans/ --strict                            stop if fusing harms the labels
  plk train runs/first/run.toml --seed 1 --out runs/second    the same with another seed
  plk train --resume runs/first
"""

RunArgument = Annotated[
    Path | None, typer.Argument(metavar="[RUN.TOML]", help="A configuration to start from.")
]
Text = str | None
Number = int | None


def _option(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, show_default=False)


@app.command(epilog=EPILOG)
def train(
    ctx: typer.Context,
    toml: RunArgument = None,
    data: Annotated[Text, _option("A manifest.csv, its folder, or a dataset's name.")] = None,
    backbone: Annotated[Text, _option("The network, by reference.")] = None,
    explainer: Annotated[Text, _option("Explainers, by reference, with commas; or none.")] = None,
    fuser: Annotated[Text, _option("The maker of pseudo labels, by reference.")] = None,
    recipe: Annotated[Text, _option("A named configuration; see plk plugins list.")] = None,
    out: Annotated[Path | None, _option("The run's folder; default: a new one in runs/.")] = None,
    epochs: Annotated[Number, _option("Passes over the longer stream.")] = None,
    steps: Annotated[Number, _option("Length in steps; overrides --epochs.")] = None,
    batch_size: Annotated[Number, _option("Labelled rows a step, over all processes.")] = None,
    seed: Annotated[Number, _option("Seed of weights, order and augmentation.")] = None,
    devices: Annotated[Number, _option("How many devices, or processes on the CPU.")] = None,
    strategy: Annotated[Text, _option("auto or ddp.")] = None,
    precision: Annotated[Text, _option("32-true or bf16-mixed.")] = None,
    tracker: Annotated[Text, _option("Where else to tell figures, as mlflow.")] = None,
    isolate_errors: Annotated[Text, _option("stop or warn, where an explainer fails.")] = None,
    resume: Annotated[Path | None, _option("Go on with this run.", metavar="RUN")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --out.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop where fusing makes worse labels: audit.strict.")
    ] = False,
    settings: Annotated[
        list[str] | None, _option("Any key of the configuration.", "--set", metavar="KEY=VALUE")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved TOML.")] = False,
) -> None:
    """Train a model on labelled and unlabelled images."""
    from pseudolabel_kit.cli.training import dry, go_on, start

    if resume is not None:
        _refuse_changes(ctx)
        raise typer.Exit(go_on(resume))
    flags = {
        "data.source": data,
        "method.backbone": backbone,
        "method.explainer": explainer,
        "method.fuser": fuser,
        "recipe": recipe,
        "train.epochs": epochs,
        "train.steps": steps,
        "train.batch_size": batch_size,
        "train.seed": seed,
        "train.devices": devices,
        "train.strategy": strategy,
        "train.precision": precision,
        "train.tracker": tracker,
        "train.isolate_errors": isolate_errors,
        "audit.strict": strict or None,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    if dry_run:
        dry(toml, given, settings or [])
        return
    raise typer.Exit(start(toml, given, settings or [], out=out, overwrite=overwrite))


def _refuse_changes(ctx: typer.Context) -> None:
    """A run goes on as it was started, or it would not be the same run."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if name != "resume" and source is not None and source.name != "DEFAULT":
            flag = "RUN.TOML" if name == "toml" else parameter.opts[0]
            raise ConfigError(
                f"--resume goes on with the run's own run.toml: it cannot be combined with {flag}"
            )

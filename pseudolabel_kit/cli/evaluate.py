"""`plk evaluate`."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pseudolabel_kit.cli.options import Checkpoint, References, Side, Which
from pseudolabel_kit.errors import ConfigError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
Examples:
  plk evaluate runs/first                  val, with the best weights
  plk evaluate runs/first --split test     read test once, for the final table
  plk evaluate runs/first --explanations --explainer ig,caam,gradcam
"""
EXPLAINED = ("explainer", "rows", "steps", "baseline")


class Removed(StrEnum):
    """What a pixel becomes that is removed."""

    BLUR = "blur"
    MEAN = "mean"
    ZERO = "zero"


Explanations: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--explanations",
        help="Measure the explainers' maps too, following the likeliest lesion class of each "
        "clean image, by softmax.",
    ),
]
Rows: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Explain at most so many images, lesions in their share.")
]
Steps: TypeAlias = Annotated[
    int, typer.Option(min=1, help="In how many portions pixels are removed and put back.")
]
Baseline: TypeAlias = Annotated[
    Removed | None,
    typer.Option(
        help="What they become, and from what insertion begins: the image blurred, its mean, "
        "or black. Unless given, they become the mean, and insertion begins blurred."
    ),
]


@app.command(epilog=EPILOG)
def evaluate(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    split: Annotated[Side, typer.Option(help="Which rows.")] = Side.VAL,
    checkpoint: Checkpoint = Which.BEST,
    explanations: Explanations = False,
    explainer: References = None,
    rows: Rows = 256,
    steps: Steps = 20,
    baseline: Baseline = None,
) -> None:
    """Measure a trained run on one side of the split."""
    from pseudolabel_kit.cli.console import out
    from pseudolabel_kit.cli.display import decoding, stages
    from pseudolabel_kit.engine.evaluate import evaluate as measured
    from pseudolabel_kit.report.page import write_report
    from pseudolabel_kit.report.tables import measures_table

    if not explanations:
        _refuse(ctx)
    with ExitStack() as stack:
        found = measured(run, split.value, which=checkpoint.value, progress=decoding(stack))
    out.print(measures_table([found]))
    if explanations:
        from pseudolabel_kit.explanations.measure import explanations as explained
        from pseudolabel_kit.explanations.tables import explanations_table

        with ExitStack() as stack:
            maps = explained(
                run, split.value, explainer=explainer, which=checkpoint.value, rows=rows,
                steps=steps, baseline=baseline.value if baseline else None, told=stages(stack),
            )  # fmt: skip
        out.print(explanations_table(maps))
    page = write_report(run)
    out.print(f"report: {page}", markup=False, soft_wrap=True)


def _refuse(ctx: typer.Context) -> None:
    """Options that would change nothing."""
    for name in EXPLAINED:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise ConfigError(f"--{name}: expected together with --explanations")

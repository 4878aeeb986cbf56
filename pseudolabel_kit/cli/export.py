"""`plk export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pseudolabel_kit.errors import ConfigError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
The graph: image (batch, C, H, W), float32 in [0, 1], any batch
  class_probability   (batch, classes)
  mask_probability    (batch, channels, H, W), of a lesion
Classes, preprocessing and decision rules stand in the file, as JSON. Both are compared
with the network before they take their places.

\b
Examples:
  plk export runs/first --onnx lesions.onnx
  plk export runs/first --torch lesions.pt2 --checkpoint last
  plk export runs/first --onnx lesions.onnx --torch lesions.pt2 --overwrite
"""


def _known(word: str) -> str:
    if word not in ("best", "last") and not word.isdigit():
        raise ConfigError(f"--checkpoint {word}: expected best, last or a step, as 400")
    return word


@app.command(epilog=EPILOG)
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For onnxruntime; needs pseudolabel-kit[onnx]."),
    ] = None,
    torch: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For torch.export.load, a .pt2 file.")
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(
            metavar="best|last|STEP",
            callback=_known,
            help="The best weights on val, the last, or those of a step.",
        ),
    ] = "best",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there already.")
    ] = False,
) -> None:
    """Write the network as one file that needs nothing of this kit."""
    from pseudolabel_kit.cli import console

    if onnx is None and torch is None:
        raise ConfigError("expected --onnx FILE, --torch FILE or both")
    if onnx == torch:
        raise ConfigError(f"--onnx and --torch name one file, {onnx}; expected two")
    from pseudolabel_kit.export.formats import Format, Onnx, Torch
    from pseudolabel_kit.export.write import export as exported

    asked: dict[Path | None, Format] = {onnx: Onnx(), torch: Torch()}
    targets = {path: format_ for path, format_ in asked.items() if path is not None}
    for each in exported(run, targets, which=checkpoint, overwrite=overwrite):
        console.out.print(
            f"{each.path}: {each.size / 1e6:.1f} MB, differs from the network by at most "
            f"{each.difference:.1e}",
            markup=False,
            soft_wrap=True,
        )

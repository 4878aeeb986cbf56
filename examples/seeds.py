"""Methods under one budget over several seeds: test measures as mean and spread.

    python examples/seeds.py runs/seeds --seeds 3
    python examples/seeds.py runs/seeds --seeds 3 --data scans/ --set data.size=112

Each cell is an ordinary run folder; a finished one is not run again. `test` is read once for
each cell, with the weights that were best on `val`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import pseudolabel_kit
from pseudolabel_kit.config import assignment, overlay

METHODS: Mapping[str, Mapping[str, str]] = {
    "supervised": {"fuser": "none", "explainer": "none"},
    "fixmatch": {"fuser": "fixmatch", "explainer": "none"},
    "calibrated": {"fuser": "sharpen", "explainer": "ig,caam"},
}
SHOWN = ("dice", "dice_image", "miou", "false_positive_share", "accuracy", "auc")


def cell(folder: Path, method: Mapping[str, str], layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The test measures of one run, trained first where it is not there."""
    if not (folder / "report.html").exists():
        pseudolabel_kit.train(overlay(layer, {"method": method}), out=folder, overwrite=True)
    return pseudolabel_kit.evaluate(folder, "test").measures


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else "–"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
    """Run every cell and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default="phantom")
    parser.add_argument("--only", choices=METHODS, help="one method, to share the work")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()

    table = Table("method", *SHOWN, title=f"test, {options.seeds} seeds, mean ± standard deviation")
    for name in [options.only] if options.only else METHODS:
        found = []
        for seed in range(options.seeds):
            layer: dict[str, Any] = {"data": {"source": options.data}, "train": {"seed": seed}}
            for text in options.set:
                layer = overlay(layer, assignment(text))
            found.append(cell(options.out / f"{name}-seed{seed}", METHODS[name], layer))
        columns = [[f[m] for f in found if f[m] is not None] for m in SHOWN]
        table.add_row(name, *map(spread, columns))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()

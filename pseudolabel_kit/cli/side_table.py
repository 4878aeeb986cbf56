"""The sides of a split as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from pseudolabel_kit.data.summary import count
from pseudolabel_kit.interfaces import Row, Split


def side_table(
    rows: Sequence[Row],
    classes: Sequence[str],
    sides: Mapping[Split, Sequence[int]],
    lesions: Sequence[bool] | None = None,
) -> Table:
    """One line a side and one for all: images, patients, classes, and lesions or what is missing.

    Args:
        rows: of the whole dataset.
        classes: their names.
        sides: the rows of each.
        lesions: whether each row's mask shows one, where that may be known.
    """
    last = ("lesions",) if lesions is not None else ("no\nlabel", "no\nmask", "no\nregion")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split", no_wrap=True)
    for title in ("images", "patients", *classes, *last):
        table.add_column(Text(title), justify="right", overflow="fold")
    lines = [*sides.items(), ("all", range(len(rows)))]
    for name, indices in lines:
        n = count(rows, indices, len(classes))
        told = [n.no_label, n.no_mask, n.no_region]
        if lesions is not None:
            told = [sum(lesions[i] for i in indices)]
        cells = (n.images, n.patients, *n.by_class, *told)
        table.add_row(name, *(str(cell) if cell else "-" for cell in cells))
    return table

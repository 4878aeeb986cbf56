"""`plk data describe`: what was understood of a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pseudolabel_kit.data.splits import Splits
    from pseudolabel_kit.data.store import Store

NAMED = 3  # pairs of equal images that are named


def describe(
    source: Annotated[
        str | None,
        typer.Option("--data", help="A manifest.csv, its folder, or a dataset's name."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As in --set data.labelled=0.1"),
    ] = None,
) -> None:
    """Show splits, classes, what is missing, sizes and leaks."""
    from pseudolabel_kit.cli.console import out
    from pseudolabel_kit.cli.display import decoding
    from pseudolabel_kit.cli.side_table import side_table
    from pseudolabel_kit.data.source import open_store
    from pseudolabel_kit.data.splits import SPLITS
    from pseudolabel_kit.layers import assignment, resolve

    named = {"data": {"source": source}} if source else {}
    config = resolve(named, *map(assignment, settings or []))
    with ExitStack() as stack:
        store, splits = open_store(config.data, decoding(stack))
    for line in _facts(config.data.source, store):
        out.print(line, markup=False, soft_wrap=True)
    out.print()
    members = {split: getattr(splits, split) for split in SPLITS}
    out.print(side_table(store.rows, store.classes, members))
    out.print()
    for line in _findings(store, splits):
        out.print(line, markup=False, soft_wrap=True)


def _facts(source: str, store: Store) -> Iterable[str]:
    (height, width), kind = store.size, "grey" if store.channels == 1 else "colour"
    lesions = ", ".join(store.classes[i] for i in store.lesion_classes)
    healthy = ", ".join(store.classes[i] for i in store.healthy_classes) or "none"
    shape = f"{len(store.rows)} images, {width}x{height} px, {kind}"
    yield f"{source}: {shape}, stored in {store.bits} bit"
    yield f"classes: {', '.join(store.classes)}; lesions in: {lesions}; healthy: {healthy}"
    yield f"decoded in {store.folder}"


def _findings(store: Store, splits: Splits) -> Iterable[str]:
    from pseudolabel_kit.data.summary import lesion_share, same_images

    share = lesion_share(store, splits)
    if share.shown:
        yield (
            f"labelled masks: {share.shown} show a lesion, of {share.mean:.1%} of the image on "
            f"average; {share.empty} are empty"
        )
    else:
        yield f"labelled masks: none shows a lesion, {share.empty} are empty"
    known = sum(row.patient is not None for row in store.rows)
    if known == len(store.rows):
        yield "patients: none stands on two sides"
    else:
        yield f"patients: unknown for {len(store.rows) - known} images: one may be on two sides"
    pairs = same_images(store, splits)
    named = "; ".join(f"{store.rows[a].name} = {store.rows[b].name}" for a, b in pairs[:NAMED])
    more = f"; {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    yield f"equal images on two sides: {named + more or 'none'}"
    yield f"split {splits.hash}"

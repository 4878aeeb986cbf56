"""The page of a study: one file that holds everything it shows, and asks nobody for more."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from pseudolabel_kit.report.page import environment
from pseudolabel_kit.viewer.drawing import Drawn
from pseudolabel_kit.viewer.sprites import EACH

SCRIPTS = ("pictures.js", "slices.js", "viewer.js")


def page(drawn: Drawn, *, run: str, step: int) -> str:
    """A study to page through.

    Args:
        run: what the run is called.
        step: after how many steps its weights were taken.
    """
    names = {layer.name for layer in drawn.layers}
    templates = environment("viewer", "report")
    script = "".join(templates.get_template(name).render() for name in SCRIPTS)
    rendered: str = templates.get_template("viewer.html.j2").render(
        drawn=drawn,
        run=run,
        step=step,
        study=_study(drawn),
        script=Markup(script),
        policy=policy(script),
        truth="truth" in names,
        marked="mask" in names,
        labelled="label" in names,
        explained=any(name.startswith("evidence/") for name in names),
        mapped=any(layer.kind == "map" for layer in drawn.layers),
        columns=list(_columns(drawn)),
    )
    return rendered


def policy(script: str = "") -> str:
    """A content security policy: nothing is loaded from elsewhere, and no other script runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'" if script else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _columns(drawn: Drawn) -> Iterator[tuple[str, str]]:
    """Keys and heads of the table's columns: those of which any slice has a figure."""
    yield "slice", "slice"
    if drawn.classes:
        yield "class", "class"
    heads = {
        "label": "true class",
        "lesion": "lesion",
        "truth": "true lesion",
        "dice": "Dice",
        "inside": "inside",
        "overlap": "overlap",
    }
    for key, words in heads.items():
        if any(getattr(each, key) is not None for each in drawn.slices):
            yield key, words


def _study(drawn: Drawn) -> dict[str, Any]:
    """What the script reads; pictures stand beside it."""
    return {
        "each": EACH,
        "first": len(drawn.slices) // 2,
        "frame": drawn.frame,
        "grid": drawn.grid,
        "classes": drawn.classes,
        "layers": [
            {"name": layer.name, "kind": layer.kind, "colours": layer.colours, "on": layer.on}
            for layer in drawn.layers
        ],
        "slices": [asdict(each) for each in drawn.slices],
    }

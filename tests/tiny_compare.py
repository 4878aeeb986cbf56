"""Comparisons that take seconds, and a part that strikes in the middle of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from conftest import Site
from tiny import TINY, cache_folder

from pseudolabel_kit.layers import overlay

COMMON: Mapping[str, Any] = {
    "data": {"cache": cache_folder()},
    "method": {"explainer": "none", "fuser": "fixmatch", "perturbation": "none"},
    "evaluate": {"figures": 1, "strips": "none"},
}
SOURCE = """
import itertools, multiprocessing, os, signal, time
from dataclasses import dataclass
from pathlib import Path
from pseudolabel_kit.interfaces import Perturbation

visits = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Struck(Perturbation):
    def perturb(self, view, labelled):
        mark = Path(os.environ["PLK_TEST_MARK"])
        if next(visits) == 2 and mark.exists():
            victim, blow = mark.read_text().split()
            if blow == "error":
                raise ZeroDivisionError("struck\\nin two lines")
            mark.unlink()
            parent = multiprocessing.parent_process()
            os.kill(os.getpid() if victim == "self" else parent.pid, signal.Signals[blow])
            time.sleep(1)
        return [view]
"""
STRUCK: Mapping[str, Any] = {"method": {"perturbation": "struck"}}


def write_spec(path: Path, rows: Mapping[str, Mapping[str, Any]], **tables: Any) -> str:
    """A specification of rows by name, over `TINY`."""
    content = {
        "seeds": [0],
        "measures": ["dice", "accuracy"],
        "common": overlay(TINY, COMMON),
        "row": [{"name": name, **row} for name, row in rows.items()],
    }
    path.write_text(tomli_w.dumps(content | tables), encoding="utf-8")
    return str(path)


def offer_struck(site: Site) -> None:
    """Install the perturbation `struck`: it strikes its process, or that one's parent.

    It does so in the second step with pseudo labels, while there is the file that PLK_TEST_MARK
    names, which says whom and how: "self SIGKILL".
    """
    component = "'perturbation', 'struck', 'striking:Struck', 'for a test'"
    site.offer("striking", component, striking=SOURCE)

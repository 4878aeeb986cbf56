"""What every component owes, whatever its kind: that it comes in by a light door.

A suite is a class of plain `test_*` methods without fixtures: pytest runs those that an author's
subclass inherits, and `plk plugins check` runs the same without pytest.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any, ClassVar

from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.catalogue import Offer, catalogue
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.plugin.discovery import discover
from pseudolabel_kit.plugin.reference import parse
from pseudolabel_kit.testing.fault import require


class Conformance:
    """The promises of one part. Subclass the suite of its kind and say which part it is.

    Attributes:
        reference: the part as the command line names it: "my-fuser:beta=2". Its package must be
            installed, for the door is tested too.
    """

    kind: ClassVar[Kind]
    reference: ClassVar[str] = ""

    def part(self) -> Any:
        """The part, newly built by its reference."""
        return build(self.kind, self.reference)

    def test_its_light_module_imports_no_torch(self) -> None:
        """Listing the part imports neither torch nor the part's own module."""
        offer = catalogue().find(self.kind, parse(self.reference).name)
        light = _light_module(offer)
        home = offer.component.target.partition(":")[0]
        heavy = sorted({"torch", home} & _imported_by(light) - {light})
        require(
            not heavy,
            f"the light module {light} imports {', '.join(heavy)}",
            "import nothing there but pseudolabel_kit.plugin: name the class in its Component, as "
            "'package.module:Class'; it is imported when it is asked for",
        )


def _light_module(offer: Offer) -> str:
    """The module that the plugin's entry point names."""
    found = [point.module for point in discover() if point.name == offer.plugin]
    require(
        bool(found),
        f"no entry point brings plugin '{offer.plugin}'",
        "install the package: pip install -e .",
    )
    return found[0]


@cache
def _imported_by(module: str) -> frozenset[str]:
    """Every module that importing this one imports, in a process of its own."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    require(
        done.returncode == 0,
        f"the light module {module} cannot be imported by itself: {last_line(done.stderr)}",
        "import nothing in it that another process has not",
    )
    return frozenset(last_line(done.stdout).split())


def last_line(text: str) -> str:
    """What a process said last."""
    return (text.strip().splitlines() or [""])[-1]

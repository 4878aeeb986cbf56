"""Arrows point down only: the layers of the package, read from its imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KIT = "pseudolabel_kit"
GROUND = {
    *("attribution", "deprecation", "errors", "evidence", "files"),
    *("interfaces", "isolate", "losses", "weights"),
}
PUBLIC = GROUND - {"files"} | {"plugin"}

LAYERS = [
    GROUND,
    {"builtin", "config", "data", "layers", "plugin"},
    {"engine", "report", "scaffold", "scans", "testing"},
    {"answers", "audit", "check", "compare", "explanations", "export", "lungs", "viewer"},
    {"cli"},
    {"__init__", "__main__"},
]
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def part(name: str) -> str | None:
    """The part of the kit that a dotted name is in; None outside the kit, and for its version."""
    pieces = [*name.split("."), "__init__"]
    if pieces[0] != KIT or pieces[1] == "__version__":
        return None
    return pieces[1] if pieces[1] in HEIGHT else "__init__"


def modules(folder: str) -> list[str]:
    """Every module under a folder, relative to the root."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))


def upward(path: str, source: Path) -> list[str]:
    own = Path(path).relative_to(KIT).parts[0].removesuffix(".py")
    assert own in HEIGHT, f"{path}: give '{own}' its layer in {Path(__file__).name}"
    return [
        f"{path}:{line}: '{own}' may not import {name}"
        for line, name in imports(source)
        if (other := part(name)) is not None and HEIGHT[other] > HEIGHT[own]
    ]


@pytest.mark.parametrize("path", modules(KIT))
def test_no_module_imports_from_above(path: str) -> None:
    assert upward(path, ROOT / path) == []


@pytest.mark.parametrize("path", modules("plugins"))
def test_shipped_plugins_use_public_names_alone(path: str) -> None:
    own = Path(path).parts[1]
    for line, name in imports(ROOT / path):
        assert part(name) in PUBLIC | {None}, f"{path}:{line}: {name} is not public"
        foreign = name.startswith("plk_") and name.partition(".")[0] != own
        assert not foreign, f"{path}:{line}: {name} is another plugin's"


def test_an_arrow_that_points_up_is_found(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "def f():\n"
        "    from pseudolabel_kit import losses\n"
        "    from pseudolabel_kit.data.store import Store\n"
        "    from pseudolabel_kit import train\n"
        "    import pseudolabel_kit.engine.run\n"
    )
    assert upward(f"{KIT}/data/module.py", source) == [
        f"{KIT}/data/module.py:4: 'data' may not import pseudolabel_kit.train",
        f"{KIT}/data/module.py:5: 'data' may not import pseudolabel_kit.engine.run",
    ]
    assert len(upward(f"{KIT}/losses.py", source)) == 3

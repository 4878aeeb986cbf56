"""What the documentation promises: a name that goes or comes is a change for users."""

from __future__ import annotations

import difflib
import inspect
import subprocess
import sys
from abc import abstractmethod
from dataclasses import dataclass

import pytest
from public_api import SNAPSHOT, described, public_api

import pseudolabel_kit

STALE = """the public names are not those of tests/public_api.txt:

{diff}

A line that is new: write it into CHANGELOG.md. A line that is gone or changed breaks whoever used
it: keep the old name for a version (pseudolabel_kit/deprecation.py), or, where that cannot be,
raise pseudolabel_kit.plugin.CONTRACT. Then run: python tests/public_api.py
"""


def test_the_public_names_are_these() -> None:
    frozen = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    diff = "\n".join(difflib.unified_diff(frozen, list(public_api()), "was", "is", "", "", 0, ""))
    assert not diff, STALE.format(diff=diff)


def test_the_list_tells_all_that_an_author_relies_on() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Fields:
        needed: tuple[int, ...]
        spare: float | None = None

    class Methods:
        def __init__(self, size: int) -> None: ...
        def _hidden(self) -> None: ...
        @property
        def shown(self) -> str: ...  # type: ignore[empty-body]
        @abstractmethod
        def needed(self, a: int, *, b: str = "x") -> None: ...

    assert list(described("F", Fields)) == [
        "class F()",
        "F.needed: tuple[int, ...]",
        "F.spare: float | None = None",
    ]
    assert list(described("M", Methods)) == [
        "class M()",
        "M.__init__(self, size: int) -> None",
        "M.shown: str",
        "M.needed(self, a: int, *, b: str = 'x') -> None (must be written)",
    ]


@pytest.mark.parametrize("name", pseudolabel_kit.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(pseudolabel_kit, name)
    assert name in dir(pseudolabel_kit)
    if name != "__version__":
        assert callable(value)
        assert inspect.getdoc(value)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        pseudolabel_kit.trian  # noqa: B018


def test_importing_the_package_and_the_contract_imports_nothing_heavy() -> None:
    code = (
        "import sys, pseudolabel_kit, pseudolabel_kit.interfaces, pseudolabel_kit.errors\n"
        "pseudolabel_kit.__version__\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'pluggy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

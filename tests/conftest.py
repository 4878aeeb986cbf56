"""One thread and no chance: every test gives the same answer on every machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

settings.register_profile("plk", derandomize=True, deadline=None, database=None)
settings.load_profile("plk")


@pytest.fixture(autouse=True)
def as_in_a_run() -> None:
    """Drawn from a seed and told of algorithms that cannot repeat, whatever ran before."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        sys.modules["torch"].use_deterministic_algorithms(True, warn_only=True)


class Site:
    """A folder on the path, in which distributions are installed by writing them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        name: str,
        modules: Mapping[str, str],
        version: str = "1.0",
        distribution: str = "",
        contract: object = 1,
    ) -> None:
        """A distribution with one plugin, `name`, whose light module is the first of `modules`.

        The light module says `contract`; with None it says none.
        """
        distribution = distribution or f"dist-{name}"
        light, source = next(iter(modules.items()))
        if contract is not None:
            modules = {**modules, light: f"{source}\nPLK_CONTRACT = {contract!r}\n"}
        for module, source in modules.items():
            (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[pseudolabel_kit]\n{name} = {light}\n")

    def offer(self, name: str, *components: str, extra: str = "", **modules: str) -> None:
        """A sound plugin; each component is the text of the call's arguments."""
        light = (
            "from pseudolabel_kit.plugin import Component, hookimpl\n"
            f"{extra}\n"
            "@hookimpl\n"
            "def plk_components():\n"
            f"    return [{', '.join(f'Component({each})' for each in components)}]\n"
        )
        self.install(name, {f"light_{name}": light, **modules})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site on the path of this process and of those that it starts."""
    from pseudolabel_kit.plugin.catalogue import catalogue

    folder = tmp_path / "site"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.delenv("PLK_DISABLE_PLUGINS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, sys.path)]))
    monkeypatch.syspath_prepend(folder)
    catalogue.cache_clear()
    yield Site(folder)
    catalogue.cache_clear()
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(folder)):
            del sys.modules[module]

"""Light modules may not import torch; here `heavy` stands for it, so that nothing is slow."""

from __future__ import annotations

import sys
from threading import Thread

import pytest
from conftest import Site

from pseudolabel_kit.plugin import light
from pseudolabel_kit.plugin.catalogue import read

NOTHING = (
    "from pseudolabel_kit.plugin import Component, hookimpl\n"
    "@hookimpl\n"
    "def plk_components(): return []\n"
)
REFUSED = "its light module imports heavy: import it inside the part's module"


@pytest.fixture
def heavy(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with a library that light modules may not import."""
    monkeypatch.setattr(light, "HEAVY", "heavy")
    (site.folder / "heavy.py").write_text("")
    return site


def reasons() -> dict[str, str]:
    return {each.name: each.reason for each in read().broken}


@pytest.mark.parametrize(
    "source",
    [
        f"import heavy\n{NOTHING}",
        f"from heavy import nn\n{NOTHING}",
        f"try:\n    import heavy\nexcept ImportError: pass\n{NOTHING}",
        f"try:\n    import heavy\nexcept Exception: pass\n{NOTHING}",
        "try:\n    import heavy\nexcept BaseException: raise SystemExit",
        NOTHING.replace("return []", "import heavy"),
    ],
)
def test_the_heavy_import_is_refused_however_it_is_dressed(heavy: Site, source: str) -> None:
    heavy.install("slow", {"light_slow": source})
    assert reasons() == {"slow": REFUSED}
    assert "heavy" not in sys.modules


def test_the_way_to_the_heavy_import_is_told(heavy: Site) -> None:
    heavy.install(
        "slow",
        {
            "light_slow": f"import helper\n{NOTHING}",
            "helper": "def start():\n    import middle\nstart()",
            "middle": "import heavy",
        },
    )
    assert "imports heavy (through helper, middle): import it" in reasons()["slow"]


def test_no_module_stays_that_learnt_that_there_is_no_torch(heavy: Site) -> None:
    careful = "try:\n    import heavy\n    FOUND = True\nexcept Exception:\n    FOUND = False\n"
    heavy.install(
        "slow", {"light_slow": f"import other, careful\n{NOTHING}", "careful": careful, "other": ""}
    )
    assert "through careful" in reasons()["slow"]
    assert "other" in sys.modules  # it has nothing to do with it, and may not like to come twice
    import careful as again  # type: ignore[import-not-found]

    assert again.FOUND


def test_to_ask_whether_it_is_installed_is_no_import(heavy: Site) -> None:
    ask = "from importlib.util import find_spec\nassert find_spec('heavy')\n"
    heavy.install("curious", {"light_curious": ask + NOTHING})
    assert reasons() == {}


def test_what_is_in_the_process_already_slows_nobody(heavy: Site) -> None:
    import heavy as lib  # type: ignore[import-not-found]

    heavy.install("fine", {"light_fine": f"import heavy\n{NOTHING}"})
    assert reasons() == {}
    assert sys.modules["heavy"] is lib


def test_another_thread_may_import_it_meanwhile(heavy: Site) -> None:
    seen: list[bool] = []

    def elsewhere() -> None:
        import heavy  # type: ignore[import-not-found]

        seen.append(heavy.__name__ in sys.modules)

    def ask() -> None:
        thread = Thread(target=elsewhere)
        thread.start()
        thread.join()

    light.lightly("light_a", ask)
    assert seen == [True]


def test_an_interrupt_is_not_swallowed(heavy: Site) -> None:
    def ask() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        light.lightly("light_a", ask)
    assert not any(type(each).__name__ == "_Guard" for each in sys.meta_path)

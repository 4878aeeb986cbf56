from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Site
from fifty_plugins import FAULTS, SOUND, install_fifty

LIST = """
import sys
from pseudolabel_kit.cli.main import call
assert call(["plugins", "list"]) == 0
print({"torch", "numpy", "captum", "matplotlib"} & set(sys.modules))
"""


@pytest.fixture
def listed(site: Site) -> list[str]:
    install_fifty(site)
    line = [sys.executable, "-c", LIST]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_of_fifty_plugins_every_fault_is_named_and_every_other_part_is_there(
    listed: list[str],
) -> None:
    assert " · 5 broken · " in listed[0]
    told = {line for line in listed if line.startswith("Broken")}
    assert told == {f"Broken: plugin '{name}' of {why}" for name, why in FAULTS.items()}
    rows = {tuple(line.split()) for line in listed}
    for name in SOUND:
        assert (name, name, "The", "fuser", "of", f"{name}.") in rows
        assert (name, name, "The", "recipe", "of", f"{name}.") in rows
    assert listed[-1] == "set()"

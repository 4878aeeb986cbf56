from __future__ import annotations

import subprocess
import sys

NOTES = """
from pseudolabel_kit.cli.main import call
call(["--no-plugin", "all", "plugins", "list", "--json"])
from lightning_fabric import Fabric
from lightning_fabric.utilities.distributed import log
Fabric(accelerator="cpu", precision="bf16-mixed")
log.info("All distributed processes registered")
log.warning("a warning stays")
"""


def test_notes_of_libraries_stay_off_the_terminal_and_warnings_do_not() -> None:
    done = subprocess.run([sys.executable, "-c", NOTES], capture_output=True, text=True, check=True)
    assert done.stderr == "a warning stays\n"


def test_torch_is_quiet_unless_the_environment_says_otherwise() -> None:
    code = (
        "import os\n"
        "from pseudolabel_kit.cli.console import quieten\n"
        "quieten(); print(os.environ['TORCH_CPP_LOG_LEVEL'])\n"
        "os.environ['TORCH_CPP_LOG_LEVEL'] = 'INFO'\n"
        "quieten(); print(os.environ['TORCH_CPP_LOG_LEVEL'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout == "ERROR\nINFO\n"

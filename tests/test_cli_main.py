from __future__ import annotations

import subprocess
import sys

import pytest

from pseudolabel_kit.cli import main
from pseudolabel_kit.cli.main import COMMANDS, call

HEAVY = "torch numpy pluggy pydantic captum matplotlib rich PIL torchmetrics lightning_fabric"


def test_help_names_every_command_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--help"]) == 0
    text = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert name in text
        assert summary in text
    assert "plk train --data DIR" in text


def test_no_arguments_are_help(capsys: pytest.CaptureFixture[str]) -> None:
    call(["--help"])
    asked = capsys.readouterr().out
    assert call([]) == 0
    assert capsys.readouterr().out == asked


@pytest.mark.parametrize("question", ["--help", "--version"])
def test_the_top_level_imports_nothing_heavy(question: str) -> None:
    code = (
        "import sys\n"
        "from pseudolabel_kit.cli.main import call\n"
        f"code = call([{question!r}])\n"
        f"print(sorted(set({HEAVY!r}.split()) & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[] 0\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_without_torch(command: str) -> None:
    code = (
        "import sys\n"
        "from pseudolabel_kit.cli.main import call\n"
        f"code = call([{command!r}, '--help'])\n"
        "print(code, sorted({'torch', 'captum', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n0 []\n")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("trian", "plk: there is no command 'trian' (did you mean 'train'?)\n"),
        ("--versoin", "plk: No such option: --versoin (Possible options: --version)"),
        ("plugins list --jsn", "plk: No such option: --jsn (Possible options: --json)"),
        (
            "plugins lst",
            "plk: No such command 'lst'. Did you mean 'list'? (see plk plugins --help)",
        ),
        ("plugins", "plk: Missing command. (see plk plugins --help)"),
        ("plugins show", "(see plk plugins show --help)"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(
    line: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(line.split()) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_an_interrupt_is_quiet_and_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "import_module", interrupt)
    assert call(["train"]) == 130
    assert capsys.readouterr().err == ""


def test_a_bug_keeps_its_plain_traceback() -> None:
    code = (
        "from pseudolabel_kit.cli import main\n"
        "def bug(name): secret = 'local value'; return 1 / 0\n"
        "main.import_module = bug\n"
        "import sys; sys.argv = ['plk', 'train']\n"
        "main.run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "secret" not in done.stderr


def test_python_m_is_the_same_command() -> None:
    line = [sys.executable, "-m", "pseudolabel_kit", "trian"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from predict_support import noise, train_tiny, write_image

from pseudolabel_kit.cli import predicting
from pseudolabel_kit.cli.main import call


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.getbasetemp())


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two images, seen from the folder that holds it."""
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        write_image(Path("scans", f"x{i}.png"), noise(40, 36, seed=i))
    return Path("scans")


def test_a_table_and_where_things_are_end_the_command(
    run: Path, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["predict", str(run), "scans", "--out", "out"]) == 0
    shown = capsys.readouterr().out
    for word in ("image", "class", "probability", "lesion", "x0", "x1", "%"):
        assert word in shown
    assert "class scores: out/classes.csv\npictures:     out\n" in shown
    assert len(list(Path("out/masks").iterdir())) == 2


def test_the_last_weights_can_be_asked_for(run: Path, scans: Path) -> None:
    (best := ["predict", str(run), "scans/x0.png", "--out"])
    assert call([*best, "best"]) == 0
    assert call([*best, "last", "--checkpoint", "last", "--batch-size", "1"]) == 0
    assert Path("last/probabilities/x0.png").exists()


def test_a_second_time_needs_overwrite(
    run: Path, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["predict", str(run), "scans", "--out", "out"]
    assert call(line) == 0
    capsys.readouterr()
    assert call(line) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "plk: out/classes.csv: exists already" in shown.err
    assert call([*line, "--overwrite"]) == 0


def test_many_images_are_counted_rather_than_listed(
    run: Path, scans: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "SHOWN", 1)
    assert call(["predict", str(run), "scans", "--out", "out"]) == 0
    shown = capsys.readouterr().out
    assert "x1" not in shown
    assert "and 1 more" in shown


def test_missing_images_are_found_before_torch_is_imported(scans: Path) -> None:
    code = (
        "import sys\n"
        "from pseudolabel_kit.cli.main import call\n"
        "code = call(['predict', 'run', 'scans', 'gone.png', '--out', 'out'])\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"
    assert done.stderr == "plk: gone.png: there is no such file or folder\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["scans", "--out", "out", "--batch-size", "0"], "Invalid value for '--batch-size'"),
        (["scans", "--out", "out", "--checkpoint", "worst"], "'worst' is not one of"),
        (["scans"], "Missing option '--out'"),
        (["--out", "out"], "Missing argument"),
        (["broken.png", "--out", "out"], "broken.png is empty (0 bytes)"),
    ],
)
def test_what_is_wrong_is_one_line_and_2(
    run: Path,
    scans: Path,
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("broken.png").touch()
    assert call(["predict", str(run), *arguments]) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err.strip().splitlines()[-1]
    assert not Path("out").exists()


def test_help_shows_the_examples_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["predict", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "    plk predict runs/first scan.png --out predictions" in lines

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from data_support import write_manifest, write_png
from predict_support import noise, train_tiny, write_image

from pseudolabel_kit.cli.main import call

NAME = "IDENTITY"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dataset(
    folder: Path, *columns: str, patients: Sequence[str] = (NAME + "1", NAME + "2")
) -> Path:
    """Two patients of two slices, with masks, and more columns that name studies."""
    lines = []
    for number, patient in enumerate([patients[0]] * 2 + [patients[1]] * 2):
        mask = np.zeros((40, 40))
        mask[5:15, 5:15] = 255
        write_png(folder / f"images/{patient}-{number}.png", noise(40, 40, seed=number))
        write_png(folder / f"masks/{number}.png", mask)
        lines.append(
            {
                "image": f"images/{patient}-{number}.png",
                "mask": f"masks/{number}.png",
                "label": ("np", "cap")[number % 2],
                "patient": patient,
                "split": ("labelled", "test")[number // 2],
                **{column: f"{column} {number // 2}" for column in columns},
            }
        )
    write_manifest(folder, lines)
    return folder


def explained(run: Path, *arguments: str, code: int = 0) -> Path:
    line = ["explain", str(run), *arguments, "--out", "out", "--explainer", "input-x-gradient"]
    assert call(line) == code
    return Path("out")


def pages(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("*.html"))


def test_pictures_of_a_folder_are_a_study(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        write_image(Path("left lung", f"x{i}.png"), noise(40, 36, seed=i))
    write_image(Path("right", "y.png"), noise(33, 50, 3))
    write_image(Path("right", "z.png"), noise(40, 40))
    out = explained(run, "left lung", "right/z.png")
    assert pages(out) == ["index.html", "left-lung.html", "right.html"]
    assert "2 studies; 4 slices\nopen: out/index.html\n" in capsys.readouterr().out
    text = (out / "left-lung.html").read_text(encoding="utf-8")
    assert '"title": "x1"' in text
    assert "input x gradient" in text
    assert "nearest the feet" not in text
    assert '<b class="edge' not in text
    assert "true" not in re.findall(r'"truth": (\w+)', text)
    assert 'href="left-lung.html"' in (out / "index.html").read_text(encoding="utf-8")


def test_the_run_s_own_explainers_answer_where_none_is_named(run: Path) -> None:
    write_image(Path("scans", "x.png"), noise(40, 36))
    assert call(["explain", str(run), "scans", "--out", "out"]) == 0
    text = Path("out/scans.html").read_text(encoding="utf-8")
    assert "integrated gradients, steps=2" in text
    assert "CAAM" in text
    assert pages(Path("out")) == ["scans.html"]


def test_a_volume_is_cut_into_slices(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume = np.random.default_rng(0).integers(-1000, 200, (5, 20, 24)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(volume), "scan.nii.gz")
    line = ("scan.nii.gz", "--window", "lung", "--spacing", "1")
    text = (explained(run, *line) / "scan.html").read_text(encoding="utf-8")
    assert 'max="5"' in text
    assert "R and L are the patient's right and left, A and P the front and the back." in text
    assert re.findall(r'<b class="edge at-(\w+)" aria-hidden="true">(\w)</b>', text) == [
        ("left", "R"),
        ("right", "L"),
        ("top", "A"),
        ("bottom", "P"),
    ]
    assert "1 study; 5 slices" in capsys.readouterr().out


def test_the_mask_beside_a_scan_is_the_truth_when_it_is_asked_for(run: Path) -> None:
    scan = np.random.default_rng(0).integers(-1000, 200, (5, 20, 24)).astype(np.int16)
    lesion = np.zeros((5, 20, 24), np.uint8)
    lesion[2, 5:15, 5:15] = 1
    Path("scans").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(scan), "scans/case7.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(lesion), "scans/case7_seg.nii.gz")
    line = ("scans", "--window", "lung", "--spacing", "1")
    text = (explained(run, *line) / "case7.html").read_text(encoding="utf-8")
    assert set(re.findall(r'"truth": (\S+?)[,}]', text)) == {"null"}
    text = (explained(run, *line, "--truth", "--overwrite") / "case7.html").read_text("utf-8")
    shares = [float(share) > 0 for share in re.findall(r'"truth": ([\d.]+)', text)]
    assert shares == [False, False, True, False, False]


def test_patients_of_a_dataset_are_numbered_and_their_names_are_nowhere(run: Path) -> None:
    out = explained(run, str(dataset(Path("data"))))
    assert pages(out) == ["index.html", "patient-1.html", "patient-2.html"]
    for path in out.rglob("*.*"):
        assert NAME not in path.name
        assert NAME not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("column", ["study", "volume"])
def test_studies_that_a_manifest_names_keep_their_names(run: Path, column: str) -> None:
    out = explained(run, str(dataset(Path("data"), column) / "manifest.csv"))
    assert pages(out) == ["index.html", f"{column}-0.html", f"{column}-1.html"]


@pytest.mark.parametrize("narrow", [("--split", "test"), ("--patient", NAME + "2")])
def test_a_dataset_is_narrowed(run: Path, narrow: tuple[str, str]) -> None:
    assert pages(explained(run, str(dataset(Path("data"))), *narrow)) == ["patient-2.html"]


def test_truth_is_read_when_it_is_asked_for(run: Path) -> None:
    source = str(dataset(Path("data")))
    text = (explained(run, source) / "patient-1.html").read_text(encoding="utf-8")
    assert set(re.findall(r'"(?:truth|label)": (\S+?)[,}]', text)) == {"null"}
    told = explained(run, source, "--truth", "--overwrite") / "patient-1.html"
    text = told.read_text(encoding="utf-8")
    assert "truth: the reference mask" in text
    shares = re.findall(r'"truth": (0\.\d+)', text)
    assert [float(share) for share in shares] == [pytest.approx(100 / 1600, abs=0.01)] * 2


def test_studies_that_are_done_are_kept(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(dataset(Path("data")))
    out = explained(run, source, "--patient", NAME + "1")
    before = (out / "patient-1.html").stat().st_mtime_ns
    capsys.readouterr()
    explained(run, source)
    assert "2 studies (1 done before); 4 slices" in capsys.readouterr().out
    assert (out / "patient-1.html").stat().st_mtime_ns == before
    explained(run, source, "--overwrite")
    assert (out / "patient-1.html").stat().st_mtime_ns != before


def test_a_page_that_was_not_finished_is_done_again(run: Path) -> None:
    write_image(Path("scans", "x.png"), noise(40, 36))
    out = explained(run, "scans")
    (out / "cards" / "scans.json").unlink()  # as where the process ended after the page
    (out / "scans.html").write_text("half")
    explained(run, "scans")
    assert (out / "cards" / "scans.json").exists()
    assert "input x gradient" in (out / "scans.html").read_text(encoding="utf-8")


def test_an_old_card_does_not_vouch_for_a_page_that_replaced_its_own(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(Path("scans", "x.png"), noise(40, 36))
    out = explained(run, "scans")
    line = ["explain", str(run), "scans", "--out", "out", "--explainer", "none", "--overwrite"]

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pseudolabel_kit.viewer.writing.write_card", ended)
        assert call(line) != 0
    assert "input x gradient" not in (out / "scans.html").read_text(encoding="utf-8")
    explained(run, "scans")
    assert "input x gradient" in (out / "scans.html").read_text(encoding="utf-8")


def test_a_page_of_other_explainers_is_not_replaced(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(Path("scans", "x.png"), noise(40, 36))
    explained(run, "scans")
    assert call(["explain", str(run), "scans", "--out", "out", "--explainer", "none"]) == 2
    assert "plk: out/scans.html: exists, of another run" in capsys.readouterr().err


def test_a_study_that_cannot_be_used_is_named_and_the_rest_is_done(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(Path("good", "x.png"), noise(40, 36))
    write_image(Path("small", "x.png"), noise(4, 4))
    Path("broken").mkdir()
    Path("broken/x.png").touch()
    out = explained(run, "good", "small", "broken", code=1)
    shown = capsys.readouterr()
    assert pages(out) == ["good.html"]
    assert "skipped: small, slice 1: 4x4 px: expected at least 16 px" in shown.err
    assert "skipped: broken/x.png is empty" in shown.err
    assert "1 study; 2 skipped; 1 slice\n" in shown.out
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gone.png"], "gone.png: there is no such file or folder"),
        (["gone"], "gone: there is no such file, folder or dataset"),
        (["scans", "--split", "test"], "--split and --patient: expected a dataset among INPUT"),
        (["scans", "--truth"], "--truth: expected a dataset or scans among INPUT"),
        (["data", "--patient", NAME + "3"], f"data: there is no patient '{NAME}3'"),
        (["data", "--split", "val"], "the split 'val' holds no rows"),
        (["scans", "--explainer", "igg"], "'igg'"),
    ],
)
def test_what_is_wrong_is_one_line_and_2(
    run: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(Path("scans", "x.png"), noise(40, 36))
    dataset(Path("data"))
    assert call(["explain", str(run), *arguments, "--out", "out"]) == 2
    assert complaint in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list(Path().glob("out/*.html"))


def test_missing_inputs_are_found_before_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from pseudolabel_kit.cli.main import call\n"
        "code = call(['explain', 'run', 'gone.png', '--out', 'out'])\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"

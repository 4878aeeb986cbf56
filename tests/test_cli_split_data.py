from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image
from tiny import refused, write_dataset

from pseudolabel_kit.cli.main import call


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Twenty patients of two images without a split; every second one is ill."""
    lines = [
        {
            "image": f"images/{i:02d}.png",
            "mask": f"masks/{i:02d}.png",
            "label": ("ill", "sound")[i // 2 % 2],
            "patient": f"p{i // 2}",
            "note": "kept, as it is",
        }
        for i in range(40)
    ]
    write_dataset(tmp_path / "scans", lines, side=16)
    return tmp_path / "scans"


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def test_the_manifest_gets_its_splits(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read(scans / "manifest.csv")
    assert call(["data", "split", str(scans), "--labelled", "4patients"]) == 0
    shown = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert shown["split"] == ["images", "patients", "ill", "sound", "lesions"]
    assert shown["labelled"] == ["8", "4", "4", "4", "4"]
    assert shown["test"] == ["8", "4", "4", "4", "4"]
    assert shown["all"] == ["40", "20", "20", "20", "20"]
    assert shown["splits:"] == [str(scans / "manifest.csv")]
    after = read(scans / "manifest.csv")
    assert [{k: v for k, v in row.items() if k != "split"} for row in after] == before
    assert sum(row["split"] == "labelled" for row in after) == 8
    assert call(["data", "describe", "--data", str(scans)]) == 0
    assert "none stands on two sides" in capsys.readouterr().out


def test_splits_are_replaced_only_if_that_is_wanted(
    scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["data", "split", str(scans)]
    assert call(line) == 0
    first = (scans / "manifest.csv").read_bytes()
    assert "has splits already; --force replaces them" in refused([*line, "--seed", "1"], capsys)
    assert (scans / "manifest.csv").read_bytes() == first
    other = [*line, "--seed", "1", "--out", str(scans / "other.csv")]
    assert call(other) == 0
    assert (scans / "manifest.csv").read_bytes() == first != (scans / "other.csv").read_bytes()
    assert "other.csv exists already; --force" in refused(other, capsys)
    assert call([*line, "--seed", "1", "--force"]) == 0
    assert (scans / "manifest.csv").read_bytes() == (scans / "other.csv").read_bytes()


def test_a_wrong_split_can_be_drawn_anew(scans: Path) -> None:
    """Also where training would refuse it: a patient on two sides, a class in val alone."""
    text = (scans / "manifest.csv").read_text().splitlines()
    sides = ["split", "val", *["labelled"] * 3, *["val"] * 36]
    lines = [f"{line},{side}" for line, side in zip(text, sides, strict=True)]
    (scans / "manifest.csv").write_text("\n".join(lines).replace("sound", "sane", 1) + "\n")
    assert call(["data", "split", str(scans / "manifest.csv"), "--force"]) == 0


def test_what_whole_patients_miss_is_said(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["data", "split", str(scans), "--labelled", "7images"]
    assert call(line) == 0
    assert "patients stay whole: labelled: 8 images where 7 were asked" in capsys.readouterr().out
    assert call([*line, "--by", "image", "--force"]) == 0
    assert "patients stay whole" not in capsys.readouterr().out
    assert sum(row["split"] == "labelled" for row in read(scans / "manifest.csv")) == 7


def test_copies_stay_on_one_side(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images of patients 0 and 1 show nearly the same, and so do some of patients 1 and 9."""
    with Image.open(scans / "images/00.png") as image:
        for name, grey in (("03", lambda v: 0.9 * v + 9), ("19", lambda v: 0.8 * v + 12)):
            image.point(grey).save(scans / f"images/{name}.png")
    together, apart = [], []
    for seed in range(6):
        line = ["data", "split", str(scans), "--seed", str(seed), "--force"]
        for sides, copies in ((together, "together"), (apart, "ignore")):
            assert call([*line, "--copies", copies]) == 0
            rows = read(scans / "manifest.csv")
            found = {row["split"] for row in rows if row["patient"] in ("p0", "p1", "p9")}
            sides.append(len(found))
            told = "stay on one side: 1 group of copies, 3 images" in capsys.readouterr().out
            assert told == (copies == "together")
    assert set(together) == {1}
    assert max(apart) > 1


def test_a_class_of_one_patient_is_trained_on(
    scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (scans / "manifest.csv").read_text()
    (scans / "manifest.csv").write_text(text.replace("sound,p1,", "rare,p1,"))
    for seed in range(8):
        assert call(["data", "split", str(scans), "--seed", str(seed), "--force"]) == 0
        assert "too few: class 'rare' has 1 patient, none of them in val and test" in (
            capsys.readouterr().out
        )
        assert {r["split"] for r in read(scans / "manifest.csv") if r["label"] == "rare"} == {
            "labelled"
        }
        assert call(["data", "describe", "--data", str(scans)]) == 0


def test_a_link_to_a_manifest_stays_one(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(scans / "manifest.csv")
    assert call(["data", "split", str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert read(scans / "manifest.csv")[0]["split"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labelled", "many"], "--labelled many: expected 12patients, 200images, or a share"),
        (["--labelled", "40images"], "of the training side have a mask or a label"),
        (["--val", "0.9"], "leave nothing to train on"),
        (["--out", "elsewhere.csv"], "elsewhere.csv: expected a file in "),
        (["--by", "image", "--labelled", "2patients"], "--by image: expected --labelled in images"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    scans: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (scans / "manifest.csv").read_bytes()
    assert said in refused(["data", "split", str(scans), *arguments], capsys)
    assert (scans / "manifest.csv").read_bytes() == before
    assert "does not exist" in refused(["data", "split", str(scans / "none")], capsys)


def test_a_column_without_a_split_in_it_is_filled(scans: Path) -> None:
    head, *lines = (scans / "manifest.csv").read_text().splitlines()
    text = [f"split,{head}", *(f",{line}" for line in lines)]
    (scans / "manifest.csv").write_text("\n".join(text))
    assert call(["data", "split", str(scans)]) == 0
    assert all(row["split"] for row in read(scans / "manifest.csv"))


def test_what_is_no_manifest_is_one_line(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for broken in (b"", b"image\n\xff\n", b'image\n"a\n', b"file\na.png\n"):
        (scans / "manifest.csv").write_bytes(broken)
        assert "manifest.csv" in refused(["data", "split", str(scans)], capsys)
        assert (scans / "manifest.csv").read_bytes() == broken


def test_a_broken_mask_is_named(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scans / "masks/03.png").write_bytes(b"")
    assert "row 5: mask masks/03.png is empty" in refused(["data", "split", str(scans)], capsys)

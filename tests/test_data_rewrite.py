from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudolabel_kit.data.rewrite import write_columns
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Split


def rewritten(folder: Path, text: str, *splits: Split) -> str:
    file, out = folder / "manifest.csv", folder / "out.csv"
    file.write_bytes(text.encode())
    write_columns(file, {"split": splits}, out)
    return out.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("image,note\na.png,x\nb.png,y\n", "image,note,split\na.png,x,test\nb.png,y,val\n"),
        ("image\r\na\r\nb", "image,split\r\na,test\r\nb,val"),
        ("image,split,note\na,,x\nb,labelled,y\n", "image,split,note\na,test,x\nb,val,y\n"),
        ("image, split\na\nb,\n", "image, split\na,test\nb,val\n"),
        ('image,"a, b"\n"x,1.png","say ""no"""\nb\n', None),
        ('image,note\na,"two\nlines"\nb,\n', 'image,note,split\na,"two\nlines",test\nb,,val\n'),
        ("\ufeffimage\na\n\n ,\nb\n", "\ufeffimage,split\na,test\n\n ,\nb,val\n"),
        ("image,x,y\na\nb, 1 ,\n", "image,x,y,split\na,,,test\nb, 1 ,,val\n"),
    ],
)
def test_only_the_splits_are_written(tmp_path: Path, before: str, after: str | None) -> None:
    if after is None:
        after = 'image,"a, b",split\n"x,1.png","say ""no""",test\nb,,val\n'
    assert rewritten(tmp_path, before, "test", "val") == after


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), st.booleans())
def test_all_other_cells_are_read_as_before(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[str, str]], quoted: bool
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    file = folder / "manifest.csv"
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
        writer.writerow(["image", "split", "one", "two"])
        writer.writerows([f"{i}.png", "", *pair] for i, pair in enumerate(notes))
    write_columns(file, {"split": ["val"] * len(notes)}, file)
    with file.open(newline="", encoding="utf-8") as text:
        header, *rows = csv.reader(text)
    assert header == ["image", "split", "one", "two"]
    assert rows == [[f"{i}.png", "val", *pair] for i, pair in enumerate(notes)]


def test_what_cannot_be_written_leaves_the_manifest(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text("image\na\n")
    with pytest.raises(RunError, match="cannot be written"):
        write_columns(file, {"split": ["val"]}, tmp_path)
    assert file.read_text() == "image\na\n"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


def test_rows_can_be_left_as_they_are_and_cells_can_be_quoted(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text("image,region\na,old.png\nb\nc,\n")
    columns = {"region": [None, 'a, "b".png', "c.png"], "region_by": [None, "x", "x"]}
    write_columns(file, columns, file)
    with file.open(newline="") as text:
        _, *rows = csv.reader(text)
    assert file.read_text().splitlines()[:2] == ["image,region,region_by", "a,old.png,"]
    assert rows[1:] == [["b", 'a, "b".png', "x"], ["c", "c.png", "x"]]

"""A source folder is never left, whatever its links say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.scans.tree import look_into


def test_links_stay_inside(tmp_path: Path) -> None:
    outside, source = tmp_path / "outside", tmp_path / "source"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret.nii").touch()
    (source / "a").mkdir(parents=True)
    (source / "a" / "x.nii").touch()
    (source / "a" / "loop").symlink_to(source)
    (source / "away").symlink_to(outside)
    (source / "out.nii").symlink_to(outside / "secret.nii")
    (source / "round.nii").symlink_to(source / "round.nii")
    (source / "broken.nii").symlink_to(source / "no.nii")
    (source / "twice.nii").symlink_to(Path("a") / "x.nii")
    found = look_into(source, tmp_path / ".salt")
    assert [found.said(path) for path in found.files] == ["twice.nii", "a/x.nii"]
    assert sorted(each.reason for each in found.skipped) == [
        "a/loop: is a link to a folder; expected the folder",
        "away: is a link to a folder; expected the folder",
        "broken.nii: is a link that leads nowhere; expected a file",
        "out.nii: is a link out of the source; expected a file",
        "round.nii: is a link that leads nowhere; expected a file",
    ]


def test_the_source_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.nii").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(look_into(tmp_path / "link", tmp_path / ".salt").files) == 1


def test_what_is_hidden_or_no_file_is_left_out(tmp_path: Path) -> None:
    for name in (".x.nii", "._x.nii", "__MACOSX/x.nii", ".git/x.nii", "x.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.nii")
    found = look_into(tmp_path, tmp_path / ".salt")
    assert (found.files, found.skipped) == ((tmp_path / "x.nii",), ())


def test_a_source_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x.nii").touch()
    for name, said in {"x.nii": "is a file", "no": "does not exist"}.items():
        with pytest.raises(DataError, match=f"{name} {said}; expected a folder"):
            look_into(tmp_path / name, tmp_path / ".salt")


def test_the_salt_is_drawn_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    salts = [look_into(tmp_path, tmp_path / name).salt for name in (".a", ".a", ".b")]
    assert salts[0] == salts[1] != salts[2]
    assert len(salts[0]) == 32
    assert (tmp_path / ".a").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_a_salt_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(size: int) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("secrets.token_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        _ = look_into(tmp_path, tmp_path / ".salt").salt
    assert not (tmp_path / ".salt").exists()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_salt_that_is_not_whole_is_refused(size: int, tmp_path: Path) -> None:
    (tmp_path / ".salt").write_bytes(bytes(size))
    with pytest.raises(RunError, match=rf"\.salt: holds {size} bytes, expected 32; put back"):
        _ = look_into(tmp_path, tmp_path / ".salt").salt

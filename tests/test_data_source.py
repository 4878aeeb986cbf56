from __future__ import annotations

from pathlib import Path

import pytest
from data_support import noise, write_manifest, write_png

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.phantom import Phantom
from pseudolabel_kit.data.source import open_dataset
from pseudolabel_kit.errors import ConfigError, DataError, PluginError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_png(tmp_path / "a.png", noise())
    write_manifest(tmp_path, [{"image": "a.png", "label": "ill"}])
    return tmp_path


def test_a_manifest_or_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for source in (str(folder), str(folder / "manifest.csv"), folder.name):
        assert open_dataset(DataConfig(source=source)).classes == ("ill",)


def test_a_reference() -> None:
    assert open_dataset(DataConfig(source="phantom:seed=3:size=32")) == Phantom(seed=3, size=32)


def test_what_is_neither() -> None:
    with pytest.raises(PluginError, match="phantom"):
        open_dataset(DataConfig(source="phantm"))
    with pytest.raises(ConfigError, match="size = 3: expected at least 16"):
        open_dataset(DataConfig(source="phantom:size=3"))
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(DataConfig(source="my/data")).rows()


def test_lesion_classes_may_be_named() -> None:
    chosen = open_dataset(DataConfig(lesion_classes=("covid19", "cap")))
    own = Phantom()
    assert chosen.lesion_classes == (1, 2)
    assert chosen.classes == own.classes
    assert chosen.rows() == own.rows()
    assert chosen.fingerprint() == own.fingerprint()
    assert (chosen.read(0).image == own.read(0).image).all()
    with pytest.raises(ConfigError, match=r"no class 'covid' \(did you mean 'covid19'\?\)"):
        open_dataset(DataConfig(lesion_classes=("covid",)))

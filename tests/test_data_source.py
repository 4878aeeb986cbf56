from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import Site
from data_support import noise, write_manifest, write_png
from numpy.typing import NDArray

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.foreign import Foreign
from pseudolabel_kit.data.manifest import Manifest
from pseudolabel_kit.data.phantom import Phantom
from pseudolabel_kit.data.source import open_dataset, open_store
from pseudolabel_kit.errors import ConfigError, DataError, PluginError

ILL, SOUND = range(0, 16, 2), range(1, 16, 2)


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
    found = open_dataset(DataConfig(source="phantom:seed=3:size=32"))
    assert found == Foreign(dataset=Phantom(seed=3, size=32))


def folder_of(source: str) -> object:
    found = open_dataset(DataConfig(source=source))
    assert isinstance(found, Foreign)
    return getattr(found.dataset, "folder", None)


NPZ = """
from dataclasses import dataclass
from pseudolabel_kit.interfaces import Dataset

@dataclass(frozen=True, kw_only=True)
class Npz(Dataset):
    folder: str = "here"
    classes = ("any",)
    lesion_classes = (0,)
    def rows(self): return []
    def read(self, index): raise IndexError
    def fingerprint(self): return ""
"""


@pytest.fixture
def scans(site: Site) -> None:
    """Two plugins that offer 'scans', and one of the two what was once 'slices'."""
    formerly = "from pseudolabel_kit.plugin import Formerly"
    offers = ("'scans'", "'npz'"), ("'scans'",)
    for plugin, names in zip(("aa", "bb"), offers, strict=True):
        components = [f"'dataset', {name}, 'npz_{plugin}:Npz', 'For a test.'" for name in names]
        components[-1] += ", Formerly('slices', until='9.0')" if plugin == "aa" else ""
        site.offer(plugin, *components, extra=formerly, **{f"npz_{plugin}": NPZ})


@pytest.mark.usefixtures("scans")
def test_a_dataset_s_name_is_told_from_a_path_by_what_stands_before_the_first_colon() -> None:
    assert folder_of("npz:folder=/data/x") == "/data/x"
    assert folder_of("npz:folder=deep/list.csv") == "deep/list.csv"
    assert folder_of("aa/scans") == "here"
    assert folder_of("bb/scans:folder=/data/y") == "/data/y"
    with pytest.raises(PluginError, match=r"several plugins offer .* say 'aa/scans' or 'bb/scans'"):
        open_dataset(DataConfig(source="scans:folder=/data"))
    with pytest.raises(PluginError, match=r"there is no such .* \(did you mean 'npz'\?\)"):
        open_dataset(DataConfig(source="npzz:folder=/data/x"))
    with pytest.raises(DataError, match=r"^cc/scans:folder=/data does not exist; expected a man"):
        open_dataset(DataConfig(source="cc/scans:folder=/data")).rows()


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize("name", ["slices", "aa/slices"])
def test_a_dataset_is_found_by_its_former_name_which_is_told_once(name: str) -> None:
    with pytest.warns(FutureWarning, match="dataset 'slices' is now 'npz'") as told:
        assert folder_of(f"{name}:folder=/data/x") == "/data/x"
    assert len(told) == 1


def test_a_manifest_on_disk_comes_before_a_dataset_of_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("phantom").mkdir()
    here = Foreign(dataset=Phantom())
    assert open_dataset(DataConfig(source="phantom")) == here  # the folder holds no manifest
    (folder / "manifest.csv").rename(folder / "phantom" / "manifest.csv")
    assert open_dataset(DataConfig(source="phantom")) == Manifest(path="phantom")
    assert open_dataset(DataConfig(source="builtin/phantom")) == here


def test_a_text_that_no_file_can_be_called_is_still_a_reference() -> None:
    with pytest.raises(ConfigError, match="there is no option 'x'"):
        open_dataset(DataConfig(source=f"phantom:x={'y' * 300}"))


def test_what_is_neither() -> None:
    with pytest.raises(PluginError, match=r"phantm: there is no .*\(did you mean 'phantom'\?\)"):
        open_dataset(DataConfig(source="phantm"))
    for source in ("nope", "my scans", "nope:size=32"):
        said = f"^{source}: there is no such file, folder or dataset; expected a manifest.csv, its "
        with pytest.raises(PluginError, match=said + r"folder, or one of: (\w+, )*phantom"):
            open_dataset(DataConfig(source=source))
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


def write_set(folder: Path, lit: Collection[int], split: str = "") -> DataConfig:
    """Sixteen images of two classes, each with a mask; those of the rows in `lit` are full."""
    lines = []
    for i in range(16):
        write_png(folder / f"{i}.png", noise(16, 16, seed=i))
        write_png(folder / f"mask{i}.png", np.full((16, 16), 255 * (i in lit)))
        label = ("ill", "sound")[i % 2]
        lines.append({"image": f"{i}.png", "mask": f"mask{i}.png", "label": label, "split": split})
    write_manifest(folder, lines)
    return DataConfig(source=str(folder), cache=str(folder / "cache"))


@pytest.mark.parametrize("split", ["", "labelled"])
def test_lesion_classes_are_those_that_labelled_masks_show(tmp_path: Path, split: str) -> None:
    store, _ = open_store(write_set(tmp_path, lit=ILL, split=split))
    assert store.lesion_classes == (0,)


@pytest.mark.parametrize("side", ["unlabelled", "val", "test"])
def test_truth_beside_the_labelled_side_tells_no_lesion_class(tmp_path: Path, side: str) -> None:
    config = write_set(tmp_path, lit=ILL).model_copy(update={"labelled": 0.5})
    store, splits = open_store(config)
    others = getattr(splits, side)
    assert any(i in SOUND for i in others)
    write_set(tmp_path, lit={*ILL, *others})
    assert open_store(config)[0].lesion_classes == store.lesion_classes == (0,)


def test_rows_that_lose_their_labels_lose_their_say(tmp_path: Path) -> None:
    config = write_set(tmp_path, lit=range(16), split="labelled")
    few = config.model_copy(update={"labelled": 0.25})
    _, splits = open_store(few)
    write_set(tmp_path, lit={*splits.unlabelled, *ILL}, split="labelled")
    assert open_store(few)[0].lesion_classes == (0,)
    assert open_store(config)[0].lesion_classes == (0, 1)


def test_a_class_is_healthy_where_enough_of_its_masks_are_empty(tmp_path: Path) -> None:
    config = write_set(tmp_path, lit=ILL, split="labelled")
    assert open_store(config)[0].healthy_classes == (1,)
    few = open_store(config.model_copy(update={"labelled": 0.25}))[0]
    assert (few.lesion_classes, few.healthy_classes) == ((0,), ()), "two empty masks are too few"
    named = config.model_copy(update={"labelled": 0.25, "lesion_classes": ("ill",)})
    assert open_store(named)[0].healthy_classes == (1,)


def test_a_class_of_which_no_labelled_mask_is_known_may_hold_lesions(tmp_path: Path) -> None:
    config = write_set(tmp_path, lit=ILL, split="labelled")
    with (tmp_path / "manifest.csv").open() as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        line["mask"] = line["mask"] if line["label"] == "ill" else ""
    write_manifest(tmp_path, lines)
    assert open_store(config)[0].lesion_classes == (0, 1)


def test_a_lesion_of_no_known_class_makes_no_class_healthy(tmp_path: Path) -> None:
    config = write_set(tmp_path, lit=(0,), split="labelled")
    with (tmp_path / "manifest.csv").open() as file:
        lines = list(csv.DictReader(file))
    lines[0]["label"] = ""
    write_manifest(tmp_path, lines)
    with pytest.warns(UserWarning, match="no labelled mask shows a lesion"):
        store, _ = open_store(config)
    assert (store.lesion_classes, store.healthy_classes) == ((0, 1), ())


def test_where_no_labelled_mask_tells_the_remedy_is_named(tmp_path: Path) -> None:
    config = write_set(tmp_path, lit=())
    with pytest.warns(UserWarning, match=r"--set data\.lesion_classes=\[…\]") as told:
        assert open_store(config)[0].lesion_classes == (0, 1)
    assert len(told) == 1
    named = config.model_copy(update={"lesion_classes": ("sound",)})
    assert open_store(named)[0].lesion_classes == (1,)


@pytest.mark.parametrize(
    ("other", "known", "said"),
    [
        (noise(20, 16), {}, "a.png is 16x16 px but deep/b.png is 16x20 px"),
        (np.dstack([noise(16, 16, seed=i) for i in range(3)]), {}, "b.png is in colour but a.png"),
        (noise(16, 16), {"patient": "P", "split": "test"}, "a.png is in train, deep/b.png in test"),
    ],
)
def test_rows_that_do_not_go_together_are_named_by_their_files(
    tmp_path: Path, other: NDArray[np.int64], known: Mapping[str, str], said: str
) -> None:
    write_png(tmp_path / "a.png", noise(16, 16))
    write_png(tmp_path / "deep" / "b.png", other)
    one = {"image": "a.png", "label": "ill", "patient": known.get("patient", ""), "split": ""}
    write_manifest(
        tmp_path, [{**one, "split": "labelled"}, {**one, "image": "deep/b.png", **known}]
    )
    with pytest.raises(DataError, match=said):
        open_store(DataConfig(source=str(tmp_path), cache=str(tmp_path / "cache")))

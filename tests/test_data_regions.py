from __future__ import annotations

from pathlib import Path

import pytest
from data_support import noise, write_manifest, write_png
from lung_dataset import write_chest

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.source import decoded, open_dataset, open_store
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.lungs.fill import fill
from pseudolabel_kit.lungs.methods import Threshold


def test_regions_are_the_masks_and_classes_say_nothing(tmp_path: Path) -> None:
    """Rows of a healthy class have an empty lesion mask, but no empty lung."""
    lines = []
    for i in range(8):
        write_png(tmp_path / f"{i}.png", noise(16, 16, seed=i))
        write_png(tmp_path / f"{i}-lung.png", noise(16, 16, top=2) * 255)
        write_png(tmp_path / f"{i}-lesion.png", noise(16, 16, top=2 if i < 4 else 1) * 255)
        label = "ill" if i < 4 else "sound"
        line = {"image": f"{i}.png", "mask": f"{i}-lesion.png", "label": label}
        lines.append(line | {"region": "" if i % 2 else f"{i}-lung.png", "split": "labelled"})
    write_manifest(tmp_path, lines)
    cache = str(tmp_path / "cache")
    lesions, _ = open_store(DataConfig(source=str(tmp_path), cache=cache))
    store, splits = open_store(DataConfig(source=str(tmp_path), cache=cache, mask="region"))
    assert lesions.healthy_classes
    assert (store.classes, store.lesion_classes, store.healthy_classes) == (("any",), (0,), ())
    batch = store.subset(splits.labelled).batch(range(8))
    assert batch.has_mask.tolist() == [True, False] * 4
    assert not batch.has_label.any()
    assert batch.region is None
    truth = lesions.subset(range(8)).batch([0, 2])
    assert truth.region is not None
    assert batch.mask[[0, 2]].equal(truth.region)


def test_regions_that_are_not_there_cannot_be_learnt(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", noise(16, 16))
    write_manifest(tmp_path, [{"image": "a.png", "label": "ill"}])
    with pytest.raises(ConfigError, match=r"no row of .* has a region"):
        open_dataset(DataConfig(source=str(tmp_path), mask="region"))
    with pytest.raises(ConfigError, match=r"expected data\.region = keep"):
        open_dataset(DataConfig(source="phantom", mask="region", region="black"))


def test_regions_that_were_made_blacken_images(tmp_path: Path) -> None:
    file = write_chest(tmp_path)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))  # not the muscle
    fill(file, Threshold())
    plain = DataConfig(source=str(tmp_path), cache=str(tmp_path / "cache"))
    black = plain.model_copy(update={"region": "black"})
    one, other = (
        decoded(open_dataset(config), config).subset(range(6)).batch(range(6))
        for config in (plain, black)
    )
    assert one.region is not None
    assert one.region.flatten(1).any(dim=1).all()
    assert other.image.equal(one.image * one.region)

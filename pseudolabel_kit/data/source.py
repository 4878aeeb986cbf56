"""From the configuration's `data.source` to a dataset."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.foreign import Foreign
from pseudolabel_kit.data.manifest import Manifest
from pseudolabel_kit.data.pack import Progress, describe
from pseudolabel_kit.data.regions import Regions
from pseudolabel_kit.data.splits import Splits, assign
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.errors import ConfigError, PluginError, nearest
from pseudolabel_kit.interfaces import Dataset, Row, Sample
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.catalogue import catalogue

ENOUGH = 3  # empty masks of a class, and no other, before its rows without one count as healthy


def open_dataset(config: DataConfig) -> Dataset:
    """The dataset that `config.source` names: a manifest or its folder, or a reference.

    What is meant is decided in this order:

    1. a manifest on disk: a `.csv` file, or a folder with a `manifest.csv`;
    2. an installed dataset, where the text before the first `:` is its name, bare or qualified,
       of today or of formerly ("npz-scans:folder=/data/x", "mine/npz-scans");
    3. a path: it is there on disk, or what stands before the first `:` holds a `/` or ends in
       `.csv`.

    Raises:
        ConfigError: an entry of `config.lesion_classes` is no class of the dataset, or regions
            are to be learnt that are not there or that are blackened.
        DataError: the manifest is missing or wrong.
        PluginError: there is neither a file, a folder nor a dataset of that name.
    """
    source = config.source
    if _is_manifest(source):
        dataset: Dataset = Manifest(path=source)
    elif _is_offered(source.partition(":")[0]):
        dataset = Foreign(dataset=build("dataset", source))
    elif _is_path(source):
        dataset = Manifest(path=source)
    else:
        raise _unknown(source)
    if config.mask == "region":
        dataset = _regions_of(dataset, config)
    if not config.lesion_classes:
        return dataset
    return _OtherLesions(dataset=dataset, chosen=_indices(config.lesion_classes, dataset.classes))


def open_store(config: DataConfig, progress: Progress | None = None) -> tuple[Store, Splits]:
    """The decoded images and the sides that they stand on.

    Where neither the dataset nor `config` names its lesion classes, the masks of the rows that
    stand on the labelled side tell them.

    Args:
        config: the source, and how it is read and split.
        progress: told (rows done, rows in all) while decoding.

    Raises:
        DataError: the dataset is not what was expected; see `plk data describe`.
    """
    dataset = open_dataset(config)
    splits = assign(dataset.rows(), config, config.seed)
    store = decoded(dataset, config, progress)
    if not dataset.lesion_classes:
        lesion, healthy = _shown(store, splits.labelled)
        store = replace(store, lesion_classes=lesion, healthy_classes=healthy)
    return store, splits


def decoded(dataset: Dataset, config: DataConfig, progress: Progress | None = None) -> Store:
    """The images of a dataset, read as the configuration says."""
    return Store.open(
        dataset,
        size=config.size,
        cache=Path(config.cache) if config.cache else None,
        region=config.region,
        progress=progress,
    )


def _shown(store: Store, labelled: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Classes that can hold lesions, and healthy ones, by the labelled masks and no other truth.

    All but those whose masks are all empty can. Those are healthy if there are enough of them.
    """
    foreground = describe(store.folder)["foreground"]
    masks = [(store.rows[i].label, foreground[i]) for i in labelled if store.rows[i].has_mask]
    if shown := {label for label, lesion in masks if lesion and label is not None}:
        seen = Counter(label for label, _ in masks)
        empty = [i for i in range(len(store.classes)) if i in seen and i not in shown]
        healthy = tuple(i for i in empty if seen[i] >= ENOUGH)
        return tuple(i for i in range(len(store.classes)) if i not in empty), healthy
    if len(store.classes) > 1:
        warnings.warn(
            "no labelled mask shows a lesion, so every class is taken to have some; name those "
            "that can with --set data.lesion_classes=[…]",
            stacklevel=3,
        )
    return tuple(range(len(store.classes))), ()


def _is_manifest(source: str) -> bool:
    path = os.path.expanduser(source)
    inside = os.path.join(path, "manifest.csv")
    return os.path.isfile(path if path.endswith(".csv") else inside)


def _is_offered(name: str) -> bool:
    """Whether a dataset has this name, qualified or not, or had it formerly."""
    for offer in catalogue().offers("dataset"):
        called = {offer.component.name}
        if offer.component.formerly:
            called.add(offer.component.formerly.name)
        if name in called or name in {f"{offer.plugin}/{each}" for each in called}:
            return True
    return False


def _is_path(source: str) -> bool:
    if os.path.exists(source):
        return True
    name = source.partition(":")[0]
    return name.endswith(".csv") or any(s in name for s in (os.sep, os.altsep) if s)


def _unknown(source: str) -> PluginError:
    installed = catalogue()
    known = sorted({offer.component.name for offer in installed.offers("dataset")})
    return PluginError(
        f"{source}: there is no such file, folder or dataset"
        f"{nearest(source.partition(':')[0], known)}; "
        f"expected a manifest.csv, its folder, or one of: {', '.join(known)}{installed.missing()}"
    )


def _regions_of(dataset: Dataset, config: DataConfig) -> Dataset:
    if config.region == "black":
        raise ConfigError(
            "data.region = black shows what data.mask = region is to find; "
            "expected data.region = keep"
        )
    if not any(row.has_region for row in dataset.rows()):
        raise ConfigError(
            f"data.mask = region: no row of {config.source} has a region; "
            "expected some, as plk data import keeps or plk data lungs makes them"
        )
    return Regions(dataset=dataset)


def _indices(chosen: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    for name in chosen:
        if name not in classes:
            raise ConfigError(
                f"data.lesion_classes: there is no class '{name}'{nearest(name, classes)}; "
                f"the classes are {', '.join(classes)}"
            )
    return tuple(sorted({classes.index(name) for name in chosen}))


@dataclass(frozen=True, kw_only=True)
class _OtherLesions(Dataset):
    """A dataset for which the user says which classes can hold lesions."""

    dataset: Dataset
    chosen: tuple[int, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.classes

    @property
    def lesion_classes(self) -> tuple[int, ...]:
        return self.chosen

    def rows(self) -> Sequence[Row]:
        return self.dataset.rows()

    def read(self, index: int) -> Sample:
        return self.dataset.read(index)

    def fingerprint(self) -> str:
        return self.dataset.fingerprint()

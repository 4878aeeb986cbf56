"""A plugin's dataset that fails names itself and the row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Site
from data_support import Listed, listed, sample
from tiny import refused, tiny, toml_of

from pseudolabel_kit.data.foreign import Foreign
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Row
from pseudolabel_kit.plugin.blame import FaultError

SOUND = listed([sample(), sample(seed=1)])


def giving(**answers: Any) -> Foreign:
    """A dataset of which some methods or properties give these answers, or raise them."""

    def answer(found: Any) -> Callable[..., Any]:
        def method(self: object, *given: object) -> Any:
            if isinstance(found, Exception):
                raise found
            return found

        return method

    made = {
        name: property(answer(found)) if "classes" in name else answer(found)
        for name, found in answers.items()
    }
    return Foreign(dataset=type("Mine", (Listed,), made)(**vars(SOUND)))


READ: dict[str, Callable[[Foreign], object]] = {
    "classes": lambda dataset: dataset.classes,
    "lesion_classes": lambda dataset: dataset.lesion_classes,
    "rows": lambda dataset: dataset.rows(),
    "fingerprint": lambda dataset: dataset.fingerprint(),
    "read": lambda dataset: dataset.read(1),
}


@pytest.mark.parametrize("method", READ)
def test_whatever_it_raises_names_it_and_its_row(method: str) -> None:
    with pytest.raises(FaultError) as error:
        READ[method](giving(**{method: ValueError("boom")}))
    where = " of row 1 ('row1')" if method == "read" else ""
    assert str(error.value).startswith(f"Mine: {method}{where} raised ValueError: boom ({__file__}")


@pytest.mark.parametrize(
    ("method", "answer", "told"),
    [
        ("classes", "ab", "'ab': expected a tuple of names"),
        ("classes", (), "(): expected a tuple of names"),
        ("lesion_classes", (2,), "(2,): expected indices into 2 classes"),
        ("rows", ["a"], "row 0: a str, expected a Row"),
        ("rows", [Row(name="a", label=7)], "row 0 ('a') with label 7: expected an index into 2"),
        ("rows", [Row(name="a", split="train")], "row 0 ('a') with split 'train': expected one of"),  # type: ignore[arg-type]
        ("fingerprint", 3, "a int: expected a text"),
        ("read", None, "a NoneType: expected a Sample"),
        ("read", replace(sample(), image=[[0.5]]), "image as a list: expected an array"),  # type: ignore[arg-type]
        ("read", replace(sample(), mask="no"), "mask as a str: expected an array"),  # type: ignore[arg-type]
    ],
)
def test_what_it_gives_wrongly_is_refused(method: str, answer: object, told: str) -> None:
    with pytest.raises(FaultError) as error:
        READ[method](giving(**{method: answer}))
    where = " of row 1 ('row1')" if method == "read" else ""
    assert str(error.value).startswith(f"Mine: {method}{where} gave {told}")


def test_a_sound_one_is_as_it_was() -> None:
    dataset = Foreign(dataset=SOUND)
    assert (dataset.classes, dataset.rows()) == (SOUND.classes, SOUND.rows())
    assert (dataset.read(1), dataset.fingerprint()) == (SOUND.samples[1], SOUND.fingerprint())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image": np.full((1, 8, 6), np.nan, np.float32)}, "the image holds NaN or infinite pix"),
        ({"image": np.full((1, 8, 6), 1.5, np.float32)}, r"expected pixels in \[0, 1\]"),
        ({"image": np.zeros((1, 8, 6))}, "the image is float64, expected float32"),
        ({"image": np.zeros((8, 6), np.float32)}, r"expected an image \(C,H,W\), got shape \(8, 6"),
        ({"mask": np.zeros((1, 8, 6))}, r"the mask is float64 of shape \(1, 8, 6\), expected bool"),
        ({"mask": np.zeros((8, 6), bool)}, r"the mask is bool of shape \(8, 6\), expected bool"),
        ({"region": np.zeros((1, 4, 6), bool)}, "the region is 6x4 px, the image 6x8 px"),
    ],
)
def test_pixels_that_are_not_the_contract_s_name_the_row(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    samples: Sequence[Any] = [sample(), replace(sample(seed=1), **changes)]
    with pytest.raises(DataError, match=f"^row1: {told}"):
        Store.open(Foreign(dataset=listed(samples)), cache=tmp_path)


def test_a_person_sees_one_line(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.offer(
        "scans",
        "'dataset', 'scans', 'broken_scans:Scans', 'for a test'",
        broken_scans=(
            "from pseudolabel_kit.data.phantom import Phantom\n"
            "class Scans(Phantom):\n"
            "    def fingerprint(self):\n"
            "        return 'scans'\n"
            "    def read(self, index):\n"
            "        return super().read(index) if index != 3 else {}[index]\n"
        ),
    )
    config = tiny({"data": {"source": "scans:size=32", "cache": str(tmp_path / "cache")}})
    line = ["train", toml_of(config, tmp_path / "a.toml"), "--out", str(tmp_path / "run")]
    told = refused(line, capsys)
    assert told.startswith(
        "dataset 'scans:size=32' of plugin 'scans': read of row 3 ('patient001-slice01') "
        "raised KeyError: 3 ("
    )
    assert told.endswith("broken_scans.py:6)")

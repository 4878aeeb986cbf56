"""A plugin's dataset that fails names itself and the row."""

from __future__ import annotations

from collections.abc import Callable
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
        ("rows", [Row(name="a", label=0.5)], "row 0 ('a') with label 0.5: expected an index"),  # type: ignore[arg-type]
        ("rows", [Row(name=3)], "row 0 with name 3: expected a text"),  # type: ignore[arg-type]
        ("rows", [Row(name="a", patient=3)], "row 0 ('a') with patient 3: expected a text, or No"),  # type: ignore[arg-type]
        ("rows", [Row(name="a"), Row(name="b")] * 2, "row 2 ('a') the name of row 0: expected one"),
        ("rows", [Row(name="a", split="train")], "row 0 ('a') with split 'train': expected one of"),  # type: ignore[arg-type]
        ("fingerprint", 3, "a int: expected a text"),
        ("read", None, "a NoneType: expected a Sample"),
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


GREY = np.zeros((1, 8, 6), np.float32)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image": [[0.5]]}, "image as a list: expected an array"),
        ({"image": GREY + np.nan}, "an image with NaN or infinite pixels"),
        ({"image": GREY + np.inf}, "an image with NaN or infinite pixels"),
        ({"image": GREY + 1.5}, "an image with pixels in [1.5, 1.5]: expected [0, 1]"),
        ({"image": GREY.astype(float)}, "an image of float64: expected float32"),
        ({"image": GREY[0]}, "an image of shape (8, 6): expected pixels (C,H,W)"),
        ({"image": GREY[:, :0]}, "an image of shape (1, 0, 6): expected pixels (C,H,W)"),
        ({"mask": "no"}, "mask as a str: expected an array"),
        ({"mask": None}, "no mask: its row says has_mask"),
        ({"mask": GREY}, "a mask of float32 (1, 8, 6): expected bool (K,H,W)"),
        ({"mask": GREY[0] > 0}, "a mask of bool (8, 6): expected bool (K,H,W)"),
        ({"region": np.zeros((2, 8, 6), bool)}, "a region of bool (2, 8, 6): expected bool (1,H"),
        ({"region": np.zeros((1, 4, 6), bool)}, "a region of 6x4 px: expected the 6x8 px of its"),
    ],
)
def test_pixels_that_are_not_the_contract_s_name_the_dataset_and_the_row(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    samples = [sample(), replace(sample(seed=1), **changes)]
    dataset = Foreign(dataset=Listed(given_rows=SOUND.given_rows, samples=samples))
    with pytest.raises(FaultError) as error:
        Store.open(dataset, cache=tmp_path)
    assert str(error.value).startswith(f"Listed: read of row 1 ('row1') gave {told}")


def test_a_plane_that_its_row_does_not_promise_is_refused() -> None:
    bare = [replace(row, has_region=False) for row in SOUND.given_rows]
    with pytest.raises(FaultError, match="gave a region: its row does not say has_region"):
        Foreign(dataset=Listed(given_rows=bare, samples=SOUND.samples)).read(0)


def test_numpy_s_integers_are_labels_too() -> None:
    rows = [Row(name="a", label=np.int64(1))]  # type: ignore[arg-type]
    assert giving(rows=rows).rows() == rows


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

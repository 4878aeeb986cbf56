from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from viewer_support import MAPS, SIDE, answers, drawn

from pseudolabel_kit.viewer import sprites
from pseudolabel_kit.viewer.agreement import agreement
from pseudolabel_kit.viewer.card import card, index, read_card, write_card
from pseudolabel_kit.viewer.drawing import Drawn
from pseudolabel_kit.viewer.layers import layers
from pseudolabel_kit.viewer.page import page
from pseudolabel_kit.viewer.stack import Slice
from pseudolabel_kit.viewer.told import told

EVIL = "<script>alert(1)</script>\"'&"
GREY = np.zeros((1, SIDE, SIDE), dtype=np.float32)


def written(study: Drawn) -> str:
    return page(study, run="first", step=7)


def data(text: str) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', text, re.S)
    assert found
    read: dict[str, Any] = json.loads(found[1])
    return read


def test_a_page_has_every_part() -> None:
    text = written(drawn())
    for word in (
        "Explanations by first, step 7",
        "integrated gradients, steps=8",
        "CAAM",
        "decoder&#39;s probability",
        "pseudo label",
        "what is marked as lesion",
        "truth: the reference mask",
        'aria-live="polite"',
        'type="range" min="1" max="5"',
        "Inside",
        "For research, not for diagnosis",
    ):
        assert word in text, word
    assert text.count('<input type="checkbox"') == 6
    read = data(text)
    assert [layer["name"] for layer in read["layers"]] == [
        *(f"evidence/{name}" for name in MAPS),
        *("decoder", "label", "mask", "truth"),
    ]
    assert len(read["slices"]) == 5
    assert read["slices"][0]["lesion"] == 0
    assert read["slices"][0]["inside"] is None  # no mask, no agreement
    assert set(read["slices"][3]["maps"]) == set(MAPS)
    assert read["slices"][4]["truth"] is None


def test_a_page_reaches_for_nothing() -> None:
    text = written(drawn())
    assert not re.search(r"https?:|wss:|@import|url\(|fetch\(|XMLHttp|<iframe|srcset", text)
    assert set(re.findall(r'\s(?:src|href)="([^"]*)"', text)) == {"data:,"}
    assert "default-src &#39;none&#39;" in text


def test_the_policy_lets_the_page_s_own_script_run_and_no_other() -> None:
    text = written(drawn())
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Policy" content="(.*?)"', text)
    assert policy
    assert f"script-src &#39;sha256-{digest}&#39;" in policy[1]
    assert "'unsafe-eval'" not in policy[1]


def test_names_inject_nothing() -> None:
    study = drawn(EVIL)
    study.classes = (EVIL, "sound")
    study.slices[0] = told(answers(5), 0, Slice(image=GREY, title=EVIL, label=EVIL), None)
    text = written(study)
    assert EVIL not in text
    assert "alert(1)</script>" not in text
    assert data(text)["classes"][0] == EVIL
    listed = index([card(study, "stamp")] * 2, EVIL)
    assert "<script" not in listed


def test_truth_that_was_not_asked_for_is_nowhere() -> None:
    text = written(drawn(truth=False))
    assert "the reference mask" not in text
    assert "rue lesion" not in text
    assert all(each["truth"] is None and each["label"] is None for each in data(text)["slices"])


def test_dice_is_that_of_a_hand() -> None:
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[2:6, 3:9] = True  # 24 px; of the mask's 4 x 4 it holds 4 x 3
    found = told(answers(5), 4, Slice(image=GREY), truth)
    assert found.dice == 2 * 12 / (16 + 24)
    assert found.lesion == pytest.approx(16 / SIDE**2, abs=1e-6)
    assert found.truth == pytest.approx(24 / SIDE**2, abs=1e-6)
    empty = np.zeros((SIDE, SIDE), dtype=bool)
    assert told(answers(5), 4, Slice(image=GREY), empty).dice == 0
    assert told(answers(5), 0, Slice(image=GREY), empty).dice is None


def test_the_aspect_of_a_slice_is_its_width_over_its_height() -> None:
    wide = Slice(image=np.zeros((1, 20, 40), dtype=np.float32))
    assert told(answers(1), 0, wide, None).aspect == 2


def test_a_model_without_masks_or_without_classes_has_a_page_too() -> None:
    full = answers(2)
    image = np.zeros((1, SIDE, SIDE), dtype=np.float32)
    bare = {"decoder": None, "marked": None, "label": None, "taught": None}
    for gone in (bare, {"probabilities": None}):
        found = type(full)(**{**vars(full), **gone})
        study = Drawn(
            name="case",
            classes=() if found.probabilities is None else ("ill", "sound"),
            frame=(SIDE, SIDE),
            grid=(SIDE, SIDE),
            layers=layers(MAPS, masks="marked" not in gone, label="label" not in gone, truth=False),
        )
        study.add([Slice(image=image)] * 2, found)
        text = written(study)
        assert ('aria-labelledby="classes-title"' in text) == bool(study.classes)
        talk = ("what is marked", "mask", "inside", "Inside", "overlap ", 'id="lesions"')
        body = text[text.index("<main>") : text.index("<dialog")]
        assert [word in body for word in talk] == ["marked" not in gone] * len(talk)
        listed = index([card(study, "")] * 2, "first")
        assert ("esion" in listed) == ("marked" not in gone)
        assert card(study, "").count == 2


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
def test_sprites_give_back_what_was_put_in(count: int, height: int, width: int, depth: int) -> None:
    rng = np.random.default_rng(count)
    planes = rng.integers(0, 256, (count, height, width, depth), dtype=np.uint8)
    sprite = sprites.encoded(planes[..., 0] if depth == 1 else planes)
    assert (sprites.decoded(sprite, (height, width)) == planes).all()


@given(st.integers(0, 2**32 - 1))
def test_agreement_is_a_share_and_what_no_threshold_exceeds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    map_, mask = rng.random((6, 6)), rng.random((6, 6)) > 0.6
    found = agreement(map_, mask)
    if found is None:
        assert not mask.any()
        return
    assert found.inside == pytest.approx(map_[mask].sum() / map_.sum(), abs=1e-5)
    for threshold in (0.25, 0.5, 0.75):
        marked = np.rint(map_ * 255) >= np.rint(threshold * 255)
        dice = 2 * (marked & mask).sum() / (marked.sum() + mask.sum())
        assert found.overlap >= dice - 1e-6


def test_agreement_is_not_defined_where_a_map_or_a_mask_is_empty() -> None:
    ones = np.ones((2, 2))
    assert agreement(ones, np.zeros((2, 2), dtype=bool)) is None
    assert agreement(np.zeros((2, 2)), ones > 0) is None


def test_a_card_is_kept_and_read_back(tmp_path: Path) -> None:
    made = card(drawn(), "stamp")
    assert sum(made.classes.values()) == made.count == 5
    assert made.lesion == pytest.approx((0 + 1 + 4 + 9 + 16) / 5 / SIDE**2, abs=1e-5)
    assert made.thumbnail.startswith("data:image/jpeg;base64,")
    write_card(tmp_path / "cards" / "case.json", made)
    assert read_card(tmp_path / "cards" / "case.json") == made
    (tmp_path / "broken.json").write_text("{}")
    assert read_card(tmp_path / "broken.json") is None
    assert 'href="case.html"' in index([made, made], "first")

from __future__ import annotations

from typing import Any

import pytest

from pseudolabel_kit.plugin import Component

SOUND: dict[str, Any] = {
    "kind": "fuser",
    "name": "mine",
    "target": "pack.mine:Mine",
    "summary": "Mine.",
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "fusor"}, "kind 'fusor' is none of backbone"),
        ({"name": "my part"}, "name 'my part'"),
        ({"name": "a/b"}, "name 'a/b'"),
        ({"target": "pack.mine"}, "is not 'package.module:Class'"),
        ({"target": "pack/mine:Mine"}, "is not 'package.module:Class'"),
        ({"kind": "recipe"}, "is not 'package:path/in/package.toml'"),
        ({"kind": "recipe", "target": "pack:../secret.toml"}, "is not 'package:path"),
        ({"kind": "recipe", "target": "pack:/etc/secret.toml"}, "is not 'package:path"),
        ({"summary": ""}, "not one line"),
        ({"summary": "a\nb"}, "not one line"),
    ],
)
def test_malformed_components_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Component(**SOUND | change)


def test_sound_components_are_taken() -> None:
    Component(**SOUND)
    Component("recipe", "best", "pack:recipes/best.toml", "The best.")

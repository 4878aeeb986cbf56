"""What the tests of the trackers share: tiny runs, and reading back what was written."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny

from pseudolabel_kit import train
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.plugin import hookimpl


def tracked(run: Path, tracker: str, *layers: Mapping[str, Any], **more: Any) -> None:
    """Six steps with a checkpoint after every second and two epochs, told to a tracker."""
    train(tiny({"train": {"tracker": tracker}}, *layers), out=run, **more)


def killed(run: Path, tracker: str, monkeypatch: pytest.MonkeyPatch, after: int = 5) -> None:
    """The same, but it dies after a step that no checkpoint holds; the tracker was told of it."""
    sound = Loop.train

    def dying(loop: Loop) -> None:
        if loop.progress.step == after:
            raise MemoryError("no more")
        sound(loop)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "train", dying)
        with pytest.raises(MemoryError):
            tracked(run, tracker)


class StopAt:
    """An observer through which a person stops the run."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def plk_step_ended(self, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # too little for another piece: the block is filled up
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(whole)
            whole = b""

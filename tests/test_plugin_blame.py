"""What a part raises becomes one line; what is not its fault stays what it is."""

from __future__ import annotations

from asyncio import CancelledError
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from pseudolabel_kit.errors import ConfigError, DataError, PluginError, RunError
from pseudolabel_kit.plugin.blame import BlamelessError, FaultError, RefusedError, blamed, origin
from pseudolabel_kit.plugin.build import build


@dataclass(frozen=True)
class Part:
    def fuse(self, error: BaseException) -> None:
        raise error


def told(error: BaseException) -> str:
    with pytest.raises(FaultError) as found, blamed(Part(), "fuse"):
        Part().fuse(error)
    assert found.value.__cause__ is error
    return str(found.value)


def test_the_line_names_part_method_error_and_place() -> None:
    line = 1 + Path(__file__).read_text().splitlines().index("        raise error")
    place = f"({Path(__file__)}:{line})"
    assert told(ValueError("a\n  b")) == f"Part: fuse raised ValueError: a b {place}"
    assert told(AssertionError()) == f"Part: fuse raised AssertionError {place}"
    assert told(StopIteration("x")) == f"Part: fuse raised StopIteration: x {place}"


def test_the_place_is_in_the_part_s_own_package() -> None:
    with pytest.raises(FaultError) as found, blamed(Part(), "fuse"):
        torch.zeros(2) @ torch.zeros(3)
    assert str(found.value).startswith("Part: fuse raised RuntimeError: ")
    with pytest.raises(FaultError) as found, blamed(build("fuser", "sharpen"), "fuse"):
        torch._assert(False, "deep")
    assert "torch/__init__.py:" in str(found.value)  # for want of a frame of its own


def test_a_call_that_does_not_fit_has_no_place() -> None:
    with pytest.raises(FaultError) as found, blamed(Part(), "fuse"):
        Part().fuse()  # type: ignore[call-arg]
    assert str(found.value).endswith("missing 1 required positional argument: 'error'")


def test_a_long_story_is_cut() -> None:
    assert len(told(ValueError("word " * 1000))) < 620


def test_what_was_refused_is_told_with_its_giver() -> None:
    with pytest.raises(FaultError) as found, blamed(build("fuser", "sharpen"), "fuse"):
        raise RefusedError("a list: expected PseudoLabels")
    assert str(found.value) == (
        "fuser 'sharpen' of plugin 'calibrated': fuse gave a list: expected PseudoLabels"
    )
    assert origin(build("dataset", "phantom")) == "dataset 'phantom' of plugin 'builtin'"


def test_a_part_that_refuses_is_named_where_it_did_not_name_itself() -> None:
    refusal = PluginError("sharpen: this backbone does not segment")
    with pytest.raises(PluginError) as found, blamed(build("fuser", "sharpen"), "fuse"):
        raise refusal
    assert type(found.value) is PluginError
    assert str(found.value) == f"fuser 'sharpen' of plugin 'calibrated': {refusal}"


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize(
    "error",
    [SystemExit(0), GeneratorExit(), CancelledError(), UnspeakableError(), BaseException("x")],
)
def test_whatever_is_raised_has_a_name(error: BaseException) -> None:
    assert told(error).startswith(f"Part: fuse raised {type(error).__name__}")


def test_what_a_part_refuses_is_its_own_in_one_line() -> None:
    for error in (ConfigError("two\nlines"), DataError("two lines"), RunError("two lines")):
        with pytest.raises(PluginError) as found, blamed(Part(), "fuse"):
            Part().fuse(error)
        assert type(found.value) is PluginError
        assert str(found.value) == "Part: two lines"


@pytest.mark.parametrize(
    "error",
    [
        *(MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_memory_that_is_out_is_told_with_what_to_do(error: BaseException) -> None:
    said = told(error)
    assert said.startswith(f"Part: fuse ran out of memory ({__file__}:")
    assert said.endswith(
        "): give it less at once, by a smaller train.batch_size or by an option of its own"
    )


class NobodysError(BlamelessError):
    pass


@pytest.mark.parametrize(
    "error", [FaultError("c"), PluginError("Part: d"), KeyboardInterrupt(), NobodysError()]
)
def test_what_is_told_already_and_interrupts_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as found, blamed(Part(), "fuse"):
        Part().fuse(error)
    assert found.value is error

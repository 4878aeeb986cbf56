from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import same
from torch import Tensor, nn

from pseudolabel_kit.engine import checkpoint
from pseudolabel_kit.engine.checkpoint import DamagedError, Progress
from pseudolabel_kit.errors import RunError

TENSORS: dict[str, Tensor] = {
    "float": torch.rand(3, 2),
    "transposed": torch.rand(3, 2).t(),
    "scalar": torch.tensor(0.25),
    "count": torch.tensor([1, 2]),
    "flag": torch.tensor([True]),
    "strided": torch.rand(1, 3)[:, 0].clone(),
    "half": torch.rand(2).bfloat16(),
    "empty": torch.zeros(0, 3),
}
PROGRESS = Progress(step=7, consistency_began=3, best=0.5, log_bytes=99, zero_for={"a": -1, "b": 4})


def saved(path: Path, config_hash: str = "hash") -> Path:
    checkpoint.save(path, TENSORS, PROGRESS, config_hash)
    return path


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    found = checkpoint.load(saved(tmp_path / "a.safetensors"), "hash")
    assert same(TENSORS, found.tensors)
    assert found.progress == PROGRESS
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_any_changed_byte_of_content_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors")
    content = path.read_bytes()
    places = [content.index(b'"step') + 1, content.index(b"7"), *range(8, len(content), 37)]
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(RunError, match=r"a\.safetensors: (damaged|this|not written)"):
            checkpoint.load(path, "hash")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_damaged(share: float, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedError, match="damaged checkpoint"):
        checkpoint.load(path, "hash")


def test_another_configuration_is_told_from_damage(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="belongs to another configuration") as refused:
        checkpoint.load(saved(tmp_path / "a.safetensors"), "other")
    assert not isinstance(refused.value, DamagedError)


def test_a_foreign_safetensors_file_is_told_from_damage(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(RunError, match="not written by this version") as refused:
        checkpoint.load(tmp_path / "a.safetensors", "hash")
    assert not isinstance(refused.value, DamagedError)


def test_the_newest_sound_one_is_found_and_others_are_named(tmp_path: Path) -> None:
    told: list[str] = []
    assert checkpoint.newest(tmp_path, "hash", told.append) is None
    for step in (5, 90, 100):
        saved(checkpoint.step_path(tmp_path, step))
    checkpoint.step_path(tmp_path, 100).write_bytes(b"")
    found = checkpoint.newest(tmp_path, "hash", told.append)
    assert found is not None
    assert len(told) == 1
    assert "step-00000100.safetensors: damaged checkpoint" in told[0]
    assert told[0].endswith("going on from the one before it")


def test_pruning_keeps_the_last_two_by_number_and_the_best(tmp_path: Path) -> None:
    for step in (9, 10, 100000000, 99999999):
        saved(checkpoint.step_path(tmp_path, step))
    saved(tmp_path / checkpoint.BEST)
    checkpoint.prune(tmp_path, keep=0)
    assert len(list(tmp_path.iterdir())) == 5, "0 = all stay"
    checkpoint.prune(tmp_path, keep=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "best.safetensors",
        "step-100000000.safetensors",
        "step-99999999.safetensors",
    ]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_an_optimiser_goes_on_as_if_never_stopped(kind: type[torch.optim.Adam]) -> None:
    def moved(model: nn.Module, optimiser: torch.optim.Optimizer, times: int) -> None:
        for _ in range(times):
            optimiser.zero_grad()
            sum(p.square().sum() for p in model[:1].parameters()).backward()  # type: ignore
            optimiser.step()

    def made() -> tuple[nn.Sequential, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))  # the second never trains
        return model, kind(model.parameters(), lr=0.1, betas=(0.5, 0.9))

    whole, optimiser = made()
    moved(whole, optimiser, 5)
    first, before = made()
    moved(first, before, 3)
    second, after = made()
    second.load_state_dict(first.state_dict())
    checkpoint.restore_optimiser(after, checkpoint.optimiser_tensors(before))
    moved(second, after, 2)
    assert same(whole.state_dict(), second.state_dict())


def test_tensors_are_found_below_their_prefix() -> None:
    tensors = checkpoint.prefixed("a", {"x": torch.zeros(1)}) | {"ab.x": torch.ones(1)}
    assert list(checkpoint.under("a", tensors)) == ["x"]


@pytest.mark.parametrize("at", ["write_bytes", "replace"])
def test_a_full_disk_leaves_the_checkpoints_before(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = saved(checkpoint.step_path(tmp_path, 1))

    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, at, full)
    with pytest.raises(
        RunError, match=r"step-00000002.*cannot be written: No space left on device"
    ):
        saved(checkpoint.step_path(tmp_path, 2))
    monkeypatch.undo()
    assert checkpoint.load(old, "hash").progress == PROGRESS
    assert [p.name for p in tmp_path.iterdir()] == [old.name]

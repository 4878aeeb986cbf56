"""Two processes do what one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_parts
import torch
from conftest import Site
from filelock import FileLock
from tiny import STILL, newest, records, steps, tensors_of, tiny, toml_of, usual_lines
from tiny import write_dataset as write
from tiny_process import begin, ended

NOW = {"loss": {"consistency_start": "0%", "consistency_ramp": "0%"}}
UNCLIPPED = {"optimiser": {"clip": 0.0, "betas": [0.5, 0.9]}}
ONE_STEP = [STILL, NOW, UNCLIPPED, steps(1), {"train": {"batch_size": 4, "ema": 0.0}}]
BOTH = {"train": {"devices": 2, "accelerator": "cpu", "strategy": "ddp"}}
ONE = {"train": {"accelerator": "cpu"}}


def pair(toml: str, out: Path) -> list[int]:
    """Both processes of a run, as torchrun would start them; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "tiny"}
    line, logs = ["train", toml, "--out", str(out)], [out.with_suffix(f".{r}.log") for r in (0, 1)]
    processes = [
        begin(line, log, environment=shared | ranks(rank)) for rank, log in enumerate(logs)
    ]
    done = [ended(process, log) for process, log in zip(processes, logs, strict=True)]
    for each in done:
        print(each.text)
    return [each.code for each in done]


def ranks(rank: int) -> dict[str, str]:
    names = ("RANK", "LOCAL_RANK", "GROUP_RANK")
    sizes = ("WORLD_SIZE", "LOCAL_WORLD_SIZE")
    return dict.fromkeys(names, str(rank)) | dict.fromkeys(sizes, "2")


def gradients(run: Path) -> dict[str, torch.Tensor]:
    """What Adam saw in its first step: its first moment is (1 - beta) of it."""
    state = tensors_of(run, "optimiser")
    return {name: 2 * moment for name, moment in state.items() if name.endswith(".exp_avg")}


def alone_and_together(folder: Path, *layers: Mapping[str, Any]) -> tuple[Path, Path]:
    """The same run by one process and by two."""
    one, two = folder / "one", folder / "two"
    line = ["train", toml_of(tiny(*layers, ONE), folder / "one.toml"), "--out", str(one)]
    assert ended(begin(line, folder / "log"), folder / "log").code == 0
    assert pair(toml_of(tiny(*layers, BOTH), folder / "two.toml"), two) == [0, 0]
    return one, two


def ragged(folder: Path) -> dict[str, Any]:
    """A dataset of which hardly two rows know the same: shares of a batch differ."""
    lines = usual_lines()
    for number in (0, 2, 3):
        lines[number]["mask"] = ""
    lines[1]["label"] = lines[3]["label"] = ""
    write(folder, lines)
    return {"data": {"source": str(folder)}}


def assert_close(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("known", ["phantom", "ragged"])
def test_two_processes_find_the_gradients_of_one(known: str, tmp_path: Path) -> None:
    data = ragged(tmp_path / "data") if known == "ragged" else {}
    one, two = alone_and_together(tmp_path, *ONE_STEP, data)
    found = gradients(one)
    assert max(float(g.abs().max()) for g in found.values()) > 0.01
    assert_close(found, gradients(two))


def test_two_processes_log_and_measure_what_one_does(tmp_path: Path) -> None:
    one, two = alone_and_together(tmp_path, *ONE_STEP, ragged(tmp_path / "data"), steps(3))
    for alone, together in zip(records(one, "step"), records(two, "step"), strict=True):
        assert together["losses"] == pytest.approx(alone["losses"], abs=1e-3)
    epochs = records(one, "epoch")[-1]["measures"], records(two, "epoch")[-1]["measures"]
    assert epochs[1] == pytest.approx(epochs[0], abs=0.02)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["data", "one", "two"]


def test_parts_that_learn_later_or_keep_state_run_in_parallel(site: Site, tmp_path: Path) -> None:
    site.offer("tiny", *tiny_parts.COMPONENTS)
    method = {"fuser": "remembering", "explainer": "learning:start=2steps,input-x-gradient"}
    toml = toml_of(tiny({"method": method}, BOTH, steps(5)), tmp_path / "two.toml")
    assert pair(toml, tmp_path / "two") == [0, 0]


def test_an_explainer_that_fails_in_one_process_is_counted_by_all(
    site: Site, tmp_path: Path
) -> None:
    site.offer(
        "half",
        "'explainer', 'half', 'failing_by_half:Half', 'for a test'",
        failing_by_half=(
            "import os, torch\n"
            "from pseudolabel_kit.interfaces import Explainer\n"
            "class Half(Explainer):\n"
            "    def explain(self, model, images, prediction):\n"
            "        if torch.is_grad_enabled() and os.environ['RANK'] == '1':\n"
            "            raise ValueError('boom')\n"
            "        return torch.zeros_like(images[:, :1])\n"
        ),
    )
    warn = {"method": {"explainer": "half"}, "train": {"isolate_errors": "warn"}}
    two = tmp_path / "two"
    assert pair(toml_of(tiny(warn, BOTH, NOW, steps(3)), tmp_path / "two.toml"), two) == [0, 0]
    assert [record.get("failed") for record in records(two, "step")] == [["half"]] * 3
    texts = [record["text"] for record in records(two, "event")]
    assert "explainer 'half' failed in 3 of 3 steps; its evidence was left out" in texts
    assert sum("failed in another process" in text for text in texts) == 1


def test_the_command_starts_its_own_processes(tmp_path: Path) -> None:
    toml = toml_of(tiny(STILL, BOTH, steps(2)), tmp_path / "two.toml")
    line = [sys.executable, "-m", "pseudolabel_kit", "train", toml, "--out", str(tmp_path / "two")]
    done = subprocess.run(line, capture_output=True, text=True, env=dict(os.environ), timeout=200)
    assert done.returncode == 0, done.stderr
    assert newest(tmp_path / "two").name == "step-00000002.safetensors"
    assert [record["step"] for record in records(tmp_path / "two", "step")] == [1, 2]
    assert done.stdout.count("report:") == 1


def test_every_process_ends_with_one_line_where_the_folder_is_refused(tmp_path: Path) -> None:
    toml = toml_of(tiny(STILL, BOTH), tmp_path / "two.toml")
    out = tmp_path / "two"
    out.mkdir()
    (out / "foreign.txt").write_text("mine")
    assert pair(toml, out) == [2, 2]
    assert told(out) == {f"plk: {out}: holds other files and no run; choose another --out\n"}
    assert [path.name for path in out.iterdir()] == ["foreign.txt"]


def test_every_process_ends_where_the_first_one_cannot_go_on(tmp_path: Path) -> None:
    toml = toml_of(tiny(STILL, BOTH), tmp_path / "two.toml")
    out = tmp_path / "two"
    out.mkdir()
    with FileLock(out / ".lock"):
        assert pair(toml, out) == [2, 2]
    assert all(f"plk: {out}: another process is training into it\n" in each for each in told(out))


def told(out: Path) -> set[str]:
    return {out.with_suffix(f".{rank}.log").read_text() for rank in (0, 1)}

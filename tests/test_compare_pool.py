from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from tiny import records, same, tensors_of
from tiny_compare import write_spec

from pseudolabel_kit.compare import pool, worker
from pseudolabel_kit.compare.cells import Cell, cells
from pseudolabel_kit.compare.pool import spread
from pseudolabel_kit.compare.spec import read_spec
from pseudolabel_kit.compare.worker import FAILED, perform
from pseudolabel_kit.engine.signals import Stop


@dataclass
class Notes:
    """Keeps what it is told, and may act on the first step."""

    stop: Stop = field(default_factory=Stop)
    stop_by: signal.Signals | None = None
    error: Exception | None = None
    told: list[str] = field(default_factory=list)
    reasons: dict[str, str | None] = field(default_factory=dict)

    def planned(self, waiting: int, total: int) -> None:
        self.told.append(f"{waiting} of {total}")

    def began(self, cell: Cell) -> None:
        self.told.append(f"{cell} began")

    def stepped(self, cell: Cell, step: int, steps: int) -> None:
        self.told.append(f"{step}/{steps}")
        self.stop.number = self.stop_by
        if self.error:
            raise self.error

    def ended(self, cell: Cell, reason: str | None) -> None:
        self.told.append(f"{cell} ended")
        self.reasons[str(cell)] = reason


def two(tmp_path: Path, steps: int = 6) -> list[Cell]:
    """Two cells of the same row."""
    tmp_path.mkdir(exist_ok=True)
    row = {"train": {"steps": steps, "checkpoint_every": steps}}
    spec = read_spec(Path(write_spec(tmp_path / "spec.toml", {"plain": row}, seeds=[0, 1])))
    return cells(spec, tmp_path / "out")


def test_two_cells_run_side_by_side_in_processes_of_their_own(tmp_path: Path) -> None:
    found, notes = two(tmp_path), Notes()
    spread(found, watcher=notes, stop=notes.stop, jobs=2)
    assert notes.told[:2] == ["plain, seed 0 began", "plain, seed 1 began"]
    assert notes.reasons == {"plain, seed 0": None, "plain, seed 1": None}
    assert "6/6" in notes.told
    for cell in found:
        assert cell.finished
        assert (cell.folder / "pictures-test.npz").is_file()
        origin = json.loads((cell.folder / "provenance.json").read_text())
        assert origin["threads"] == 1
    assert not same(*(tensors_of(cell.folder, "learner") for cell in found))
    assert multiprocessing.active_children() == []


def test_asked_to_stop_every_run_saves_and_none_begins(tmp_path: Path) -> None:
    whole, broken = two(tmp_path / "whole", 60), two(tmp_path / "broken", 60)
    spread(whole[:1], watcher=Notes(), stop=Stop(), jobs=1)

    notes = Notes(stop_by=signal.SIGTERM)
    spread(broken, watcher=notes, stop=notes.stop, jobs=1)
    assert notes.reasons == {}
    assert [(cell.begun, cell.trained, cell.failure) for cell in broken] == [
        (True, False, None),
        (False, False, None),
    ]
    assert tensors_of(broken[0].folder)  # a checkpoint before the sixtieth step

    spread(broken[:1], watcher=Notes(), stop=Stop(), jobs=1)
    assert same(tensors_of(broken[0].folder), tensors_of(whole[0].folder))
    assert records(broken[0].folder) == records(whole[0].folder)


def test_no_process_outlives_an_error_of_the_parent(tmp_path: Path) -> None:
    notes = Notes(error=RuntimeError("the parent is at its end"))
    with pytest.raises(RuntimeError, match="the parent is at its end"):
        spread(two(tmp_path, 1000), watcher=notes, stop=notes.stop, jobs=2)
    assert multiprocessing.active_children() == []


def test_every_slot_sees_one_of_the_devices_that_this_process_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert pool.device(0) == {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    seen = [pool.device(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(4)]
    assert seen == ["0", "1", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    assert [pool.device(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["5", "3", "5"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-9, "its process was ended by SIGKILL (is the memory enough?)"),
        (-11, "its process was ended by SIGSEGV"),
        (143, "its process was ended by SIGTERM"),
        (3, "its process ended with exit code 3"),
    ],
)
def test_a_process_that_dies_without_a_word_is_a_failed_cell(
    code: int, reason: str, tmp_path: Path
) -> None:
    unborn, cell = two(tmp_path)
    assert pool.judged(unborn, code) == unborn.failure
    assert unborn.failure == f"{reason}; it could not begin {unborn.log}"
    cell.log.write_text("Segmentation fault")
    assert pool.judged(cell, code) == cell.failure == f"{reason}; see {cell.log}"


def test_a_script_without_a_guard_is_told_of_it(tmp_path: Path) -> None:
    """A cell's process imports the script anew, and ends before it is asked for anything."""
    cell = two(tmp_path)[0]
    cell.log.parent.mkdir(parents=True)
    cell.fail("of the last time")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pseudolabel_kit.cli.main import call\n"
        f"sys.exit(call(['compare', {str(tmp_path / 'spec.toml')!r}, '--seeds', '1', '--out', "
        f"{str(tmp_path / 'out')!r}]))\n"
    )
    (tmp_path / "out" / "compare.toml").touch()
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    told = "could not begin, and said why on standard error: a script that compares does so under "
    assert done.returncode == 1
    assert f"exit code 1; it {told}`if __name__ == '__main__':`" in done.stderr
    assert "another process is comparing in it" in done.stderr
    assert "of the last time" not in done.stderr + done.stdout


def test_a_part_that_ends_the_process_is_a_failure_with_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise SystemExit("enough")

    cell = two(tmp_path)[0]
    monkeypatch.setattr(worker, "train", gone)
    monkeypatch.setattr(worker, "_write_into", lambda log: None)
    assert perform(cell, lambda *_: None, 1) == FAILED
    assert pool.judged(cell, FAILED) == "SystemExit: enough"


def test_a_cell_whose_folder_cannot_be_made_fails_alone(tmp_path: Path) -> None:
    found, notes = two(tmp_path), Notes()
    bad = replace(found[0], row="bad", folder=tmp_path / "out" / "bad" / "seed0")
    (tmp_path / "out").mkdir()
    bad.folder.parent.touch()
    spread([bad, found[1]], watcher=notes, stop=notes.stop, jobs=2)
    assert notes.reasons["plain, seed 1"] is None
    assert found[1].finished
    reason = notes.reasons["bad, seed 0"]
    assert reason is not None
    assert f"{bad.folder.parent}" in reason
    assert "cannot be written: " in reason


def test_a_log_that_cannot_be_written_is_the_reason(tmp_path: Path) -> None:
    cell = two(tmp_path)[0]
    cell.log.mkdir(parents=True)
    assert perform(cell, lambda *_: None, 1) == FAILED
    assert pool.judged(cell, FAILED) == f"{cell.log}: cannot be written: Is a directory"


def test_what_is_known_of_an_end_is_kept_unless_the_cell_said_more(tmp_path: Path) -> None:
    cell = two(tmp_path)[0]
    assert pool.judged(cell, FAILED, "Ray lost it: a node died") == "Ray lost it: a node died"
    assert cell.failure == "Ray lost it: a node died"


def test_a_cell_keeps_its_own_word_for_a_failure(tmp_path: Path) -> None:
    cell = two(tmp_path)[0]
    cell.fail("the disk is full")
    assert pool.judged(cell, FAILED, "Ray lost it") == "the disk is full"

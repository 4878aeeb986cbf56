from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pseudolabel_kit.config import Config
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.errors import ConfigError, RunError
from pseudolabel_kit.layers import resolve


def created(path: Path, config: Config | None = None, *, overwrite: bool = False) -> RunFolder:
    folder = RunFolder(path)
    folder.create(config or Config(), overwrite=overwrite)
    return folder


def test_a_new_folder_holds_the_configuration(tmp_path: Path) -> None:
    config = resolve({"train": {"seed": 3}})
    folder = created(tmp_path / "deep" / "run", config)
    assert folder.config() == config
    assert RunFolder(folder.path).config() == config


def test_a_folder_with_a_run_is_refused_with_the_three_ways_out(tmp_path: Path) -> None:
    created(tmp_path).unlock()
    with pytest.raises(RunError, match=r"already holds a run; .*--resume .*--overwrite.*--out"):
        created(tmp_path)


def test_overwriting_replaces_what_the_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = created(tmp_path)
    folder.append([{"kind": "step"}])
    folder.write_json("evaluation-val.json", {})
    folder.checkpoints.mkdir()
    (folder.checkpoints / "step-00000001.safetensors").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("mine")
    folder.unlock()
    config = resolve({"train": {"seed": 9}})
    assert created(tmp_path, config, overwrite=True).config() == config
    assert {p.name for p in tmp_path.iterdir()} == {"run.toml", "notes.txt", ".lock"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_are_never_touched(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="holds other files and no run; choose another --out"):
        created(tmp_path, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    created(tmp_path)
    assert (tmp_path / "run.toml").exists()


def test_what_a_killed_process_left_does_not_count(tmp_path: Path) -> None:
    (tmp_path / ".run.toml.123.part").write_text("half")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".step-00000002.safetensors.123.part").write_text("half")
    (tmp_path / "run.toml").write_text(Config().to_toml())
    RunFolder(tmp_path).reopen()
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_that_was_killed_before_it_began_can_begin_again(tmp_path: Path) -> None:
    (tmp_path / ".run.toml.123.part").write_text("half")
    (tmp_path / ".lock").write_text("")
    created(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(RunError, match="is a file; expected a folder for --out"):
        created(path)


@pytest.mark.parametrize("parent", ["/proc", "a file"])
def test_where_nothing_can_be_written_it_is_said(parent: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = Path(parent if parent != "a file" else tmp_path / "file") / "run"
    with pytest.raises(RunError, match=f"{path}: cannot be written: ") as refused:
        created(path)
    assert "\n" not in str(refused.value)


@pytest.fixture
def shut(tmp_path: Path) -> Iterator[Path]:
    """A run that this process may not look into, for which root becomes somebody else."""
    run = tmp_path / "run"
    created(run).unlock()
    run.chmod(0o000)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield run
    if root:
        os.seteuid(0)
    run.chmod(0o700)


@pytest.mark.parametrize(
    "use",
    [
        lambda folder: folder.refuse(overwrite=False),
        lambda folder: folder.create(Config(), overwrite=True),
        lambda folder: folder.reopen(),
        lambda folder: folder.config(),
    ],
)
def test_a_folder_that_may_not_be_looked_into_is_named(
    use: Callable[[RunFolder], object], shut: Path
) -> None:
    with pytest.raises(RunError, match=f"^{shut}: Permission denied$"):
        use(RunFolder(shut))


def test_two_runs_at_once_are_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = created(tmp_path)
    with pytest.raises(RunError, match="another process is training into it"):
        RunFolder(tmp_path).reopen()
    with pytest.raises(RunError, match="another process is training into it"):
        created(tmp_path, overwrite=True)
    assert first.config() == Config()
    first.unlock()
    RunFolder(tmp_path).reopen()


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run: there is no run\.toml in it"):
        RunFolder(tmp_path).reopen()
    with pytest.raises(RunError, match="not a run"):
        RunFolder(tmp_path / "nowhere").reopen()
    assert not list(tmp_path.iterdir())


def test_a_spoilt_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[train]\nstepps = 3\n")
    with pytest.raises(ConfigError, match=r"run\.toml: there is no key 'train\.stepps'"):
        RunFolder(tmp_path).config()


def test_the_log_grows_and_is_rewound(tmp_path: Path) -> None:
    folder = created(tmp_path)
    length = folder.append([{"step": 1}, {"step": 2, "loss": 0.1}])
    assert length == folder.log_file.stat().st_size
    folder.append([{"step": 3}])
    with folder.log_file.open("a") as file:
        file.write('{"step": 4, "lo')  # a process was killed here
    folder.rewind(length)
    lines = folder.log_file.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    folder.rewind(10**6)
    assert folder.log_file.stat().st_size == length


def test_a_full_disk_is_one_line_that_names_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = created(tmp_path)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be written: No space left"):
        folder.append([{"step": 1}])


def test_json_holds_no_nan(tmp_path: Path) -> None:
    folder = created(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("evaluation-val.json", {"dice": float("nan")})
    assert not (tmp_path / "evaluation-val.json").exists()


def test_the_hash_changes_with_any_value(tmp_path: Path) -> None:
    layers: list[dict[str, Any]] = [{}, {"train": {"seed": 1}}, {"data": {"val": 0.3}}]
    made = [created(tmp_path / str(i), resolve(layer)) for i, layer in enumerate(layers)]
    assert len({folder.config_hash() for folder in made}) == 3

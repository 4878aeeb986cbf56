"""`plk train` and `plk evaluate` from the command line to the run folder."""

from __future__ import annotations

import errno
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import Site
from tiny import newest, records, refused, same, steps, tensors_of, tiny, toml_of
from tiny_process import plk

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.engine import run as run_module


def shown(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command line that succeeds prints as its result."""
    capsys.readouterr()
    assert call(line) == 0
    return capsys.readouterr().out


def dry(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return tomllib.loads(shown(["train", "--dry-run", *line.split()], capsys))


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "write_report", lambda path: path)


# ── the configuration ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("flag", "table", "key", "value"),
    [
        ("--data some/folder", "data", "source", "some/folder"),
        ("--backbone vgg-multiscale:width=0.5", "method", "backbone", "vgg-multiscale:width=0.5"),
        ("--explainer none", "method", "explainer", "none"),
        ("--fuser fixmatch:threshold=0.9", "method", "fuser", "fixmatch:threshold=0.9"),
        ("--epochs 7", "train", "epochs", 7),
        ("--steps 7", "train", "steps", 7),
        ("--batch-size 7", "train", "batch_size", 7),
        ("--seed 7", "train", "seed", 7),
        ("--devices 2", "train", "devices", 2),
        ("--strategy ddp", "train", "strategy", "ddp"),
        ("--precision bf16-mixed", "train", "precision", "bf16-mixed"),
        ("--strict", "audit", "strict", True),
        ("--set loss.consistency=2.5", "loss", "consistency", 2.5),
    ],
)
def test_a_flag_sets_its_key_and_nothing_else(
    flag: str, table: str, key: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, found = dry("", capsys), dry(flag, capsys)
    assert found[table].pop(key) == value
    plain[table].pop(key, None)
    assert found == plain


def test_flags_lie_over_the_file_and_set_over_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text('recipe = "calibrated-paper"\n[train]\nseed = 1\nbatch_size = 2\nepochs = 3\n')
    found = dry(f"{toml} --seed 4 --batch-size 5 --set train.batch_size=6", capsys)
    assert [found["train"][key] for key in ("epochs", "seed", "batch_size")] == [3, 4, 6]
    assert found["recipe"] == "calibrated-paper"
    assert found["optimiser"]["lr"] == 1e-4  # the recipe's
    assert dry(f"{toml} --recipe calibrated", capsys)["optimiser"]["lr"] != 1e-4


@pytest.mark.parametrize("line", ["--epochs 5", "--set train.epochs=5"])
def test_epochs_count_though_the_file_names_steps(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = toml_of(tiny(steps(9)), tmp_path / "mine.toml")
    found = dry(f"{toml} {line}", capsys)["train"]
    assert (found["epochs"], found.get("steps")) == (5, None)
    assert dry(f"{toml} {line} --steps 7 --set train.steps=7", capsys)["train"]["steps"] == 7


def test_what_a_dry_run_prints_is_a_configuration_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["train", "--dry-run", "--recipe", "calibrated-paper", "--data", "a [bold]b[/bold]"]
    text = shown([*line, "--set", f"data.cache={'x' * 200}"], capsys)
    Path("again.toml").write_text(text)
    assert shown(["train", "again.toml", "--dry-run"], capsys) == text
    assert [path.name for path in tmp_path.iterdir()] == ["again.toml"]


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ("--seed 0", "--seed"),
        ("--batch-size 0", "--batch-size"),
        ("--set train.seed=0", "--set"),
        ("--strict", "--strict"),
        ("mine.toml", "RUN.TOML"),
    ],
)
def test_a_resumed_run_refuses_every_other_word(
    others: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(["train", "--resume", str(tmp_path), *others.split()], capsys)
    assert told.endswith(f"it cannot be combined with {named}")


# ── a run ───────────────────────────────────────────────────────────────────────────


def test_a_run_from_the_command_to_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml, out = toml_of(tiny(steps(3)), tmp_path / "tiny.toml"), tmp_path / "run"
    capsys.readouterr()
    assert call(["train", toml, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "Dice" in told.out
    assert told.out.endswith(
        f"report: {out}/report.html\nnext:   plk evaluate {out} --split test\n"
    )
    assert told.err.count("epoch ") == 1
    assert {path.name for path in out.iterdir()} == {
        ".lock",
        "run.toml",
        "provenance.json",
        "metrics.jsonl",
        "checkpoints",
        "evaluation-val.json",
        "evaluation-val.npz",
        "cost.json",
        "report.html",
    }
    table = shown(["evaluate", str(out), "--split", "test", "--checkpoint", "last"], capsys)
    assert "test" in table
    assert table.endswith(f"report: {out}/report.html\n")
    assert (out / "evaluation-test.json").exists()


@pytest.mark.usefixtures("no_report")
def test_a_run_is_repeated_with_another_seed_or_the_same(tmp_path: Path) -> None:
    toml = toml_of(tiny(steps(2)), tmp_path / "tiny.toml")
    assert call(["train", toml, "--out", str(tmp_path / "a")]) == 0
    run = str(tmp_path / "a" / "run.toml")
    assert call(["train", run, "--out", str(tmp_path / "b")]) == 0
    assert call(["train", run, "--seed", "1", "--out", str(tmp_path / "c")]) == 0
    first, again, other = (tensors_of(tmp_path / name) for name in "abc")
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.usefixtures("no_report")
def test_overwriting_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert call(["train", toml_of(tiny(steps(5)), tmp_path / "a.toml"), "--out", str(out)]) == 0
    line = ["train", toml_of(tiny(steps(2)), tmp_path / "b.toml"), "--out", str(out)]
    assert call([*line, "--overwrite"]) == 0
    assert newest(out).name == "step-00000002.safetensors"
    assert [record["step"] for record in records(out, "step")] == [1, 2]


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("swap", ["fixmatch", "none", "sharpen:norm=pixel"])
def test_a_method_is_swapped_by_name(swap: str, tmp_path: Path) -> None:
    toml = toml_of(tiny(steps(3)), tmp_path / "tiny.toml")
    line = ["train", toml, "--out", str(tmp_path / "run"), "--fuser", swap, "--explainer", "none"]
    assert call(line) == 0
    terms = records(tmp_path / "run", "step")[-1]["losses"]
    assert ("consistency.mask" in terms) == (swap != "none")


# ── what goes wrong on the way ──────────────────────────────────────────────────────

NOT_FINITE = """
from dataclasses import dataclass
from pseudolabel_kit.interfaces import Explainer, LossTerm

@dataclass(frozen=True, kw_only=True)
class NotFinite(Explainer):
    def explain(self, model, images, prediction):
        return images[:, :1]

    def loss(self, prediction, batch):
        value = prediction.class_logits.sum(dim=1) * float("nan")
        return LossTerm(total=value, count=batch.has_label.float())
"""


def test_a_term_that_is_not_finite_is_told_by_its_part_before_the_run(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.offer("bad", "'explainer', 'bad', 'bad_part:NotFinite', 'for a test'", bad_part=NOT_FINITE)
    toml = toml_of(tiny({"method": {"explainer": "bad"}}), tmp_path / "tiny.toml")
    assert refused(["train", toml, "--out", str(tmp_path / "run")], capsys) == (
        "explainer 'bad' of plugin 'bad': loss gave 'bad' with a total with 4 NaN of 4 values: "
        "expected finite values"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_report")
def test_a_disk_that_fills_up_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = toml_of(tiny(), tmp_path / "tiny.toml")
    assert call(["train", toml, "--out", str(tmp_path / "whole")]) == 0
    run = tmp_path / "run"

    def filling(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            if "step-00000004" in path.name:
                file.write(content[:1000])
                raise OSError(errno.ENOSPC, "No space left on device")
            file.write(content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", filling)
        assert call(["train", toml, "--out", str(run)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    path = run / "checkpoints" / "step-00000004.safetensors"
    assert last == f"plk: {path}: cannot be written: No space left on device"
    assert newest(run).name == "step-00000002.safetensors"
    assert not list(run.rglob("*.part"))

    assert call(["train", "--resume", str(run)]) == 0  # once there is space again
    assert same(tensors_of(tmp_path / "whole"), tensors_of(run))
    assert records(tmp_path / "whole") == records(run)


def test_a_broken_observer_is_one_line_and_the_run_goes_on(site: Site, tmp_path: Path) -> None:
    watcher = (
        "from pseudolabel_kit.plugin import hookimpl\n"
        "@hookimpl\ndef plk_step_ended(step):\n    raise ZeroDivisionError('mine')\n"
    )
    site.install("watcher", {"light_watcher": watcher})
    toml = toml_of(tiny(steps(3)), tmp_path / "tiny.toml")
    done = plk(["train", toml, "--out", str(tmp_path / "run")], tmp_path / "log")
    assert done.code == 0
    told = "plk: warning: hook plk_step_ended of plugin 'watcher' is switched off, it raised "
    assert done.text.count(told + "ZeroDivisionError: mine\n") == 1

"""A comparison on a Ray cluster of this machine, in a process whose threads end with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import Site
from tiny import refused, same, tensors_of
from tiny_compare import STRUCK, offer_struck, write_spec

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.compare import on_ray


def test_cells_run_as_tasks_and_one_that_fails_is_told(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is an optional extra")
    offer_struck(site)
    (tmp_path / "mark").write_text("self error")
    spec = write_spec(tmp_path / "spec.toml", {"Sound": {}, "Broken": STRUCK})
    environment = {"RAY_ADDRESS": "local", "PLK_TEST_MARK": str(tmp_path / "mark")}
    line = [sys.executable, "-m", "pseudolabel_kit", "compare", spec, "--on", "ray", "--jobs", "2"]
    done = subprocess.run(
        [*line, "--out", "out"],  # relative: the tasks start elsewhere
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    reason = "perturbation 'struck' of plugin 'striking': perturb raised ZeroDivisionError: struck"
    assert done.returncode == 1, done.stderr
    assert f"Broken, seed 0: failed: {reason}" in done.stderr
    assert "Sound, seed 0: finished" in done.stderr
    out = tmp_path / "out"
    told = json.loads((out / "broken" / "seed0.failed.json").read_text())["reason"]
    assert told.startswith(reason)
    assert "Traceback" in (out / "broken" / "train-seed0.log").read_text()

    here = tmp_path / "here"
    alone = write_spec(tmp_path / "spec.toml", {"Sound": {}})
    assert call(["compare", alone, "--out", str(here)]) == 0
    cell = Path("sound") / "seed0"
    assert same(tensors_of(here / cell), tensors_of(out / cell))
    for name in ("evaluation-test.json", "pictures-test.npz"):
        assert (here / cell / name).read_bytes() == (out / cell / name).read_bytes()


def test_without_the_extra_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    spec = write_spec(tmp_path / "spec.toml", {"A": {}})
    complaint = refused(["compare", spec, "--out", str(tmp_path / "out"), "--on", "ray"], capsys)
    assert complaint == (
        "--on ray: Ray is not installed: expected pip install 'pseudolabel-kit[ray]'"
    )


def test_without_a_cluster_one_line_says_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = ModuleType("ray")
    ray.init = _no_cluster  # type: ignore[attr-defined]
    for name in ("ray", "ray.util", "ray.util.queue"):
        monkeypatch.setitem(sys.modules, name, ray)
    spec = write_spec(tmp_path / "spec.toml", {"A": {}})
    complaint = refused(["compare", spec, "--out", str(tmp_path / "out"), "--on", "ray"], capsys)
    assert complaint.startswith("--on ray: there is no cluster: expected RAY_ADDRESS, or one that")


def _no_cluster(**options: object) -> None:
    raise ConnectionError("nobody answers")


@pytest.mark.parametrize(
    ("nodes", "jobs", "most", "cpus", "gpus"),
    [
        ([{"CPU": 4}], None, 1, 4, 0),
        ([{"CPU": 4}, {"CPU": 2}], None, 2, 2, 0),  # a share that every machine can give
        ([{"CPU": 4}], 8, 8, 1, 0),
        ([{"CPU": 16, "GPU": 2}, {}], None, 2, 8, 1),  # a head without cores runs nothing
        ([{"CPU": 16, "GPU": 1}], 4, 4, 4, 0.25),
    ],
)
def test_cells_share_the_machines_evenly(
    nodes: list[dict[str, float]], jobs: int | None, most: int, cpus: int, gpus: float
) -> None:
    found = [{"Alive": True, "Resources": each} for each in nodes]
    found.append({"Alive": False, "Resources": {"CPU": 64, "GPU": 8}})
    assert on_ray.shares(found, jobs) == (most, {"num_cpus": cpus, "num_gpus": gpus})

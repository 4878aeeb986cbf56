from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import records, steps, tiny
from tracking_support import StopAt, killed, tracked

from plk_tracking.mlflow import MLflow, MlflowClient
from pseudolabel_kit import train
from pseudolabel_kit.plugin.options import to_text


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def client(store: Path = Path("mlruns")) -> MlflowClient:
    return MlflowClient(store.absolute().as_uri())


def found(store: Path = Path("mlruns"), experiment: str = "pseudolabel-kit") -> list[Any]:
    """The MLflow runs of an experiment, newest first."""
    entered = client(store).get_experiment_by_name(experiment)
    assert entered is not None
    return list(client(store).search_runs([entered.experiment_id]))


def curve(run_id: str, name: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client().get_metric_history(run_id, name)]


def test_the_log_and_the_metrics_are_one(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "first"
    tracked(run, "mlflow")
    (kept,) = found()
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", "runs/first")
    logged = [(r["step"], r["losses"]["segmentation"]) for r in records(run, "step")]
    assert curve(kept.info.run_id, "loss/segmentation") == logged
    told = [(r["step"], r["mean_label"]) for r in records(run, "step") if r["mean_label"]]
    assert curve(kept.info.run_id, "pseudo/mean_label") == told
    measured = [(r["step"], r["measures"]["auc"]) for r in records(run, "epoch")]
    assert curve(kept.info.run_id, "val/auc") == measured
    assert [step for step, _ in curve(kept.info.run_id, "loss/caam_start_0_")] == list(range(1, 7))
    said = [r["text"] for r in records(run, "event")]
    assert said
    assert all(text in kept.data.tags["mlflow.note.content"] for text in said)


def test_the_configuration_is_its_parameters(tmp_path: Path) -> None:
    tracked(tmp_path / "run", "mlflow", steps(1))
    (kept,) = found()
    config = tiny(steps(1)).model_dump(mode="json")
    expected = {
        f"{table}.{key}": to_text(value)
        for table, section in config.items()
        if isinstance(section, dict)
        for key, value in section.items()
    }
    expected |= {"recipe": config["recipe"], "train.tracker": "mlflow"}
    expected["data.cache"] = f"…/{Path(config['data']['cache']).name}"
    assert kept.data.params == expected


def test_it_knows_nobody(tmp_path: Path) -> None:
    tracked(tmp_path / "run", "mlflow", steps(1))
    (kept,) = found()
    assert kept.info.user_id == "unknown"
    assert kept.data.tags.keys() <= {"mlflow.runName", "mlflow.note.content"}


def test_runs_meet_in_one_experiment(tmp_path: Path) -> None:
    tracked(tmp_path / "a" / "seed0", "mlflow", steps(1))
    tracked(tmp_path / "b" / "seed0", "mlflow", steps(1))
    assert {run.info.run_name for run in found()} == {"a/seed0", "b/seed0"}


def test_runs_that_begin_together_make_one_experiment() -> None:
    code = (
        "from plk_tracking.mlflow import MLflow, _entered\n"
        "print(_entered(MLflow().store, 'together')[1])"
    )
    line = [sys.executable, "-c", code]
    begun = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    one, other = (each.communicate(timeout=60)[0] for each in begun)
    assert one == other != ""


def test_the_store_and_the_experiment_can_be_named(tmp_path: Path) -> None:
    tracked(tmp_path / "run", f"mlflow:folder={tmp_path}/store:experiment=lungs", steps(1))
    assert len(found(tmp_path / "store", "lungs")) == 1
    assert not Path("mlruns").exists()


def test_a_server_is_named_by_mlflows_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.invalid:5000")
    assert MLflow().store == "http://example.invalid:5000"
    assert MLflow(folder="store").store == (Path.cwd() / "store").as_uri()


def test_a_run_that_goes_on_goes_on_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    killed(run, "mlflow", monkeypatch)
    (kept,) = found()
    assert kept.info.status == "FAILED"
    note = kept.data.tags["mlflow.note.content"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(out=run, resume=True)
    monkeypatch.chdir(tmp_path)
    (again,) = found()
    assert (again.info.run_id, again.info.status) == (kept.info.run_id, "FINISHED")
    points = curve(kept.info.run_id, "loss/segmentation")
    assert [step for step, _ in points] == [1, 2, 3, 4, 5, 5, 6]
    assert points[4] == points[5]
    assert again.data.tags["mlflow.note.content"].startswith(note)


def test_a_run_whose_store_is_gone_begins_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        tracked(run, "mlflow", observers=(StopAt(5),))
    assert found()[0].info.status == "KILLED"
    Path("mlruns").rename("gone")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(out=run, resume=True)
    (other,) = found()
    assert [step for step, _ in curve(other.info.run_id, "loss/segmentation")] == [5, 6]
    assert other.data.params["train.steps"] == "6"


def test_long_values_are_cut(tmp_path: Path) -> None:
    many = ",".join(f"input-x-gradient:baseline={each}" for each in ("zero", "mean", "blur"))
    maps = ",".join([many, *(f"caam:alpha={number / 100}" for number in range(1, 40))])
    assert len(maps) > 500
    tracked(tmp_path / "run", "mlflow", steps(1), {"evaluate": {"strips": maps}})
    (kept,) = found()
    assert kept.data.params["evaluate.strips"] == maps[:500]

"""MLflow: one MLflow run for each run, in a folder of this machine or on a server."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from filelock import FileLock

from plk_tracking import told
from plk_tracking.memory import Memory
from plk_tracking.observer import Book, Observer
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin import Level, Outcome, Run, Tracker
from pseudolabel_kit.plugin.options import to_text

# Asked for by MLflow itself: it reports its own use over the network unless told not to, and
# refuses its file store, which it keeps but no longer extends, unless told that it is meant.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException
except ImportError as error:
    raise PluginError("install it: pip install 'pseudolabel-kit[mlflow]'") from error

STATUS: Mapping[Outcome, str] = {
    "finished": "FINISHED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
SERVER = "MLFLOW_TRACKING_URI"
NOTE = "mlflow.note.content"  # what MLflow shows as the run's description
_PARAMETERS, _METRICS, _HELD = 100, 1000, 500  # MLflow's limits of a batch; ours of figures held
_LONGEST = 500  # of a parameter's value; MLflow itself takes 6000
_STRANGE = re.compile(r"[^\w.\- ]")


@dataclass(frozen=True, kw_only=True)
class MLflow(Tracker):
    """An MLflow run with the configuration as parameters and every figure as a metric.

    All runs of a working folder meet in one store and one experiment, those of a comparison too.
    A run that goes on goes on in its own MLflow run; steps that it takes once more stand there
    twice. MLflow's own reports of its use stay off unless MLFLOW_DISABLE_TELEMETRY=false. A file
    store is shown by `MLFLOW_ALLOW_FILE_STORE=true mlflow server --backend-store-uri mlruns`,
    for which the whole of mlflow must be installed.

    Attributes:
        folder: of the file store; empty = the server that MLFLOW_TRACKING_URI names, or else
            mlruns in the working folder.
        experiment: the MLflow experiment, made where there is none of that name.
    """

    folder: str = ""
    experiment: str = "pseudolabel-kit"

    def observe(self, run: Run) -> Observer:
        """An observer that writes metrics in batches."""
        return Observer(self._open)

    @property
    def store(self) -> str:
        """The tracking URI."""
        if not self.folder and (server := os.environ.get(SERVER)):
            return server
        return Path(self.folder or "mlruns").absolute().as_uri()

    def _open(self, run: Run, first: int) -> Book:
        memory = Memory.of(run)
        known = memory.recall("mlflow") if first > 1 else {}
        if known and (book := _reopened(**known)):
            return book
        client, experiment = _entered(self.store, self.experiment)
        begun = client.create_run(experiment, run_name=told.name(run)).info.run_id
        memory.keep("mlflow", store=self.store, run_id=begun)
        book = _MLflowRun(client, begun)
        book.describe(told.settings(run))
        return book


class _MLflowRun(Book):
    def __init__(self, client: MlflowClient, run_id: str, note: str = "") -> None:
        self._client = client
        self._run_id = run_id
        self._note = note
        self._held: list[Metric] = []

    def describe(self, settings: Mapping[str, told.Setting]) -> None:
        """The configuration as parameters."""
        parameters = [Param(key, to_text(value)[:_LONGEST]) for key, value in settings.items()]
        for start in range(0, len(parameters), _PARAMETERS):
            self._client.log_batch(self._run_id, params=parameters[start : start + _PARAMETERS])

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._held += [Metric(_key(name), value, now, step) for name, value in figures.items()]
        if len(self._held) >= _HELD or "epoch" in figures:
            self._send()

    def event(self, step: int, level: Level, text: str) -> None:
        self._note += f"- step {step}, {level}: {text}\n"
        self._client.set_tag(self._run_id, NOTE, self._note[-5000:])

    def close(self, outcome: Outcome) -> None:
        try:
            self._send()
        finally:
            self._client.set_terminated(self._run_id, STATUS[outcome])

    def _send(self) -> None:
        held, self._held = self._held, []
        for start in range(0, len(held), _METRICS):
            self._client.log_batch(self._run_id, metrics=held[start : start + _METRICS])


def _entered(store: str, experiment: str) -> tuple[MlflowClient, str]:
    """A client of the store, and the experiment's id; it is made where there is none."""
    with _alone(store):
        client = MlflowClient(store)
        found = client.get_experiment_by_name(experiment)
        return client, found.experiment_id if found else client.create_experiment(experiment)


@contextmanager
def _alone(store: str) -> Iterator[None]:
    """Runs that begin together enter a folder in turn: it would hold their experiment twice."""
    folder = _folder(store)
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield


def _reopened(store: str, run_id: str) -> _MLflowRun | None:
    """The MLflow run of a run that goes on, or None where it is no longer there."""
    folder = _folder(store)
    if folder is not None and not folder.is_dir():
        return None  # asked for it, MLflow would make the folder
    client = MlflowClient(store)
    try:
        found = client.get_run(run_id)
        client.update_run(run_id, status="RUNNING")
    except MlflowException:
        return None
    return _MLflowRun(client, run_id, note=found.data.tags.get(NOTE, ""))


def _folder(store: str) -> Path | None:
    """The folder of a file store; None for a server."""
    parts = urlparse(store)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _key(name: str) -> str:
    """A metric's name as MLflow takes it: it is a path, whose first piece is the group."""
    group, _, rest = name.partition("/")
    return f"{group}/{_STRANGE.sub('_', rest)}" if rest else group

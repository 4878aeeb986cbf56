"""Under `train.isolate_errors = "warn"` explainers that fail are left out, counted, traceless."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Site
from failing_parts import HARM, METHOD, WARN, Planting, boom, install, stopped
from tiny import assembled, records, same, tensors_of, tiny

from pseudolabel_kit.engine.failure import StoppedError
from pseudolabel_kit.engine.guard import Failed
from pseudolabel_kit.engine.label import pseudo_label
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.errors import ConfigError, PluginError, RunError


@pytest.fixture(autouse=True)
def parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch)


def spared(folder: Path, *layers: Any, after: list[int], harm: Callable[[Any], Any] = boom) -> None:
    planting = Planting(harm, explain=after)
    train(tiny(METHOD, WARN, *layers), out=folder, observers=(planting,))


def events(run: Path, word: str) -> list[tuple[int, str]]:
    return [(r["step"], r["text"]) for r in records(run, "event") if word in r["text"]]


def test_the_evidence_of_an_explainer_that_fails_is_left_out_and_counted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    spared(run, after=[4, 5])
    failed = {r["step"]: r.get("failed") for r in records(run, "step")}
    assert failed == {n: ["failing"] if n > 4 else None for n in range(1, 7)}
    (warned,) = events(run, "boom")
    assert warned[0] == 5
    assert warned[1].startswith("explainer 'failing' of plugin 'worse': explain raised ValueError")
    assert warned[1].endswith("; its evidence is left out, now and each time that it fails")
    assert events(run, " steps; ") == [
        (6, "explainer 'failing' failed in 2 of 4 steps; its evidence was left out")
    ]


def test_refused_evidence_is_left_out_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    spared(run, after=[2], harm=lambda map_: 2 * map_ + 1)
    (warned,) = events(run, "left out, now")
    assert "explain gave evidence with values from 1" in warned[1]


def test_what_is_left_out_leaves_no_trace(tmp_path: Path) -> None:
    """Steps in which it always fails are those of a run in which it never drew."""
    with_it, without = tmp_path / "with", tmp_path / "without"
    spared(with_it, after=[0, 1, 2, 3, 4, 5, 6])
    alone = {"method": {**METHOD["method"], "explainer": "none"}}
    train(tiny(METHOD, alone), out=without)
    one, other = (tensors_of(run, "learner.model") for run in (with_it, without))
    assert same(one, other)
    assert int(tensors_of(with_it, "learner.states")["explainer 0.drawn"]) == 0
    assert int(tensors_of(with_it, "learner.states")["fuser.seen"]) > 0


def test_an_explainer_that_never_fails_is_untouched_by_being_watched(tmp_path: Path) -> None:
    watched, plain = tmp_path / "watched", tmp_path / "plain"
    spared(watched, after=[])
    train(tiny(METHOD), out=plain)
    assert same(tensors_of(watched), tensors_of(plain))
    assert records(watched, "step") == records(plain, "step")


def test_the_count_survives_a_resume(tmp_path: Path) -> None:
    run = tmp_path / "run"
    told = stopped(run, Planting(explain=[2, 3], fuse=[4]), WARN)
    assert "goes on from step 4" in told
    planting = Planting(explain=[5])
    train(out=run, resume=True, observers=(planting,))
    assert events(run, " steps; ") == [
        (6, "explainer 'failing' failed in 3 of 4 steps; its evidence was left out")
    ]
    assert len(events(run, "left out, now")) == 1


def test_everything_else_still_stops(tmp_path: Path) -> None:
    for method in ("fuse", "explainer_loss"):
        told = stopped(tmp_path / method, Planting(**{method: [4]}), WARN)
        assert "raised ValueError" in told


def test_an_audit_leaves_it_out_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    planting = Planting(explain=[5, 6], diagnose=[5, 6])
    train(tiny(METHOD, WARN), out=run, observers=(planting,))
    audits = [r["record"] for r in records(run, "audit")]
    assert "failing.trust" in audits[0]
    assert "failing.trust" not in audits[-1]
    assert "auroc/failing" not in audits[-1]


def test_a_rehearsal_warns_of_a_failure_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    HARM["explain"] = boom
    with pytest.warns(UserWarning, match=r"explain raised ValueError.*its evidence is left out"):
        assembled(tmp_path / "run", METHOD, WARN)

    def misfit(answer: object) -> None:
        raise PluginError("failing: this backbone has nothing to see")

    HARM["explain"] = misfit
    with warnings.catch_warnings(), pytest.raises(PluginError, match=r"has nothing to see$"):
        assembled(tmp_path / "other", METHOD, WARN)


def test_a_module_that_it_swapped_is_put_back(tmp_path: Path) -> None:
    def swap(answer: Any) -> None:
        loop.learner.model.net = torch.nn.Identity()
        raise ValueError("boom")

    loop = assembled(tmp_path / "run", METHOD, WARN)
    loop.progress.consistency_began = 0
    net = loop.learner.model.get_submodule("net")
    HARM["explain"] = swap
    loop.train()
    assert loop.learner.model.get_submodule("net") is net


@pytest.mark.parametrize("teacher", ["self", "ema"])
@pytest.mark.parametrize("layer", [{}, WARN])
def test_weights_that_it_changed_before_are_never_trained_nor_saved(
    layer: Any, teacher: str, tmp_path: Path
) -> None:
    run, layers = tmp_path / "run", ({"method": {"teacher": teacher}}, layer)
    loop = assembled(run, METHOD, *layers)
    loop.progress.consistency_began = 0

    def wipe(answer: Any) -> None:
        with torch.no_grad():
            for weight in loop.learner.teacher().parameters():
                weight.zero_()
        raise ValueError("boom")

    HARM["explain"] = wipe
    kept = "in step 1, which had changed weights or a large memory, so that it cannot be kept; "
    spared = "; it cannot be left out, as weights or a large memory had changed before it failed, "
    with pytest.raises(StoppedError) as error:
        loop.train()
    told = str(error.value)
    assert told.startswith("explainer 'failing' of plugin 'worse': explain raised ValueError: boom")
    assert kept in told
    assert (spared in told) is bool(layer)
    assert told.endswith("begins anew")


@pytest.mark.parametrize("kind", [ConfigError, RunError, SystemExit, MemoryError])
def test_it_is_left_out_whatever_it_raised(kind: type[BaseException], tmp_path: Path) -> None:
    def leave(answer: Any) -> None:
        raise kind("enough")

    run = tmp_path / "run"
    spared(run, after=[4], harm=leave)
    (warned,) = events(run, "left out, now")
    assert warned[1].startswith("explainer 'failing' of plugin 'worse': ")


def test_what_it_held_in_memory_is_let_go(tmp_path: Path) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def grasp(answer: torch.Tensor) -> None:
        held.append(weakref.ref(answer))
        raise MemoryError

    loop = assembled(tmp_path / "run", METHOD, WARN)
    HARM["explain"] = grasp
    failed: Failed = {}
    model, method = loop.learner.model, loop.learner.method
    pseudo_label(model, method, torch.zeros(1, 1, 32, 32), debias=True, failed=failed)
    assert "explain ran out of memory" in str(failed["failing"])
    gc.collect()
    assert [each() for each in held] == [None]


def test_a_predictor_warns_of_what_it_leaves_out(tmp_path: Path) -> None:
    run = tmp_path / "run"
    spared(run, after=[])
    HARM["explain"] = boom
    predictor = load(run)
    with pytest.warns(UserWarning, match="its evidence is left out"):
        _, evidence = predictor.explain(torch.zeros(1, 1, 32, 32))
    assert evidence == {}

"""When a run does what: rows, weights of terms, epochs, the pre-flight audit, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_parts
import torch
from conftest import Site
from tiny import SUPERVISED, assembled, records, same, steps, tiny

from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine import loop as loop_module
from pseudolabel_kit.engine.audit import Verdict
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.setup import require_even_batches
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.engine.step import CONSISTENCY
from pseudolabel_kit.errors import ConfigError, RunError

NO_EVIDENCE = {"method": {"explainer": "none"}}


def trained(folder: Path, *layers: Mapping[str, Any]) -> Loop:
    loop = assembled(folder, *layers)
    assert loop.run(Stop())
    return loop


def events(loop: Loop) -> list[str]:
    return [record["text"] for record in records(loop.folder.path, "event")]


# ── rows ────────────────────────────────────────────────────────────────────────────


def test_a_supervised_run_reads_no_unlabelled_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Subset] = []
    original = Subset.batch

    def spied(subset: Subset, *arguments: Any, **named: Any) -> Any:
        read.append(subset)
        return original(subset, *arguments, **named)

    monkeypatch.setattr(Subset, "batch", spied)
    loop = trained(tmp_path, SUPERVISED)
    assert any(subset is loop.streams.labelled for subset in read)
    assert not any(
        subset is unread
        for subset in read
        for unread in (loop.streams.unlabelled, loop.streams.audited)
    )
    assert loop.streams.held is None


def test_unlabelled_rows_are_read_from_the_step_where_they_count(tmp_path: Path) -> None:
    loop = assembled(tmp_path, NO_EVIDENCE)
    assert [loop.feed.step(n, loop.weights(n)).unlabelled for n in range(3)] == [None] * 3
    loop.progress.consistency_began = 2
    assert loop.feed.step(1, loop.weights(1)).unlabelled is None
    assert loop.feed.step(2, loop.weights(2)).unlabelled is not None


def test_weak_labels_are_read_from_the_start_and_without_masks(tmp_path: Path) -> None:
    weak = {"data": {"weak_labels": True}}
    for layers in ([weak], [weak, SUPERVISED]):
        loop = assembled(tmp_path / str(len(layers)), *layers)
        batch = loop.feed.step(0, loop.weights(0)).unlabelled
        assert batch is not None
        assert batch.has_label.all()
        assert not batch.has_mask.any()


def test_a_share_of_the_unlabelled_rows_has_weak_labels(tmp_path: Path) -> None:
    share = {"data": {"weak_labels": 0.4}}
    rows = [assembled(tmp_path / str(i), share).streams.unlabelled for i in range(2)]
    known = [each.batch(range(len(each))).has_label for each in rows]
    assert torch.equal(*known)
    assert 0.3 < float(known[0].float().mean()) < 0.5
    assert set(rows[0].batch(np.flatnonzero(known[0])).label.tolist()) == {0, 1, 2}, "each class"


def test_training_rows_never_know_what_they_should_not(tmp_path: Path) -> None:
    streams = assembled(tmp_path).streams
    everyone = range(len(streams.unlabelled))
    batch = streams.unlabelled.batch(everyone)
    assert not batch.has_mask.any()
    assert not batch.has_label.any()
    assert not batch.mask.any()
    assert not batch.label.any()
    assert streams.audited.batch([0]).has_mask.all()  # the audit alone may know


def test_held_rows_join_when_the_audit_is_over(tmp_path: Path) -> None:
    loop = assembled(tmp_path)
    held = loop.streams.held
    assert held is not None
    assert set(loop.streams.early.indices) | set(held.indices) == set(loop.streams.labelled.indices)
    assert not set(loop.streams.early.indices) & set(held.indices)
    shown = loop.feed.rows(loop.streams.early, np.arange(len(loop.streams.early)), 0, "labelled", 2)
    assert torch.equal(loop.feed.step(0, loop.weights(0)).labelled.image, shown.image)
    loop.progress.consistency_began = 0
    shown = loop.feed.rows(
        loop.streams.labelled, np.arange(len(loop.streams.labelled)), 0, "labelled", 2
    )
    assert torch.equal(loop.feed.step(0, loop.weights(0)).labelled.image, shown.image)


def test_a_ratio_of_streams_is_kept(tmp_path: Path) -> None:
    loop = assembled(tmp_path, {"train": {"batch_size": 2, "unlabelled_ratio": 2.5}})
    loop.progress.consistency_began = 0
    step = loop.feed.step(0, loop.weights(0))
    assert step.unlabelled is not None
    assert (len(step.labelled.image), len(step.unlabelled.image)) == (2, 5)


# ── weights of terms ────────────────────────────────────────────────────────────────


def test_consistency_is_zero_then_grows_then_stays(tmp_path: Path) -> None:
    ramp = {
        "loss": {"consistency": 4.0, "consistency_start": "2steps", "consistency_ramp": "4steps"}
    }
    loop = trained(tmp_path, NO_EVIDENCE, ramp, steps(8))
    found = [record["weights"][CONSISTENCY] for record in records(tmp_path, "step")]
    assert found == [0, 0, 1, 2, 3, 4, 4, 4]
    named = ["consistency.mask" in record["losses"] for record in records(tmp_path, "step")]
    assert named == [weight > 0 for weight in found]
    assert loop.progress.consistency_began == 2


def test_explainer_terms_count_like_the_classification(tmp_path: Path) -> None:
    explainer = {"method": {"explainer": "caam:start=50%", "fuser": "fixmatch"}}
    loop = assembled(tmp_path, explainer, {"loss": {"classification": 0.5}})
    assert [loop.weights(n)["caam:start=50%"] for n in (0, 2, 3)] == [0.0, 0.0, 0.5]


def test_a_criterion_on_val_starts_consistency_at_an_epoch(tmp_path: Path) -> None:
    start = {"loss": {"consistency_start": "val.accuracy>=0.0"}}
    loop = trained(tmp_path / "met", NO_EVIDENCE, start)
    assert loop.progress.consistency_began == 3  # val is measured every 3 steps
    start = {"loss": {"consistency_start": "val.dice>=1.0"}}
    loop = trained(tmp_path / "unmet", NO_EVIDENCE, start)
    assert loop.progress.consistency_began is None


# ── what is said aloud ──────────────────────────────────────────────────────────────


def test_a_term_that_joins_too_late_is_warned_of(tmp_path: Path) -> None:
    late = {
        "optimiser": {"schedule": "step", "step_every": "1steps"},
        "loss": {"consistency_start": "5steps"},
    }
    loop = trained(tmp_path, NO_EVIDENCE, late)
    assert events(loop)[0].startswith(
        "loss term 'consistency' joins at 5steps, when the learning rate is down to 1e-05 of the"
    )


def test_a_term_that_joins_after_the_end_is_warned_of(tmp_path: Path) -> None:
    never = {"method": {"explainer": "caam:start=9steps"}, "loss": {"consistency_start": "7steps"}}
    loop = trained(tmp_path, never)
    for name, start in (("caam:start=9steps", "9steps"), ("consistency", "7steps")):
        assert f"loss term '{name}' joins at {start}, after the run's end: never" in events(loop)


def test_a_sound_schedule_is_not_warned_of(tmp_path: Path) -> None:
    loop = trained(tmp_path, NO_EVIDENCE)
    assert not [text for text in events(loop) if "joins" in text]


def test_a_run_that_makes_no_labels_though_it_could_says_so(tmp_path: Path) -> None:
    loop = trained(tmp_path, NO_EVIDENCE, {"loss": {"consistency": 0.0}})
    assert "L_u never joins" in events(loop)[0]


def test_labels_that_drift_raise_the_alarm(tmp_path: Path) -> None:
    loop = assembled(tmp_path, NO_EVIDENCE, {"audit": {"drift": 2.0}})
    loop.begin_consistency()
    loop.watch_labels()
    loop.log.flush()
    assert not [text for text in events(loop) if "drift" in text]
    for module in loop.learner.model.modules():
        if (
            isinstance(module, torch.nn.Conv2d)
            and module.out_channels == 1
            and module.bias is not None
        ):
            module.bias.data += 5  # from now on everything is lesion
    loop.watch_labels()
    loop.log.flush()
    assert [text for text in events(loop) if "drift" in text]


# ── the pre-flight audit ────────────────────────────────────────────────────────────


def worse(record: Any) -> Verdict:
    return Verdict(word="worse", reason="the fused label is worse")


def test_the_pre_flight_audit_judges_held_rows(tmp_path: Path) -> None:
    loop = trained(tmp_path, NO_EVIDENCE)
    (audit,) = [record for record in records(tmp_path, "audit") if record["when"] == "preflight"]
    assert loop.streams.held is not None
    assert audit["step"] == 2
    assert audit["rows"] == len(loop.streams.held) > 0
    assert audit["verdict"] in ("equal", "unknown")  # unknown: two steps find no lesion
    record = audit["record"]  # without evidence the label is the decoder's own
    assert record["label_brier"] == pytest.approx(record["decoder_brier"], rel=1e-6)
    assert {r["when"] for r in records(tmp_path, "audit")} == {"preflight", "epoch"}


@pytest.mark.parametrize("strict", [False, True])
def test_worse_labels_are_warned_of_or_refused(
    strict: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "verdict", worse)
    loop = assembled(tmp_path, NO_EVIDENCE, {"audit": {"strict": strict}})
    if strict:
        with pytest.raises(RunError, match=r"the fused label is worse \(audit.strict\)"):
            loop.run(Stop())
        assert loop.progress.step == 2
    else:
        assert loop.run(Stop())
    warned = [r["level"] for r in records(tmp_path, "event") if "pre-flight audit" in r["text"]]
    assert warned == ["warning"]


def test_an_audit_leaves_the_parts_as_they_were(site: Site, tmp_path: Path) -> None:
    site.offer("tiny", *tiny_parts.COMPONENTS)
    loop = assembled(tmp_path / "run", {"method": {"fuser": "remembering"}})
    before = {name: value.clone() for name, value in loop.learner.state_dict().items()}
    loop.audit(loop.streams.audited)
    assert same(before, loop.learner.state_dict())
    assert loop.learner.training
    loop.progress.consistency_began = 0
    loop.train()
    assert not same(before, loop.learner.state_dict())
    assert int(loop.learner.state_dict()["states.fuser.seen"]) == 2  # a step's rows alone


# ── epochs and checkpoints ──────────────────────────────────────────────────────────


def test_val_is_measured_at_every_moment_and_at_the_end(tmp_path: Path) -> None:
    trained(tmp_path, SUPERVISED, steps(7))
    assert [record["step"] for record in records(tmp_path, "epoch")] == [3, 6, 7]


def test_checkpoints_are_the_last_two_and_the_best(tmp_path: Path) -> None:
    trained(tmp_path, SUPERVISED, steps(7))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best.safetensors", "step-00000006.safetensors", "step-00000007.safetensors"]


def test_a_run_without_val_rows_trains_and_has_no_best(tmp_path: Path) -> None:
    loop = assembled(tmp_path, SUPERVISED)
    loop.streams = type(loop.streams)(**{**vars(loop.streams), "val": nobody(loop.streams.val)})
    assert loop.run(Stop())
    assert all(record["measures"] == {} for record in records(tmp_path, "epoch"))
    assert not (tmp_path / "checkpoints" / "best.safetensors").exists()


def test_a_criterion_without_val_rows_is_warned_of(tmp_path: Path) -> None:
    loop = assembled(tmp_path, NO_EVIDENCE, {"loss": {"consistency_start": "val.dice>=0.5"}})
    loop.streams = type(loop.streams)(**{**vars(loop.streams), "val": nobody(loop.streams.val)})
    assert loop.run(Stop())
    assert events(loop)[0] == "there are no val rows to reach val.dice>=0.5 on: L_u never joins"


def nobody(subset: Subset) -> Subset:
    fields = {**vars(subset), "indices": (), "names": (), "patients": ()}
    return Subset(**fields)


def test_a_stop_ends_the_run_after_the_step_with_a_checkpoint(tmp_path: Path) -> None:
    loop = assembled(tmp_path, SUPERVISED)
    stop = Stop()
    stop.number = 15
    assert not loop.run(stop)
    assert loop.progress.step == 1
    assert (tmp_path / "checkpoints" / "step-00000001.safetensors").exists()


def test_the_log_has_every_step_once_and_in_order(tmp_path: Path) -> None:
    trained(tmp_path, steps(13))
    assert [record["step"] for record in records(tmp_path, "step")] == list(range(1, 14))
    assert [r["step"] for r in records(tmp_path)] == sorted(r["step"] for r in records(tmp_path))


def test_a_batch_that_does_not_divide_among_processes_is_refused(tmp_path: Path) -> None:
    config = tiny({"train": {"batch_size": 6, "unlabelled_ratio": 0.5}})
    require_even_batches(config, 3)
    with pytest.raises(ConfigError, match="3 unlabelled rows a step do not divide among 2"):
        require_even_batches(config, 2)


def test_the_averaged_weights_are_what_is_measured(tmp_path: Path) -> None:
    loop = assembled(tmp_path, SUPERVISED)
    assert loop.average is not None
    assert loop.evaluated is loop.average.model
    loop.average = None
    assert loop.evaluated is loop.learner.model

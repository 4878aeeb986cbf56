from __future__ import annotations

import json
import math
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from predict_support import SIDE, train_tiny
from tiny import same
from torch import Tensor

from pseudolabel_kit import load
from pseudolabel_kit.config import Config
from pseudolabel_kit.engine import checkpoint, predict
from pseudolabel_kit.engine.checkpoint import BEST, Progress
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.errors import DataError, RunError


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.getbasetemp())


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


def images(rows: int = 3) -> Tensor:
    return torch.rand(rows, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def newest(folder: Path) -> Path:
    return sorted((folder / "checkpoints").glob("step-*"))[-1]


def test_best_and_last_are_different_weights(run: Path) -> None:
    best, last = load(run), load(run, which="last")
    assert last.step == 3
    assert (
        best.step
        == checkpoint.load(run / "checkpoints" / BEST, RunFolder(run).config_hash()).progress.step
    )
    assert best.task.size == (SIDE, SIDE)
    assert not best.model.training


def test_the_averaged_weights_answer(run: Path) -> None:
    predictor = load(run, which="last")
    stored = checkpoint.load(newest(run), RunFolder(run).config_hash()).tensors
    for name, tensor in predictor.model.state_dict().items():
        torch.testing.assert_close(tensor, stored[f"average.{name}"], rtol=0, atol=0)


def test_a_run_is_loaded_without_its_dataset(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the dataset was asked for")

    monkeypatch.setattr("pseudolabel_kit.data.source.open_dataset", refuse)
    assert load(copy).task.classes == ("np", "cap", "covid19")


def test_an_answer_does_not_depend_on_batchmates(run: Path) -> None:
    predictor = load(run)
    together, alone = predictor(images(3)), predictor(images(3)[1:2])
    torch.testing.assert_close(together.mask_logits[1:2], alone.mask_logits)
    torch.testing.assert_close(together.class_logits[1:2], alone.class_logits)


def test_explain_gives_the_answer_and_every_explainers_evidence(run: Path) -> None:
    predictor = load(run)
    before = {k: v.clone() for k, v in predictor.model.state_dict().items()}
    prediction, evidence = predictor.explain(images())
    torch.testing.assert_close(prediction.mask_logits, predictor(images()).mask_logits)
    assert list(evidence) == ["ig:steps=2", "caam"]
    for each in evidence.values():
        assert each.map.shape == (3, 1, SIDE, SIDE)
        assert 0 <= each.map.min() <= each.map.max() <= 1
    assert same(before, predictor.model.state_dict())


def test_labels_are_made_of_the_logits_without_their_bias(run: Path) -> None:
    predictor = load(run)
    weight = predictor.task.background_weight
    assert weight < 1
    shift = predictor.label(images()).prediction.mask_logits - predictor(images()).mask_logits
    torch.testing.assert_close(shift, torch.full_like(shift, math.log(weight)))


@pytest.mark.parametrize("shape", [(1, 3, SIDE, SIDE), (1, 1, SIDE, 40), (1, SIDE, SIDE)])
@pytest.mark.parametrize("ask", ["__call__", "explain", "label"])
def test_images_of_another_shape_are_refused(run: Path, shape: tuple[int, ...], ask: str) -> None:
    with pytest.raises(DataError, match=r"expected \(B, 1, 32, 32\)"):
        getattr(load(run), ask)(torch.zeros(shape))


def test_a_run_without_a_best_has_its_last(copy: Path) -> None:
    (copy / "checkpoints" / BEST).unlink()
    assert load(copy).step == 3


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_used(copy: Path) -> None:
    newest(copy).write_bytes(newest(copy).read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"step-00000003\.safetensors: damaged"):
        assert load(copy, which="last").step == 2


def test_damaged_best_weights_are_named_with_the_way_to_the_last_ones(copy: Path) -> None:
    path = copy / "checkpoints" / BEST
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"best.*: damaged.*weights may be whole: --checkpoint last"):
        load(copy)
    assert load(copy, which="last").step == 3


class Bomb:
    """Goes off when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


def test_nothing_is_unpickled(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy)
    (copy / "checkpoints" / BEST).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(RunError, match="damaged checkpoint"):
        load(copy)
    assert not Path("exploded").exists()


def test_weights_of_another_network_are_one_line(copy: Path) -> None:
    path = copy / "checkpoints" / BEST
    hashed = RunFolder(copy).config_hash()
    tensors = dict(checkpoint.load(path, hashed).tensors)
    tensors = {name: torch.zeros(2, *tensor.shape) for name, tensor in tensors.items()}
    checkpoint.save(path, tensors, Progress(), hashed)
    with pytest.raises(RunError, match="do not fit the network that vgg-multiscale") as caught:
        load(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"task": {"size": 3}})])
def test_a_damaged_provenance_is_named(copy: Path, content: str) -> None:
    (copy / "provenance.json").write_text(content)
    with pytest.raises(RunError, match=r"provenance\.json: cannot be read"):
        load(copy)


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run"):
        load(tmp_path)


def test_a_run_without_checkpoints_says_so(copy: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(RunError, match="no checkpoint yet"):
        load(copy)


def test_a_run_of_a_gpu_machine_answers_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = Config.model_validate({"train": {"accelerator": "cuda"}})
    assert predict._fabric(config).device.type == "cpu"

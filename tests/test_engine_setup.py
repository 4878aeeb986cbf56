from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import timm
import torch
from plk_support import make_net, make_task
from safetensors.torch import save_file
from tiny import SUPERVISED, assembled, steps, tiny
from torch import Tensor, nn

from plk_calibrated.caam import Caam
from plk_thresholds.fixmatch import FixMatch
from pseudolabel_kit.engine import checkpoint
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.engine.setup import (
    make_fabric,
    make_model,
    make_optimiser,
    rehearse,
    unlabelled_batch,
)
from pseudolabel_kit.engine.step import Learner
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import Backbone, Explainer, Prediction, Task


class Odd(nn.Module):
    """A network whose masks are too small."""

    def forward(self, images: Tensor) -> Prediction:
        rows = len(images)
        return Prediction(class_logits=images.new_zeros(rows, 3), mask_logits=images[:, :, ::2])


@dataclass(frozen=True, kw_only=True)
class OddBackbone(Backbone):
    def build(self, task: Task) -> nn.Module:
        return Odd()


def method_of(backbone: Backbone, **explainers: Explainer) -> Method:
    return Method(backbone=backbone, explainers=explainers, fuser=FixMatch(), perturbations=())


def test_a_backbone_that_answers_in_another_shape_is_refused() -> None:
    config = tiny({"method": {"backbone": "odd"}})
    expected = r"OddBackbone: forward gave mask_logits of shape \(1, 1, 16, 37\): expected \(1, 1"
    with pytest.raises(PluginError, match=expected):
        make_model(config, method_of(OddBackbone()), make_task())


def test_weights_follow_the_seed_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = assembled(tmp_path / "a", SUPERVISED).learner.state_dict()
    torch.manual_seed(1)
    again = assembled(tmp_path / "b", SUPERVISED, steps(9)).learner.state_dict()
    other = assembled(tmp_path / "c", SUPERVISED, {"train": {"seed": 1}}).learner.state_dict()
    weight = "model.mask_head.weight"
    assert torch.equal(first[weight], again[weight])
    assert not torch.equal(first[weight], other[weight])


def test_parts_that_do_not_fit_each_other_are_told_before_a_run() -> None:
    net = make_net()
    method = method_of(OddBackbone(), caam=Caam(levels=(9,)))
    states = method.begin(make_task())
    learner = Learner(
        net,
        method,
        states,
        augment=tiny().augment,
        debias=True,
        mean_over_processes=lambda counts: counts,
    )
    with pytest.raises(PluginError, match="levels=9: the model has 3 scales"):
        rehearse(learner)


def test_a_device_that_is_not_here_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("it is here")
    with pytest.raises(ConfigError, match=r"train\.accelerator = cuda: ") as refused:
        make_fabric(tiny({"train": {"accelerator": "cuda"}}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("ratio", "rows"), [(1.0, 8), (2.5, 20), (0.25, 2), (0.01, 1)])
def test_the_ratio_of_streams_gives_rows(ratio: float, rows: int) -> None:
    config = tiny({"train": {"batch_size": 8, "unlabelled_ratio": ratio}})
    assert unlabelled_batch(config) == rows


@pytest.mark.parametrize(("decay", "kind"), [(0.0, torch.optim.Adam), (0.01, torch.optim.AdamW)])
def test_weights_that_decay_do_so_apart_from_the_gradient(
    decay: float, kind: type, tmp_path: Path
) -> None:
    config = tiny({"optimiser": {"weight_decay": decay, "betas": [0.5, 0.9], "lr": 0.25}})
    optimiser = make_optimiser(config, assembled(tmp_path, SUPERVISED).learner)
    assert type(optimiser) is kind
    (group,) = optimiser.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.25, (0.5, 0.9), decay)


def test_the_task_is_what_the_data_and_the_configuration_say(tmp_path: Path) -> None:
    task = assembled(tmp_path, SUPERVISED, {"loss": {"background_weight": 0.25}}).learner
    found = task.method.backbone.task
    assert found == replace(found, channels=1, size=(32, 32), mask_channels=1)
    assert (len(found.classes), found.lesion_classes, found.background_weight) == (3, (2,), 0.25)


def test_sgd_has_nesterov_s_momentum_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    layer = {"optimiser": {"kind": "sgd", "lr": 0.03, "betas": [0.9, 0.9], "weight_decay": 5e-4}}
    loop = assembled(tmp_path / "run", SUPERVISED, layer)
    (group,) = loop.optimiser.param_groups
    told = [group[name] for name in ("momentum", "nesterov", "weight_decay")]
    assert told == [0.9, True, 5e-4]
    loop.train()
    kept = checkpoint.optimiser_tensors(loop.optimiser)
    other = make_optimiser(loop.config, loop.learner)
    checkpoint.restore_optimiser(other, kept)
    again = checkpoint.optimiser_tensors(other)
    assert any("momentum_buffer" in name for name in kept)
    assert again.keys() == kept.keys()
    assert all(torch.equal(again[name], kept[name]) for name in kept)


def test_a_run_needs_its_pretrained_weights_no_longer_once_it_has_a_checkpoint(
    tmp_path: Path,
) -> None:
    torch.manual_seed(7)
    theirs = resnet18(width=0.25).state_dict()
    file = tmp_path / "weights.safetensors"
    save_file(theirs, file)
    method = {"backbone": f"resnet18:width=0.25:pretrained={file}", "explainer": "none"}
    layer = {"method": {**method, "fuser": "none"}, "optimiser": {"lr": 1e-9}}
    run = train(tiny(layer), out=tmp_path / "run")
    file.unlink()
    kept = load(run).model.state_dict()
    name = "layer4.1.conv2.weight"
    torch.testing.assert_close(kept[f"trunk.{name}"], theirs[name], atol=1e-6, rtol=0)
    assert train(out=run.folder, resume=True).interrupted is None


def resnet18(*, width: float) -> nn.Module:
    filters = tuple(round(count * width) for count in (64, 128, 256, 512))
    net: nn.Module = timm.create_model("resnet18", channels=filters)
    return net


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (
            {"backbone": "jcs:width=0.0625", "fuser": "fixmatch", "perturbation": "unimatch"},
            "^backbone 'jcs:width=0.0625' of plugin 'baselines': .* feature maps",
        ),
        (
            {"backbone": "hu2020:width=0.0625", "fuser": "fixmatch"},
            "^fuser 'fixmatch' of plugin 'thresholds': .*does not segment",
        ),
        ({"fuser": "multimix", "perturbation": "bcp"}, "^perturbation 'bcp' of .*masks"),
        (
            {"backbone": "resnet18", "fuser": "multimix"},
            "^fuser 'multimix' of plugin 'multimix': .*does not segment",
        ),
    ],
)
def test_what_only_a_training_step_would_meet_is_told_before_the_first(
    tmp_path: Path, method: dict[str, str], told: str
) -> None:
    layer = {"data": {"source": "phantom:size=64:patients=51:slices=1"}}
    config = tiny(layer, {"method": {"explainer": "none", **method}})
    with pytest.raises(PluginError, match=told):
        train(config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_rehearsal_leaves_no_trace(tmp_path: Path) -> None:
    method = {"backbone": "resnet18", "explainer": "none", "fuser": "flexmatch:targets=class"}
    loop = assembled(tmp_path / "run", {"method": method})
    before = {name: value.clone() for name, value in loop.learner.state_dict().items()}
    rehearse(loop.learner)
    after = loop.learner.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert loop.learner.training


def test_a_backbone_that_weighs_no_background_has_none_undone(tmp_path: Path) -> None:
    for backbone, weight in (("multimix:width=0.25", 1.0), ("unet:width=0.0625", 0.5)):
        method = {"backbone": backbone, "explainer": "none", "fuser": "fixmatch"}
        loop = assembled(tmp_path / backbone[:4], {"method": method})
        assert loop.learner.method.backbone.task.background_weight == weight

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.weights import (
    Normalise,
    Published,
    load_weights,
    locate,
    published_by_timm,
    read_weights,
)

SOURCE = Published(repo="owner/net", revision="abc")


def net(channels: int = 3, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Conv2d(4, 2, 1))
    )


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def written(folder: Path, state: dict[str, Tensor], name: str = "w.safetensors") -> Path:
    path = folder / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def alike(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# ── what fits ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.bin"])
def test_a_file_fills_parameters_and_buffers(tmp_path: Path, name: str) -> None:
    source, target = net(seed=1), net(seed=2)
    source[1].running_mean.fill_(7)
    load_weights(target, written(tmp_path, state_of(source), name))
    assert alike(source, target)
    assert (target[1].running_mean == 7).all()


@given(
    file=st.lists(st.sampled_from(["module", "encoder", "0", "net_1"]), max_size=2),
    wrapped=st.booleans(),
)
@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_prefix_on_either_side_is_seen_through(
    tmp_path: Path, file: list[str], wrapped: bool
) -> None:
    source, target = net(seed=1), net(seed=2)
    state = {".".join([*file, name]): each for name, each in state_of(source).items()}
    noise = {"decoder.0.weight": torch.zeros(3), "head.bias": torch.zeros(1000)}
    load_weights(
        nn.ModuleDict({"model": target}) if wrapped else target,
        written(tmp_path, state | noise),
    )
    assert alike(source, target)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_whole_training_state_is_searched_for_its_weights(tmp_path: Path, key: str) -> None:
    source, target = net(seed=1), net(seed=2)
    torch.save({"epoch": 3, key: state_of(source)}, tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert alike(source, target)


def test_files_from_before_the_batch_counters_fit(tmp_path: Path) -> None:
    state = {k: v for k, v in state_of(net(seed=1)).items() if "num_batches" not in k}
    load_weights(net(), written(tmp_path, state))


def test_colour_weights_are_summed_for_grey(tmp_path: Path) -> None:
    colour, grey = net(3, seed=1).eval(), net(1, seed=2).eval()
    load_weights(grey, written(tmp_path, state_of(colour)))
    image = torch.rand(2, 1, 5, 5)
    torch.testing.assert_close(grey(image), colour(image.expand(2, 3, 5, 5)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_what_timm_would_load_is_loaded(tmp_path: Path, name: str, channels: int) -> None:
    torch.manual_seed(0)
    path = written(tmp_path, state_of(timm.create_model(name)))
    ours = timm.create_model(name, features_only=True, in_chans=channels)
    theirs = timm.create_model(
        name,
        features_only=True,
        in_chans=channels,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path)},
    )
    load_weights(ours, path)
    image = torch.rand(1, channels, 32, 32)
    for one, other in zip(ours.eval()(image), theirs.eval()(image), strict=True):
        torch.testing.assert_close(one, other)


# ── what does not ───────────────────────────────────────────────────────────────────


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    state = state_of(net())
    del state["2.0.bias"]
    with pytest.raises(ConfigError, match=r"w\.safetensors: no tensor '2\.0\.bias'"):
        load_weights(net(), written(tmp_path, state))


def test_another_shape_is_named(tmp_path: Path) -> None:
    state = state_of(net()) | {"2.0.weight": torch.zeros(5, 4, 1, 1)}
    with pytest.raises(ConfigError, match=r"'2\.0\.weight' has shape \(5, 4, 1, 1\): expected \(2"):
        load_weights(net(), written(tmp_path, state))


def test_grey_weights_do_not_fit_colour(tmp_path: Path) -> None:
    path = written(tmp_path, state_of(net(1)))
    with pytest.raises(ConfigError, match=r"has shape \(4, 1, 3, 3\): expected \(4, 3, 3, 3\)"):
        load_weights(net(3), path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", ["empty", "foreign", "truncated"])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, content: str) -> None:
    path = written(tmp_path, state_of(net()), name)
    whole = path.read_bytes()
    half = whole[: len(whole) // 2]
    path.write_bytes({"empty": b"", "foreign": b"hello world, 123", "truncated": half}[content])
    with pytest.raises(ConfigError, match=r"truncated, foreign, or holds more") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_no_code_is_run_from_a_file(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1), "path": Path("x")}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="holds more than tensors"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="no tensors by name"):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.pth: there is no such file"):
        read_weights(tmp_path / "none.pth")


# ── where weights are ───────────────────────────────────────────────────────────────


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""

    def connect(*address: object) -> None:
        raise AssertionError(f"the network was asked: {address}")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", connect)
    return tmp_path


def put(cache: Path, source: Published, name: str) -> Path:
    owner, repo = source.repo.split("/")
    path = cache / f"models--{owner}--{repo}" / "snapshots" / source.revision / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_published_name_is_looked_up_in_the_cache_alone(cache: Path) -> None:
    path = put(cache, SOURCE, "model.safetensors")
    assert locate("imagenet", {"imagenet": SOURCE}) == (path, SOURCE)


def test_what_the_cache_lacks_is_told_in_one_line(cache: Path) -> None:
    put(cache, SOURCE, "config.json")
    with pytest.raises(ConfigError) as caught:
        locate("imagenet", {"imagenet": SOURCE})
    told = str(caught.value)
    assert "model.safetensors of owner/net" in told
    assert str(cache) in told
    assert "hf download owner/net --revision abc" in told
    assert "\n" not in told


def test_a_path_is_a_path_and_must_exist(tmp_path: Path) -> None:
    path = written(tmp_path, state_of(net()))
    assert locate(str(path), {"imagenet": SOURCE}) == (path, SOURCE)
    for wrong in (f"{tmp_path}/no", "no.pth"):
        with pytest.raises(ConfigError, match="there is no such file"):
            locate(wrong, {})


def test_an_unknown_name_has_its_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'imagenet'.*expected imagenet, ssl"):
        locate("imagent", {"imagenet": SOURCE, "ssl": SOURCE})


def test_timm_publishes_by_tag_and_by_default() -> None:
    published = published_by_timm("resnet18")
    assert published["imagenet"].repo == "timm/resnet18.a1_in1k"
    assert published["tv_in1k"].repo == "timm/resnet18.tv_in1k"
    assert published_by_timm("resnet18.tv_in1k")["imagenet"] == published["tv_in1k"]
    assert published_by_timm("test_resnet")["imagenet"].mean == (0.5, 0.5, 0.5)


def test_normalising_is_by_channel_and_grey_takes_the_mean() -> None:
    source = Published(repo="", mean=(0.25, 0.5, 0.75), std=(0.5, 0.25, 0.75))
    rgb, single = Normalise(3), Normalise(1)
    image = torch.full((1, 3, 1, 1), 0.5)
    assert torch.equal(rgb(image), image)
    rgb.expect(source)
    single.expect(source)
    colour = rgb(image).flatten()
    torch.testing.assert_close(colour, torch.tensor([0.5, 0.0, -1 / 3]))
    grey = single(torch.full((1, 1, 1, 1), 1.0))
    assert grey.item() == pytest.approx(1.0)

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from plk_support import begun, make_task
from safetensors.torch import save_file
from tiny import SUPERVISED, assembled, steps
from torch import Tensor

from plk_smp.smp import Smp, SmpNet
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import Task
from pseudolabel_kit.plugin.build import build

SMALL = "tu-test_resnet"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def task(channels: int = 1, masks: int = 1, size: tuple[int, int] = (64, 64)) -> Task:
    return make_task(channels=channels, masks=masks, size=size)


def net(of: Task | None = None, **options: object) -> SmpNet:
    torch.manual_seed(0)
    of = of or task()
    part = begun(Smp(**{"encoder": SMALL} | options), of)  # type: ignore[arg-type]
    model = part.build(of)
    part.pretrain(model)
    assert isinstance(model, SmpNet)
    return model.eval()


def images(of: Task | None = None, rows: int = 2) -> Tensor:
    of = of or task()
    return torch.rand(rows, of.channels, *of.size, generator=torch.Generator().manual_seed(0))


# ── architectures and encoders ──────────────────────────────────────────────────────


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("arch", "encoder"),
    [
        ("unet", "mobilenet_v2"),
        ("unet", "mit_b0"),  # its first stage is empty
        ("unetplusplus", SMALL),
        ("fpn", "tu-test_convnext"),  # its first stage is empty
        ("pspnet", SMALL),  # stops at its third stage
        ("deeplabv3plus", SMALL),  # dilated
        ("upernet", SMALL),
        ("segformer", SMALL),
        ("dpt", "tu-test_vit"),  # made for another image size
    ],
)
def test_masks_are_what_smp_itself_answers(arch: str, encoder: str, channels: int) -> None:
    of = task(channels, masks=2)
    ours, image = net(of, arch=arch, encoder=encoder), images(of)
    extra = {"dynamic_img_size": True} if arch == "dpt" else {}
    theirs = smp.create_model(arch, encoder, None, channels, 2, **extra).eval()
    theirs.load_state_dict(ours.net.state_dict())
    prediction = ours(image)
    assert prediction.class_logits.shape == (2, 3)
    torch.testing.assert_close(prediction.mask_logits, theirs(image))


def test_the_class_head_is_linear_on_the_mean_of_the_mapped_scale() -> None:
    model = net(dropout=0.5)
    prediction = model(images())
    (scale,) = prediction.scales
    assert scale.features.shape == (2, 96, 2, 2)
    maps = torch.einsum("nd,bdhw->bnhw", scale.weight, scale.features)
    torch.testing.assert_close(
        prediction.class_logits, maps.mean(dim=(2, 3)) + model.class_head.bias
    )
    assert model.train()(images()).class_logits.ne(model(images()).class_logits).any()


def test_classify_agrees_with_forward_and_does_not_decode() -> None:
    model = net()
    expected = model(images()).class_logits
    del model.net.decoder, model.net.segmentation_head  # would fail if it ran
    assert torch.equal(model.classify(images()), expected)


@pytest.mark.parametrize("size", [(50, 70), (20, 64)])
def test_any_size_is_answered_at_its_size(size: tuple[int, int]) -> None:
    of = task(size=size)
    prediction = net(of)(images(of))
    assert prediction.mask_logits.shape == (2, 1, *size)


def test_class_maps_cover_the_image_and_nothing_beside_it() -> None:
    """At 48 pixels of 64, padding would squeeze what is seen into three quarters of the map."""
    of = task(size=(48, 48))
    model, seen = net(of), []
    model.net.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ramp = torch.linspace(0, 1, 48).expand(1, 1, 48, 48)
    model.classify(ramp)
    assert seen[0].shape == (1, 1, 64, 64)
    assert seen[0][0, 0, 0, 16].item() == pytest.approx(0.25, abs=0.02)
    assert seen[0][0, 0, 0, 47].item() == pytest.approx(0.75, abs=0.02)


def test_an_untrained_decoder_says_that_lesions_are_rare() -> None:
    for arch, encoder in (("unet", SMALL), ("dpt", "tu-test_vit")):
        model = net(arch=arch, encoder=encoder)
        biases = [
            module.bias
            for module in model.net.segmentation_head.modules()
            if isinstance(module, torch.nn.Conv2d)
        ]
        assert torch.sigmoid(biases[-1]).item() == pytest.approx(0.05)


# ── noise on features ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoder", [SMALL, "tu-test_convnext", "mit_b0"])
def test_features_left_alone_change_nothing_and_zeroed_change_masks_alone(encoder: str) -> None:
    model, image = net(encoder=encoder), images()
    sides: list[int] = []

    def zeroed(features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        assert all(each.shape[1] for each in features)  # no empty stage, nor the image itself
        sides.extend(each.shape[-1] for each in features)
        return tuple(map(torch.zeros_like, features))

    plain, same, other = model(image), model(image, lambda each: each), model(image, zeroed)
    assert torch.equal(plain.mask_logits, same.mask_logits)
    assert not torch.allclose(plain.mask_logits, other.mask_logits)
    assert torch.equal(plain.class_logits, other.class_logits)
    assert sides == sorted(sides, reverse=True)
    assert len(sides) == (5 if encoder == SMALL else 4)


# ── pretrained weights ──────────────────────────────────────────────────────────────


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def connect(*address: object) -> None:
        raise AssertionError(f"the network was asked: {address}")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", connect)
    return tmp_path / "hub"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_pretrained_from_a_file(tmp_path: Path, name: str, channels: int) -> None:
    torch.manual_seed(1)
    theirs = smp.encoders.get_encoder("mobilenet_v2").eval()
    path = tmp_path / name
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(dict(theirs.state_dict()), path)
    of = task(channels)
    model, image = net(of, encoder="mobilenet_v2", pretrained=str(path)), images(of)
    mean, std = (torch.tensor(each)[:, None, None] for each in IMAGENET)
    if channels == 1:
        mean, std = mean.mean(), std.mean()
    expected = theirs(((image - mean) / std).expand(-1, 3, -1, -1))[-1]
    torch.testing.assert_close(model(image).scales[0].features, expected)


def test_a_published_name_is_found_in_the_cache_with_its_normalisation(offline: Path) -> None:
    published = smp.encoders.encoders["mobilenet_v2"]["pretrained_settings"]["imagenet"]
    folder = offline / "models--smp-hub--mobilenet_v2.imagenet/snapshots" / published["revision"]
    folder.mkdir(parents=True)
    encoder = smp.encoders.get_encoder("mobilenet_v2")
    save_file(dict(encoder.state_dict()), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"mean": [0.1, 0.2, 0.3], "std": [0.5] * 3}))
    model = net(task(channels=3), encoder="mobilenet_v2", pretrained="imagenet")
    torch.testing.assert_close(model.normalise.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(next(model.net.encoder.parameters()), next(encoder.parameters()))


@pytest.mark.parametrize(
    ("encoder", "repo"),
    [("resnet18", "smp-hub/resnet18.imagenet"), ("tu-resnet18", "timm/resnet18.a1_in1k")],
)
def test_what_is_not_in_the_cache_is_told_and_not_downloaded(
    offline: Path, encoder: str, repo: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{repo} is not in the cache .*hf download {repo}"):
        net(encoder=encoder, pretrained="imagenet")


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    encoder = smp.encoders.get_encoder("tu-test_convnext", weights=None)
    save_file(dict(encoder.state_dict()), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"no tensor 'model\.conv1"):
        net(pretrained=str(tmp_path / "w.safetensors"))


# ── what is refused ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("smp:arch=unett", "no architecture 'unett'.*mean 'unet'"),
        ("smp:arch=x", "no architecture 'x': expected one such as unet,"),
        ("smp:encoder=resnet43", "no encoder 'resnet43'.*mean 'resnet"),
        ("smp:encoder=zzz", "no encoder 'zzz': expected one such as resnet34"),
        ("smp:encoder=tu-convnext_nan", "no timm encoder .*mean 'tu-convnext_nano'"),
        ("smp:dropout=1", "dropout"),
    ],
)
def test_a_misspelt_option_has_its_nearest(reference: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build("backbone", reference)


def test_a_tagged_timm_encoder_is_known() -> None:
    assert build("backbone", "smp:encoder=tu-resnet18.tv_in1k").encoder == "tu-resnet18.tv_in1k"


@pytest.mark.parametrize(
    ("arch", "encoder", "told"),
    [
        ("linknet", "mit_b0", "not supported for Linknet"),
        ("unet", "tu-test_vit", "Unsupported model downsampling"),
        ("dpt", "resnet18", "Only Timm encoders"),
        ("pan", SMALL, "at 64x64 pixels: .*too small"),  # shows with the first image alone
    ],
)
def test_what_does_not_fit_together_is_told_in_one_line(arch: str, encoder: str, told: str) -> None:
    with pytest.raises(PluginError, match=rf"arch={arch} does not take encoder={encoder}.*{told}"):
        net(arch=arch, encoder=encoder)


# ── training ────────────────────────────────────────────────────────────────────────


def test_a_built_model_is_ready_to_train() -> None:
    assert begun(Smp(encoder=SMALL), task()).build(task()).training


def test_a_run_moves_every_parameter(tmp_path: Path) -> None:
    method = {"backbone": f"smp:encoder={SMALL}"}
    loop = assembled(tmp_path, SUPERVISED, steps(3), {"method": method})
    before = {name: p.detach().clone() for name, p in loop.learner.named_parameters()}
    assert loop.run(Stop())
    still = [name for name, p in loop.learner.named_parameters() if torch.equal(p, before[name])]
    assert before
    assert not still

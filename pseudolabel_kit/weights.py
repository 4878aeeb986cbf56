"""Pretrained weights of encoders: from a local file, or from the local cache of the Hub.

Nothing is ever fetched from the network here, and no code is run from a file.

A file fits a module where it holds every tensor of it, by name and shape:

- all names may share a prefix in the file, in the module, or in both, such as "encoder.";
- "." and "_" are alike in names, as timm's feature extractors flatten "stages.0";
- a first convolution over colour fits grey images: its weights are summed over the channels,
  so that it answers a grey image as it would the same image in three equal channels;
- what else the file holds, such as the classifier of ImageNet, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pseudolabel_kit.errors import ConfigError, nearest

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_NESTED = ("state_dict", "model")  # where .pth files of whole training states keep the weights
_COUNTERS = "num_batches_tracked"  # of batch normalisation; older files lack them


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights on the Hugging Face Hub, and how images must be normalised for them.

    Attributes:
        repo: "owner/name".
        revision: a commit or branch.
        mean: of each colour channel of images in [0, 1]; ImageNet's unless told otherwise.
        std: likewise.
    """

    repo: str
    revision: str = "main"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def cached(self, *names: str) -> Path:
        """The first of these files of the repository that the local cache holds.

        Raises:
            ConfigError: it holds none; says where it looked and how to put it there.
        """
        from huggingface_hub import constants, try_to_load_from_cache

        for name in names:
            found = try_to_load_from_cache(self.repo, name, revision=self.revision)
            if isinstance(found, str):
                return Path(found)
        raise ConfigError(
            f"{names[0]} of {self.repo} is not in the cache {constants.HF_HUB_CACHE}, and nothing "
            f"is downloaded during a run: fetch it with 'hf download {self.repo} --revision "
            f"{self.revision}', or give the path of a local file"
        )


class Normalise(nn.Module):
    """Images in [0, 1] as an encoder expects them: (image - mean) / std, by channel.

    At first it changes nothing; the figures are buffers, which checkpoints bring back.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))

    def expect(self, published: Published) -> None:
        """What some published weights expect; grey images take the mean over the colours."""
        for buffer, figures in ((self.mean, published.mean), (self.std, published.std)):
            told = torch.tensor(figures)
            told = told if len(buffer) == len(told) else told.mean()[None]
            buffer.copy_(told[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """(B,C,H,W), of the same shape."""
        return (images - self.mean) / self.std


def published_by_timm(model: str) -> dict[str, Published]:
    """The weights of a timm model by their tag; "imagenet" is the model's own default.

    The name may end in a tag itself ("resnet18.a1_in1k"), which then is the default.
    """
    import timm

    bare, default = model.partition(".")[0], timm.get_pretrained_cfg(model)
    configs = {"imagenet": default}
    for name in timm.list_pretrained(f"{bare}.*"):
        configs[name.partition(".")[2]] = timm.get_pretrained_cfg(name)
    return {
        tag: Published(repo=config.hf_hub_id, mean=config.mean, std=config.std)
        for tag, config in configs.items()
        if config and config.hf_hub_id
    }


def locate(pretrained: str, published: Mapping[str, Published]) -> tuple[Path, Published]:
    """The file that an option `pretrained` means, and the normalisation that goes with it.

    Args:
        pretrained: the path of a file (with a "/" or a usual suffix), or a key of `published`.
        published: by name; a local file is normalised as the first of them.

    Raises:
        ConfigError: there is no such file, no such name, or the cache lacks it.
    """
    if "/" in pretrained or pretrained.endswith(_SUFFIXES):
        path = Path(pretrained).expanduser()
        if not path.is_file():
            raise ConfigError(f"pretrained={pretrained}: there is no such file")
        return path, next(iter(published.values()), Published(repo=""))
    if pretrained not in published:
        known = ", ".join(published) or "none are published"
        raise ConfigError(
            f"pretrained={pretrained}: neither the path of a file ({', '.join(_SUFFIXES)}) nor "
            f"the name of published weights{nearest(pretrained, published)}: expected {known}"
        )
    source = published[pretrained]
    return source.cached("model.safetensors", "pytorch_model.bin"), source


def fill_from_timm(encoder: nn.Module, normalise: Normalise, pretrained: str, model: str) -> None:
    """Fill an encoder that timm calls `model`, and normalise its images as the weights expect.

    Raises:
        ConfigError: the weights cannot be reached, or do not fit.
    """
    path, source = locate(pretrained, published_by_timm(model))
    load_weights(encoder, path)
    normalise.expect(source)


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Fill every parameter and buffer of a module from a file (see the top of this module).

    Raises:
        ConfigError: the file cannot be read, or lacks a tensor of the module; names the first.
    """
    found, state = read_weights(path), module.state_dict()
    wanted = {name: tensor for name, tensor in state.items() if not name.endswith(_COUNTERS)}
    wrappers = _shared([name.split(".")[:-1] for name in wanted])
    plain = {name: "_".join(name.split(".")[wrappers:]) for name in wanted}
    prefix = _prefix(found, list(plain.values()))
    for name, tensor in wanted.items():
        source = found.get(prefix + plain[name])
        if source is None:
            raise ConfigError(f"{path}: no tensor '{name}', which the encoder needs")
        with torch.no_grad():
            tensor.copy_(_fitted(source, tensor, f"{path}: '{name}'"))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a torch checkpoint, on the CPU, by plain name.

    A plain name has "_" for every ".".

    Raises:
        ConfigError: the file is missing, truncated, foreign, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of weights")
    try:
        found = load_file(path) if path.suffix == _SUFFIXES[0] else _checkpoint(path)
    except Exception as error:  # a damaged pickle may raise anything
        raise ConfigError(
            f"{path}: is truncated, foreign, or holds more than tensors: "
            "expected a safetensors file, or a torch checkpoint of tensors alone"
        ) from error
    tensors = {_plain(name): each for name, each in found.items() if isinstance(each, Tensor)}
    if not tensors:
        raise ConfigError(f"{path}: holds no tensors by name: expected the state of a module")
    return tensors


def _checkpoint(path: Path) -> Mapping[str, Any]:
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, Mapping):
        return {}
    return next((found[key] for key in _NESTED if isinstance(found.get(key), Mapping)), found)


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """How many modules, counted from the outermost, all paths lead through."""
    levels = zip(*paths, strict=False)
    return sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))


def _prefix(found: Mapping[str, Tensor], wanted: Sequence[str]) -> str:
    """What stands before the names in the file: the shortest that leaves the fewest missing."""
    ends = {name[: -len(wanted[0])] for name in found if name.endswith("_" + wanted[0])}
    missing = {prefix: sum(prefix + name not in found for name in wanted) for prefix in {"", *ends}}
    return min(missing, key=lambda prefix: (missing[prefix], len(prefix), prefix))


def _fitted(source: Tensor, target: Tensor, where: str) -> Tensor:
    """A tensor of the file in the module's shape: colour is summed where grey is wanted."""
    grey = (target.shape[0], 1, *target.shape[2:]) if target.ndim == 4 else None
    if target.shape == grey and source.shape == (target.shape[0], 3, *target.shape[2:]):
        return source.sum(dim=1, keepdim=True)
    if source.shape != target.shape:
        raise ConfigError(
            f"{where} has shape {tuple(source.shape)}: expected {tuple(target.shape)}"
        )
    return source

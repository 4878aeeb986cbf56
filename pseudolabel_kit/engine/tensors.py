"""A run's tensors: gathered for a checkpoint, and put back from one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from torch import Tensor, nn

from pseudolabel_kit.engine import checkpoint
from pseudolabel_kit.engine.step import Learner
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Part
from pseudolabel_kit.plugin.blame import origin
from pseudolabel_kit.plugin.line import in_a_line

if TYPE_CHECKING:
    from pseudolabel_kit.engine.loop import Loop

MOST = 3  # names of a kind in a message


def gathered(loop: Loop) -> dict[str, Tensor]:
    """The tensors of the learner, the optimiser and the models beside the learner, by name."""
    tensors = checkpoint.prefixed("learner", loop.learner.state_dict())
    tensors |= checkpoint.prefixed("optimiser", checkpoint.optimiser_tensors(loop.optimiser))
    for name, model in beside(loop).items():
        tensors |= checkpoint.prefixed(name, model.state_dict())
    return tensors


def put_back(loop: Loop, tensors: Mapping[str, Tensor]) -> None:
    """Give everything the tensors that it had when they were gathered.

    Raises:
        RunError: a part keeps others than it did then; it is named.
    """
    for place, part, module in _places(loop.learner, tensors):
        found = checkpoint.under(f"learner.{place}", tensors)
        try:
            module.load_state_dict(found)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a stranger's module may read its tensors itself
            why = "; ".join(_differences(module, found)) or in_a_line(error)
            raise RunError(
                f"{loop.folder.path}: the checkpoint does not fit {origin(part)}: {why}; go back "
                f"to the version that wrote it, or train anew: {_anew(loop)}"
            ) from error
    checkpoint.restore_optimiser(loop.optimiser, checkpoint.under("optimiser", tensors))
    for name, model in beside(loop).items():
        model.load_state_dict(checkpoint.under(name, tensors))


def _anew(loop: Loop) -> str:
    """The command line that trains the same run from the start."""
    folder = loop.folder
    words = ("plk", "train", folder.config_file, "--out", folder.path, "--overwrite")
    return shlex.join(map(str, words))


def beside(loop: Loop) -> dict[str, nn.Module]:
    """The models that are no part of the learner."""
    copies = {"average": loop.average, "frozen": loop.frozen}
    return {name: each.model for name, each in copies.items() if each}


def _places(
    learner: Learner, tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, Part, nn.Module]]:
    """Where in the learner which part keeps what; also who kept something and now does not."""
    method, nothing, states = learner.method, nn.Module(), dict(learner.states.items())
    kept = {name.split(".")[0] for name in checkpoint.under("learner.states", tensors)}
    yield "model", method.backbone, learner.model
    if learner.twin:
        yield "twin", method.backbone, learner.twin
    for role in sorted(kept | states.keys()):
        yield f"states.{role}", method.parts[role], states.get(role, nothing)


def _differences(module: nn.Module, found: Mapping[str, Tensor]) -> Iterator[str]:
    """What a module keeps, and what was found for it."""
    kept = module.state_dict()
    if missing := kept.keys() - found.keys():
        yield f"it lacks {_few(missing)}"
    if surplus := found.keys() - kept.keys():
        yield f"it holds {_few(surplus)}, which the part keeps no longer"
    both = sorted(kept.keys() & found.keys())
    for name in [name for name in both if kept[name].shape != found[name].shape][:MOST]:
        yield f"'{name}' is {tuple(found[name].shape)}, expected {tuple(kept[name].shape)}"


def _few(names: set[str]) -> str:
    told = ", ".join(f"'{name}'" for name in islice(sorted(names), MOST))
    return f"{told} and {len(names) - MOST} more" if len(names) > MOST else told

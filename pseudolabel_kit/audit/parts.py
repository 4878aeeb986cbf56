"""The explainers and fusers that are judged: the run's own, or others on its frozen model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import Explainer, Fuser, Part
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.reference import parse_list

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is judged, each by its whole reference and bound to the run's task."""

    explainers: Mapping[str, Explainer]
    fusers: Mapping[str, Fuser]


def choose(predictor: Predictor, explainer: str | None, fuser: str | None) -> Parts:
    """The parts that two lists name; None = the run's own.

    Raises:
        ConfigError: a reference is misspelt, or a fuser makes no labels.
        PluginError: a part is unknown, or learns weights that this run did not train.
    """
    method = predictor.method
    labels = method.fuser.reads != "nothing"
    own = {predictor.config.method.fuser: method.fuser} if labels else {}
    fusers = _named(predictor, "fuser", fuser, own)
    for name, part in fusers.items():
        if part.reads == "nothing":
            raise ConfigError(f"--fuser {name}: makes no labels that could be judged")
    explainers = _named(predictor, "explainer", explainer, method.explainers)
    return Parts(explainers=explainers, fusers=fusers)


def _named(
    predictor: Predictor,
    kind: Literal["explainer", "fuser"],
    references: str | None,
    own: Mapping[str, P],
) -> dict[str, P]:
    if references is None:
        return dict(own)
    try:
        names = [str(reference) for reference in parse_list(references)]
    except ConfigError as error:
        raise ConfigError(f"--{kind} {references}: {error}") from None
    return {
        name: own[name] if name in own else cast(P, _begun(predictor, kind, name)) for name in names
    }


def _begun(predictor: Predictor, kind: Literal["explainer", "fuser"], name: str) -> Part:
    """A part that the run did not have, as it stands when a run begins."""
    part: Part = build(kind, name)
    guard.begin(part, predictor.task)
    if part.state is not None:
        part.state.to(predictor.fabric.device).eval()
        if any(True for _ in part.state.parameters()):
            raise PluginError(
                f"{part.origin}: learns weights of its own, which this run did not train; "
                f"expected a run of plk train --{kind} {name}"
            )
    return part

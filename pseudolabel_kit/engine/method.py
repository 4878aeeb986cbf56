"""The parts of a method, built from their references and bound to a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from pseudolabel_kit.config import MethodConfig
from pseudolabel_kit.engine import guard
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Backbone, Explainer, Fuser, Part, Perturbation, Task
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.reference import parse_list


@dataclass(frozen=True, kw_only=True)
class Method:
    """What `--backbone`, `--explainer`, `--fuser` and `method.perturbation` name.

    Attributes:
        explainers: by the whole reference, in the order given.
        perturbations: applied in turn; empty = the student sees the weak view.
    """

    backbone: Backbone
    explainers: Mapping[str, Explainer]
    fuser: Fuser
    perturbations: tuple[Perturbation, ...]

    @classmethod
    def build(cls, config: MethodConfig) -> Method:
        """Import and build every part that the configuration names.

        Raises:
            ConfigError: a reference is misspelt or an option out of range.
            PluginError: a part is unknown, ambiguous or broken.
        """
        return cls(
            backbone=build("backbone", config.backbone),
            explainers={r: build("explainer", r) for r in _listed("explainer", config.explainer)},
            fuser=build("fuser", config.fuser),
            perturbations=tuple(
                build("perturbation", r) for r in _listed("perturbation", config.perturbation)
            ),
        )

    @property
    def calibrates(self) -> bool:
        """Whether the fuser learns from rows that nothing is trained on."""
        return type(self.fuser).calibrate is not Fuser.calibrate

    @property
    def surveys(self) -> bool:
        """Whether the fuser looks at all rows when a round begins."""
        return type(self.fuser).survey is not Fuser.survey

    @property
    def parts(self) -> dict[str, Part]:
        """Every part, by the role under which a checkpoint keeps its state."""
        parts: dict[str, Part] = {"backbone": self.backbone, "fuser": self.fuser}
        parts |= {f"explainer {i}": e for i, e in enumerate(self.explainers.values())}
        return parts | {f"perturbation {i}": p for i, p in enumerate(self.perturbations)}

    def begin(self, task: Task) -> nn.ModuleDict:
        """Bind every part to the task; the states of those that keep one, by their role."""
        parts = self.parts
        for part in parts.values():
            guard.begin(part, task)
        return nn.ModuleDict({role: p.state for role, p in parts.items() if p.state is not None})


def _listed(kind: str, references: str) -> list[str]:
    try:
        return [str(reference) for reference in parse_list(references)]
    except ConfigError as error:
        raise ConfigError(f"method.{kind} = '{references}': {error}") from None

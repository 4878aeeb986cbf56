"""What a recipe owes."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any, ClassVar

from pseudolabel_kit.errors import ConfigError, UserError
from pseudolabel_kit.layers import resolve
from pseudolabel_kit.plugin.build import build, read_recipe
from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.plugin.reference import parse_list
from pseudolabel_kit.testing.conformance import Conformance
from pseudolabel_kit.testing.fault import ConformanceError, require, sound
from pseudolabel_kit.testing.samples import make_task

PARTS: tuple[Kind, ...] = ("backbone", "explainer", "fuser", "perturbation")
NOT_ITS_OWN = ("seed", "devices", "accelerator", "strategy", "tracker", "checkpoint_every")


class RecipeConformance(Conformance):
    """A file of choices that a run can be made of.

    >>> class TestCalibrated(RecipeConformance):
    ...     reference = "calibrated"
    >>> TestCalibrated().test_every_key_is_known()
    """

    kind: ClassVar[Kind] = "recipe"

    def part(self) -> dict[str, Any]:
        """The recipe's tables."""
        return read_recipe(self.reference)

    def test_every_key_is_known(self) -> None:
        """Its tables resolve to a configuration, which survives being written."""
        try:
            config = resolve(self.part(), {"recipe": self.reference})
        except ConfigError as error:
            raise ConformanceError(
                f"no run can be made of it: {error}",
                "keep to the tables and keys that a run.toml has",
            ) from error
        require(
            resolve(tomllib.loads(config.to_toml())) == config,
            "the configuration is another after being written and read",
            "keep to values that TOML can hold",
        )

    def test_every_part_can_be_made(self) -> None:
        """The parts that it names are installed, and bind to a task."""
        method = self.part().get("method", {})
        for kind in PARTS:
            for reference in parse_list(str(method.get(kind, "none"))):
                try:
                    part: Any = build(kind, reference)
                except UserError as error:
                    raise ConformanceError(
                        f"its {kind} '{reference}' cannot be made: {error}",
                        "name parts of this package or of the kit, or let the package depend on "
                        "the one that brings them",
                    ) from error
                with sound("begin", part):
                    part.begin(make_task())

    def test_it_says_nothing_of_machine_or_data(self) -> None:
        """Data, seed and devices are the user's: a recipe that sets them cannot be compared."""
        tables = self.part()
        theirs = [f"train.{key}" for key in NOT_ITS_OWN if key in tables.get("train", {})]
        theirs += [f"data.{key}" for key in tables.get("data", {})]
        require(not theirs, f"it sets {', '.join(theirs)}", "leave these to the command line")

    def test_it_says_what_it_is(self) -> None:
        """The file begins with a comment that says where it comes from."""
        package, _, path = (
            catalogue().find("recipe", self.reference).component.target.partition(":")
        )
        text = files(package).joinpath(path).read_text(encoding="utf-8")
        require(
            text.lstrip().startswith("#"),
            "the file has no comment on top",
            "say in a first line which method this is, and where it differs from its publication",
        )

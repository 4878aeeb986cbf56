"""A row of a comparison: one method or setting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from pseudolabel_kit.config import Config, Section
from pseudolabel_kit.errors import nearest
from pseudolabel_kit.layers import Layer, overlay


def configuring(tables: Layer) -> Layer:
    """The same tables.

    Raises:
        ValueError: one is no table of a configuration; the nearest is named.
    """
    for key in tables:
        if key not in Config.model_fields:
            hint = nearest(key, Config.model_fields)
            raise ValueError(f"there is no key '{key}' in a configuration{hint}")
    return tables


Tables = Annotated[Mapping[str, Any], AfterValidator(configuring)]


class Row(Section):
    """One method or setting: a name, and a configuration over a recipe.

    Attributes:
        name: what tables call it; its letters and digits name its folder.
        note: a word beside the name, as "supervised".
        x: where it stands on the axis of a sweep.
        y: where it stands on the other axis, of a map.
        minus: the row that it is compared with on the map.
        quick: tables laid over this row under --quick, after the comparison's own.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = ""
    note: str = ""
    x: float | None = None
    y: float | None = None
    minus: str = ""
    quick: Tables = Field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The tables of the configuration that stand in the row."""
        return dict(self.model_extra or {})

    @property
    def slug(self) -> str:
        """The row's folder: the name in small letters, digits and dashes.

        >>> Row(name="PseudoSeg (ours)").slug
        'pseudoseg-ours'
        """
        return re.sub(r"[\W_]+", "-", self.name.lower()).strip("-")

    def under(self, layer: Layer) -> Row:
        """The row with tables of a configuration laid over its own."""
        return Row.model_validate(overlay(self.model_dump(), layer))

    @model_validator(mode="before")
    @classmethod
    def _named_by_its_recipe(cls, table: Any) -> Any:
        return {"name": table.get("recipe", ""), **table} if isinstance(table, dict) else table

    @model_validator(mode="after")
    def _knows_its_keys(self) -> Self:
        known = [*type(self).model_fields, *Config.model_fields]
        for key in self.settings:
            if key not in known:
                raise ValueError(f"there is no key '{key}'{nearest(key, known)}")
        if not self.slug:
            raise ValueError("it has no name: expected a name or a recipe")
        if self.minus and (self.x is None or self.y is None):
            raise ValueError("minus needs x and y: where on the map the difference stands")
        return self

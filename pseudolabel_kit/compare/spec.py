"""What is compared with what: rows of configurations, seeds, one split, some measures.

title = "Two ways"
seeds = [0, 1, 2]
against = "Supervised"

[common]                        # laid over the recipe of every row
train.epochs = 12

[quick]                         # laid over the rows under --quick
train.steps = 4

[[row]]
name = "Supervised"
recipe = "supervised"

[[row]]
name = "Ours, unsharpened"      # any key of a configuration stands in the row's own table
method.fuser = "sharpen:temperature=1"
quick.method.backbone = "vgg-multiscale:width=0.0625"
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from pseudolabel_kit.compare.row import Row, Tables, configuring
from pseudolabel_kit.config import Config, Section
from pseudolabel_kit.engine.run import configure
from pseudolabel_kit.errors import ConfigError, PluginError, nearest
from pseudolabel_kit.layers import Layer, overlay, read_toml
from pseudolabel_kit.report.words import EVERY


def _known_measure(name: str) -> str:
    if name not in EVERY:
        hint = nearest(name, EVERY) or f"; expected one of {', '.join(EVERY)}"
        raise ValueError(f"there is no measure '{name}'{hint}")
    return name


Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
Measures = Annotated[
    tuple[Annotated[str, AfterValidator(_known_measure)], ...], Field(min_length=1)
]

_LISTS = {"seeds": "[0, 1, 2]", "quick_seeds": "[0]", "measures": '["dice", "auc"]'}


class Spec(Section):
    """A comparison: every row is trained with every seed and measured on one split.

    Attributes:
        against: the row that the others are compared with; the first where none is named.
        measures: what tables show, in their order.
        x_label, y_label: what `x` and `y` of the rows mean, in a sweep and on a map.
        common: tables laid over the recipe of every row.
        quick: tables laid over the rows under --quick, and `quick_seeds` take their turn.
        rows: written `[[row]]` in TOML.
    """

    title: str = ""
    note: str = ""
    seeds: Seeds = (0, 1, 2)
    split: Literal["labelled", "unlabelled", "val", "test"] = "test"
    against: str = ""
    measures: Measures = ("dice", "dice_image", "miou", "accuracy", "auc")
    x_label: str = ""
    y_label: str = ""
    common: Tables = Field(default_factory=dict)
    quick: Tables = Field(default_factory=dict)
    quick_seeds: Seeds = (0,)
    rows: tuple[Row, ...] = Field(alias="row", min_length=1)
    _origin: str = PrivateAttr("")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _refuse_twins(self.rows)
        for seeds in (self.seeds, self.quick_seeds):
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"seeds = {list(seeds)}: expected each of them once")
        names = [row.name for row in self.rows]
        if self.against and self.against not in names:
            hint = nearest(self.against, names) or f"; the rows are {', '.join(names)}"
            raise ValueError(f"against: there is no row '{self.against}'{hint}")
        _refuse_crowding(self.rows)
        for row in self.rows:
            if row.minus and row.minus not in names:
                hint = nearest(row.minus, names)
                raise ValueError(f"row '{row.name}': minus: there is no row '{row.minus}'{hint}")
        return self

    @property
    def origin(self) -> str:
        """The file that it stands in, or its title."""
        return self._origin or self.title

    @property
    def baseline(self) -> Row:
        """The row that the others are compared with."""
        return next((row for row in self.rows if row.name == self.against), self.rows[0])

    def config(self, row: Row, seed: int) -> Config:
        """The configuration of a cell.

        Raises:
            ConfigError, PluginError: it names the row and what is wrong with it.
        """
        try:
            settings = overlay(self.common, row.settings)
            if "seed" in settings.get("train", {}):
                raise ConfigError("train.seed stands in the way of the comparison's own seeds")
            return configure(settings, {"train": {"seed": seed}})
        except (ConfigError, PluginError) as error:
            told = str(error).removeprefix("the configuration: ")
            raise type(error)(f"{self.where(row.name)}: {told}") from error

    def where(self, row: str) -> str:
        """A row and the file that it stands in, for what is said of its mistakes."""
        return f"{self.origin}: row '{row}'".removeprefix(": ")

    def quickened(self) -> Spec:
        """The comparison's --quick form.

        Raises:
            ConfigError: it has none.
        """
        if not self.quick and not any(row.quick for row in self.rows):
            raise ConfigError(
                f"{self.origin}: --quick: there is no [quick] table to lay over the rows; "
                "write one in a SPEC.toml"
            )
        rows = [row.under(self.quick).under(row.quick) for row in self.rows]
        return self.changed(seeds=self.quick_seeds, rows=rows)

    def overlaid(self, layer: Layer) -> Spec:
        """The comparison with a layer over every row, as --set gives one.

        Raises:
            ConfigError: it holds what is no table or key of a configuration.
        """
        try:
            configuring(layer)
        except ValueError as error:
            raise ConfigError(f"--set: {error}") from None
        return self.changed(rows=[row.under(layer) for row in self.rows])

    def resolved(self) -> Spec:
        """The comparison with `common` worked into its rows, and `quick` left behind."""
        tables = [overlay(self.common, row.model_dump(exclude={"quick"})) for row in self.rows]
        against = self.baseline.name
        return self.changed(common={}, quick={}, rows=tables, against=against)

    def changed(self, **values: Any) -> Spec:
        """A copy with other values, checked like the original."""
        kept = {name: getattr(self, name) for name in type(self).model_fields} | values
        return _validated({("row" if k == "rows" else k): v for k, v in kept.items()}, self.origin)

    def to_toml(self) -> str:
        """TOML that `read_spec` turns into an equal comparison."""
        return tomli_w.dumps(_without_empty(self.model_dump(mode="json", by_alias=True)))


def read_spec(path: Path) -> Spec:
    """The comparison that a TOML file describes; its name is the title where it has none.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value out of range.
    """
    return _validated({"title": path.stem, **read_toml(path)}, str(path))


def spec_of(recipes: Sequence[str], kind: str = "fuser", parts: Sequence[str] = ()) -> Spec:
    """The comparison of recipes, then of parts in the default recipe; the first is the baseline.

    Raises:
        ConfigError: one is named twice.
    """
    tables: list[Layer] = [{"name": name, "recipe": name} for name in recipes]
    tables += [{"name": name, "method": {kind: name}} for name in parts]
    origin = " and ".join(["--recipe"] * bool(recipes) + [f"--{kind}"] * bool(parts))
    return _validated({"title": ", ".join([*recipes, *parts]), "row": tables}, origin)


def _validated(tables: Layer, origin: str) -> Spec:
    try:
        spec = Spec.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error)}") from None
    spec._origin = origin
    return spec


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = _key(first["loc"])
    told = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"there is no key '{key}'{nearest(key, _keys())}"
    if key == "row":
        return "there is no [[row]] to compare"
    if first["type"] == "value_error":
        return f"{key}: {told}" if key else told
    if key in _LISTS and first["type"] in ("tuple_type", "too_short"):
        told = f"expected a list like {_LISTS[key]}"
    return f"{key} = {first['input']!r}: {told[0].lower()}{told[1:]}"


def _key(place: tuple[int | str, ...]) -> str:
    """Where a mistake lies, as a person would say it: row 2.x, seeds."""
    if place[:1] == ("row",) and len(place) > 1:
        return ".".join([f"row {int(place[1]) + 1}", *map(str, place[2:])])
    return ".".join(part for part in place if isinstance(part, str))


def _keys() -> list[str]:
    return [field.alias or name for name, field in Spec.model_fields.items()]


def _refuse_twins(rows: Iterable[Row]) -> None:
    taken: dict[str, str] = {}
    for row in rows:
        if row.slug in taken:
            raise ValueError(
                f"the rows '{taken[row.slug]}' and '{row.name}' would share the folder "
                f"'{row.slug}': expected names that differ in a letter or digit"
            )
        taken[row.slug] = row.name


def _refuse_crowding(rows: Iterable[Row]) -> None:
    taken: dict[tuple[float | None, float | None], str] = {}
    for row in (row for row in rows if row.minus):
        first = taken.setdefault((row.x, row.y), row.name)
        if first != row.name:
            raise ValueError(
                f"the rows '{first}' and '{row.name}' would share a place on the map: "
                "expected one row with minus for each x and y"
            )


def _without_empty(tables: Any) -> Any:
    """TOML knows no null, and what is empty is the default."""
    if isinstance(tables, dict):
        kept = {key: _without_empty(value) for key, value in tables.items()}
        return {key: value for key, value in kept.items() if value not in (None, {}, "")}
    return [_without_empty(each) for each in tables] if isinstance(tables, list) else tables

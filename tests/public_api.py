"""Everything that users and authors may build on, one line each: `python tests/public_api.py`.

It writes public_api.txt beside this file. A line that goes or changes there breaks somebody.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from typer.main import get_command

from pseudolabel_kit.cli import main
from pseudolabel_kit.config import Config
from pseudolabel_kit.plugin.hooks import HOOKS, Hooks
from pseudolabel_kit.plugin.options import describe

SNAPSHOT = Path(__file__).with_name("public_api.txt")
KIT = "pseudolabel_kit"
MODULES = (
    *(KIT, f"{KIT}.plugin", f"{KIT}.interfaces", f"{KIT}.errors", f"{KIT}.losses"),
    *(f"{KIT}.evidence", f"{KIT}.attribution", f"{KIT}.weights", f"{KIT}.isolate"),
    f"{KIT}.testing",
)


def public_api() -> Iterator[str]:
    """Names with their parameters and fields, hooks, commands with options, configuration keys."""
    public = {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in map(import_module, MODULES)
        for name in names(module)
    }
    for path, value in public.items():
        yield from described(path, value)
    for base in hidden_bases(public.values()):
        yield from described(f"{base.__module__}.{base.__qualname__}", base)
    for hook in HOOKS:
        yield f"hook {hook}{signature(getattr(Hooks, hook))}"
    yield from commands("plk", get_command(main.app))
    for name in main.COMMANDS:
        yield from commands(f"plk {name}", get_command(import_module(f"{KIT}.cli.{name}").app))
    yield from keys(Config)


def names(module: types.ModuleType) -> list[str]:
    """What a module says is public, or else what it defines and does not hide."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    found = set()
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    public = {name for name in found if not name.startswith("_")}
    return sorted(n for n in public if not isinstance(getattr(module, n), typing.TypeVar))


def hidden_bases(values: Iterable[Any]) -> list[type[Any]]:
    """Classes of ours without a public name, whose members some public class hands on."""
    public = [value for value in values if inspect.isclass(value)]
    bases = {base for cls in public for base in cls.__mro__ if base.__module__.startswith(KIT)}
    return sorted(bases.difference(public), key=lambda base: (base.__module__, base.__qualname__))


def described(path: str, value: Any) -> Iterator[str]:
    """A class with its fields and methods, a function with its parameters, a value."""
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {path}({bases})"
        yield from members(path, value)
    elif inspect.isfunction(inspect.unwrap(value)):
        yield f"{path}{signature(value)}"
    elif path.endswith("__version__") or type(value).__module__ == "pluggy._decorators":
        yield path
    else:
        typed = typing.get_origin(value) is typing.Annotated
        yield f"{path} = {describe(value) if typed else value}"


def members(path: str, cls: type[Any]) -> Iterator[str]:
    """What a class itself adds to its bases, in its own order: fields may be positional."""
    for name, annotation in inspect.get_annotations(cls).items():
        default = vars(cls).get(name, inspect.Parameter.empty)
        optional = "" if default is inspect.Parameter.empty else f" = {default!r}"
        yield f"{path}.{name}: {annotation}{optional}"
    made = dataclasses.is_dataclass(cls) or getattr(cls, "_is_protocol", False)
    for name, value in vars(cls).items():
        duty = " (must be written)" if getattr(value, "__isabstractmethod__", False) else ""
        hidden = name.startswith("_") and name not in ({"__call__"} if made else {"__init__"})
        if isinstance(value, property):
            yield f"{path}.{name}: {inspect.signature(value.fget).return_annotation}{duty}"
        elif inspect.isfunction(value) and not hidden:
            yield f"{path}.{name}{signature(value)}{duty}"


def signature(function: Any) -> str:
    """Parameters as they are written, without quotes around the types."""
    found = inspect.signature(function)
    bare = [
        each.replace(annotation=_Written(each.annotation))
        if each.annotation is not each.empty
        else each
        for each in found.parameters.values()
    ]
    returned = found.return_annotation
    arrow = "" if returned is found.empty else f" -> {returned}"
    return f"{found.replace(parameters=bare, return_annotation=found.empty)}{arrow}"


class _Written:
    """An annotation that is shown as its text."""

    def __init__(self, text: object) -> None:
        self._text = str(text)

    def __repr__(self) -> str:
        return self._text


def commands(path: str, command: Any) -> Iterator[str]:
    """A command or a group of them, with the names of options and arguments."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(f"{path} {name}", inner)
    for each in command.params:
        if each.name != "help":
            named = each.opts[0].startswith("-")
            text = " ".join([*each.opts, *each.secondary_opts]) if named else each.name.upper()
            yield f"{path} {text}"


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of the configuration with its type and default."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield f"config {prefix}{name}: {describe(kind)} = {field.default!r}"


if __name__ == "__main__":
    SNAPSHOT.write_text("\n".join(public_api()) + "\n", encoding="utf-8")
    sys.stdout.write(f"{SNAPSHOT}\n")

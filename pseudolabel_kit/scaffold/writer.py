"""From templates to the folder of a distribution, which is whole or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pseudolabel_kit import __version__
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.plugin.component import CONTRACT, Kind
from pseudolabel_kit.scaffold.names import Names

SUMMARIES: dict[Kind, str] = {
    "backbone": "Three convolutions, a class head and a decoder.",
    "explainer": "Gradients of the class score, averaged over dimmed copies of the image.",
    "fuser": "Soft labels between the decoder's answer and the evidence.",
    "perturbation": "Random gamma for every row.",
    "dataset": "Bright discs in noise, made on the fly.",
    "recipe": "Unsharpened labels from an averaged teacher.",
    "tracker": "Writes each loss into a CSV file of the run's folder.",
}
TRAIN: dict[Kind, str] = {
    "backbone": "--backbone",
    "explainer": "--explainer",
    "fuser": "--fuser",
    "perturbation": "--set method.perturbation=",
    "dataset": "--data",
    "recipe": "--recipe",
    "tracker": "--tracker",
}
COMPARED = ("backbone", "explainer", "fuser", "perturbation")  # beside shipped ones, by a file


def write(names: Names, folder: Path) -> None:
    """Write the distribution into `folder`.

    Raises:
        ConfigError: the folder exists, or it cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder} exists: expected a folder that is not there yet (see --out)")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        for path, text in rendered(names):
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).write_text(text, encoding="utf-8")
        aside.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def rendered(names: Names) -> Iterator[tuple[str, str]]:
    """Every file of the distribution: its path in the folder and its text."""
    templates = Environment(
        loader=PackageLoader("pseudolabel_kit.scaffold"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Python and TOML, not HTML; names hold letters, digits and dashes
    )
    facts = {
        "kind": names.kind,
        "name": names.name,
        "package": names.package,
        "part": names.part,
        "target": target(names),
        "summary": SUMMARIES[names.kind],
        "train": training(names),
        "compared": names.kind in COMPARED,
        "version": __version__,
        "contract": CONTRACT,
    }
    for path, template in files(names):
        yield path, templates.get_template(template).render(facts) if template else ""


def target(names: Names) -> str:
    """Where the component points: a class, or a recipe's file."""
    if names.kind == "recipe":
        return f"{names.package}:{names.name}.toml"
    return f"{names.package}.{names.kind}:{names.part}"


def training(names: Names) -> str:
    """The command that trains with the part for a moment."""
    flag = TRAIN[names.kind]
    return f"plk train {flag}{'' if flag.endswith('=') else ' '}{names.name} --steps 50"


def method_file(names: Names) -> str:
    """The file that an author will change first."""
    ending = f"{names.name}.toml" if names.kind == "recipe" else f"{names.kind}.py"
    return f"{names.package}/{ending}"


def light_file(names: Names) -> str:
    """The file that names the part, with its line for lists."""
    return f"{names.package}/__init__.py"


def files(names: Names) -> Iterator[tuple[str, str]]:
    """Paths with their templates; without one the file is empty."""
    yield "pyproject.toml", "pyproject.toml.j2"
    yield "README.md", "README.md.j2"
    yield ".gitignore", "gitignore.j2"
    yield light_file(names), "package.py.j2"
    yield f"{names.package}/py.typed", ""
    yield method_file(names), f"{names.kind}.{'toml' if names.kind == 'recipe' else 'py'}.j2"
    yield f"tests/test_{names.package}.py", f"test_{names.kind}.py.j2"
    if names.kind in COMPARED:
        yield "compare.toml", "compare.toml.j2"

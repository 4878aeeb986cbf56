"""The site: `sphinx-build -W --keep-going -b html docs OUT`. Nothing in it needs a network."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Any

from pygments.lexers.special import TextLexer

project = "pseudolabel-kit"
author = "the authors of pseudolabel-kit"
version = release = installed("pseudolabel-kit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3  # links to headings, as on the pages of a repository

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_attr_annotations = False  # the signature tells types
napoleon_custom_sections = [("Attributes", "params_style")]  # else they are called variables
default_role = "code"  # docstrings write `names` as Markdown does

nitpick_ignore = [("myst", "examples/third_party")]  # in the repository, not in the site

html_theme = "furo"
html_title = f"pseudolabel-kit {version}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

GIVEN = {"Catalogue", "Evaluation", "Model", "Offer", "Predictor", "Run"}  # nobody makes them


def setup(app: Any) -> None:
    """What the extensions do not know by themselves."""
    app.add_lexer("csv", TextLexer)
    app.connect("autodoc-process-docstring", summarise)
    app.connect("autodoc-process-signature", sign)


def summarise(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Of a module's docstring the first line: what follows is laid out for readers of the code."""
    if what == "module":
        del lines[1:]


def sign(
    app: Any, what: str, name: str, thing: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """No signature where readers are given the object: how the kit makes it is its own affair."""
    return ("", "") if what == "class" and name.rpartition(".")[2] in GIVEN else None

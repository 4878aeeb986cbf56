"""What a new plugin is called: refused where it could not be installed beside the others."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from keyword import iskeyword

from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.plugin.catalogue import Catalogue
from pseudolabel_kit.plugin.component import Kind

LONGEST = 30  # so that the lines it stands in are not too long
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SPOKEN_FOR = {"all", "none", "build", "dist", "tests"}  # words of ours, folders of setuptools


@dataclass(frozen=True)
class Names:
    """One name in the forms that a package needs.

    >>> names = Names("fuser", "soft-mean")
    >>> names.package, names.part
    ('soft_mean', 'SoftMeanFuser')
    """

    kind: Kind
    name: str

    @property
    def package(self) -> str:
        """The package to import."""
        return self.name.replace("-", "_")

    @property
    def part(self) -> str:
        """The part's class; it ends in its kind, so that it hides nothing it imports."""
        camel = "".join(piece.capitalize() for piece in self.name.split("-"))
        kind = self.kind.capitalize()
        return camel if camel.endswith(kind) and camel != kind else camel + kind


def checked(kind: Kind, name: str, installed: Catalogue) -> Names:
    """The names of a new plugin.

    Raises:
        ConfigError: the name is malformed, taken, or no package's.
    """
    names = Names(kind, name)
    if why := _malformed(name) or _taken(names, installed) or _unimportable(names.package):
        raise ConfigError(f"{name!r} cannot be the name of a new plugin: {why}")
    return names


def _malformed(name: str) -> str:
    if _NAME.fullmatch(name):
        return f"it is longer than {LONGEST} letters" if len(name) > LONGEST else ""
    dashed = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
    better = re.sub(r"[^a-z0-9]+", "-", dashed).lstrip("-0123456789").rstrip("-")
    hint = f" (try '{better}')" if _NAME.fullmatch(better) else ""
    return f"expected small letters, digits and single dashes, a letter first{hint}"


def _taken(names: Names, installed: Catalogue) -> str:
    for offer in installed.offers(names.kind):
        if offer.component.name == names.name:
            return f"plugin '{offer.plugin}' offers a {names.kind} of this name"
    taken = {plugin.name for plugin in installed.plugins} | set(installed.disabled)
    taken |= {plugin.name for plugin in installed.broken}
    return "a plugin of this name is installed" if names.name in taken else ""


def _unimportable(package: str) -> str:
    if iskeyword(package) or package in _SPOKEN_FOR:
        return "the word has a meaning of its own"
    if package in sys.stdlib_module_names or find_spec(package) is not None:
        return f"its package would hide the module '{package}' that is installed"
    return ""

"""References: how parts are named on the command line, in TOML and in results.

    list       = "none" | reference { "," reference }
    reference  = [ plugin "/" ] name { ":" option "=" value }

Names are letters, digits, '.', '_' and '-'; a value is anything without ':' and ','.
Nothing is rewritten: the text of what was parsed is the text that was given.
"""

from __future__ import annotations

from dataclasses import dataclass

from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.plugin.component import NAME


@dataclass(frozen=True)
class Reference:
    """A part's name, perhaps with its plugin, and the options that differ from its defaults.

    Attributes:
        name: "sharpen", or "calibrated/sharpen" where two plugins offer one name.
        options: (option, value) as they were written.

    Raises:
        ConfigError: a name is malformed, or an option is malformed or given twice.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        pieces = self.name.split("/")
        if len(pieces) > 2 or not all(NAME.fullmatch(piece) for piece in pieces):
            raise self._refuse(f"{self.name!r} is not a part's name")
        seen = set()
        for key, value in self.options:
            if not key.isidentifier():
                raise self._refuse(f"{key!r} is not an option's name")
            if key in seen:
                raise self._refuse(f"option '{key}' is given twice")
            if ":" in value or "," in value:
                raise self._refuse(f"the value of '{key}' holds ':' or ','")
            seen.add(key)

    def _refuse(self, why: str) -> ConfigError:
        return ConfigError(f"reference '{self}': {why}; expected name:option=value:option=value")

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{key}={value}" for key, value in self.options)])


def parse(text: str) -> Reference:
    """Read one reference.

    >>> parse("sharpen:norm=pixel:ratios=0.3/0.4/0.4").options
    (('norm', 'pixel'), ('ratios', '0.3/0.4/0.4'))

    Raises:
        ConfigError: the text does not follow the grammar.
    """
    if "," in text:
        raise ConfigError(f"reference '{text}': expected one part, not a list")
    name, *assignments = text.split(":")
    options = []
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"reference '{text}': {assignment!r} is not option=value")
        options.append((key, value))
    return Reference(name, tuple(options))


def parse_list(text: str) -> tuple[Reference, ...]:
    """Read references separated by commas; "none" alone is the empty list.

    >>> [str(reference) for reference in parse_list("ig:steps=8,caam")]
    ['ig:steps=8', 'caam']

    Raises:
        ConfigError: a reference is malformed or stands there twice.
    """
    if text == "none":
        return ()
    references = tuple(parse(piece) for piece in text.split(","))
    for position, reference in enumerate(references):
        if reference in references[:position]:
            raise ConfigError(f"list '{text}': '{reference}' is given twice")
        if reference.name == "none":
            raise ConfigError(f"list '{text}': 'none' stands alone or not at all")
    return references

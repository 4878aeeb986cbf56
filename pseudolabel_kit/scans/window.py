"""Windows: which Hounsfield units become which grey values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.errors import ConfigError, nearest


@dataclass(frozen=True)
class Window:
    """Grey runs from level - width / 2, which is black, to level + width / 2, which is white.

    Attributes:
        level: HU.
        width: HU, above 0.
    """

    level: float
    width: float

    @classmethod
    def parse(cls, text: str) -> Window:
        """A window by its name or as "LEVEL/WIDTH", as "-600/1500".

        Raises:
            ConfigError: it is neither.
        """
        if text in WINDOWS:
            return WINDOWS[text]
        try:
            level, width = (float(part) for part in text.split("/"))
        except ValueError:
            known = f"{', '.join(WINDOWS)} or LEVEL/WIDTH, as -600/1500"
            raise ConfigError(
                f"there is no window '{text}'{nearest(text, WINDOWS)}; expected {known}"
            ) from None
        if not (np.isfinite(level) and 0 < width < np.inf):
            raise ConfigError(f"window '{text}': expected a width above 0")
        return cls(level, width)

    @property
    def black(self) -> float:
        """The value that is black, HU."""
        return self.level - self.width / 2

    def grey(self, values: NDArray[np.floating[Any]], bits: int) -> NDArray[Any]:
        """Values as grey of 8 or 16 bits, clipped to the window."""
        share = np.clip((values - self.black) / self.width, 0, 1)
        levels: NDArray[Any] = np.rint(share * (2**bits - 1))
        return levels.astype(np.uint8 if bits == 8 else np.uint16)


WINDOWS = {"lung": Window(-600, 1500), "mediastinal": Window(40, 400)}
GREY = Window(127.5, 255)  # of a volume that holds grey values of 8 bits instead of HU

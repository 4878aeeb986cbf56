"""Windows: which values of a scan, in CT Hounsfield units, become which grey values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

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
            known = f"{', '.join(WINDOWS)}, {PERCENTILE} or LEVEL/WIDTH, as -600/1500"
            raise ConfigError(
                f"there is no window '{text}'{nearest(text, WINDOWS)}; expected {known}"
            ) from None
        if not (np.isfinite(level) and 0 < width < np.inf):
            raise ConfigError(f"window '{text}': expected a width above 0")
        return cls(level, width)

    def of(self, values: NDArray[Any]) -> Window:
        """The window that a scan of these values is shown in: this one."""
        return self

    @property
    def black(self) -> float:
        """The value that is black, HU."""
        return self.level - self.width / 2

    def grey(self, values: NDArray[np.floating[Any]], bits: int) -> NDArray[Any]:
        """Values as grey of 8 or 16 bits, clipped to the window."""
        share = np.clip((values - self.black) / self.width, 0, 1)
        levels: NDArray[Any] = np.rint(share * (2**bits - 1))
        return levels.astype(np.uint8 if bits == 8 else np.uint16)


@dataclass(frozen=True)
class Percentiles:
    """A window for values without a unit, as of MRI: between two percentiles of each scan.

    Attributes:
        low: what is black, from 0 to 100.
        high: what is white, above `low`.
    """

    low: float
    high: float

    def of(self, values: NDArray[Any]) -> Window:
        """The window that a scan of these values is shown in."""
        black, white = np.percentile(values, (self.low, self.high)).tolist()
        return Window((black + white) / 2, max(white - black, LEAST))


LEAST = 1e-6  # width of a scan of one value
PERCENTILE = "percentile"
Wanted: TypeAlias = Window | Percentiles


def wanted(text: str) -> Wanted:
    """A window as `Window.parse` reads it, or "percentile".

    Raises:
        ConfigError: it is neither.
    """
    return Percentiles(0.5, 99.5) if text == PERCENTILE else Window.parse(text)


WINDOWS = {"lung": Window(-600, 1500), "mediastinal": Window(40, 400)}
GREY = Window(127.5, 255)  # of a volume that holds grey values of 8 bits instead of HU

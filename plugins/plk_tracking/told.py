"""What trackers are told: figures by name, the configuration as text, and never a patient.

No image, no file name and nothing of a row reaches a tracker: it hears means over a batch and
measures of a split. Folders of absolute paths, which may name people and machines, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pseudolabel_kit.interfaces import PseudoLabels
from pseudolabel_kit.plugin import Run
from pseudolabel_kit.plugin.options import to_text

if TYPE_CHECKING:
    from torch import Tensor

Setting: TypeAlias = str | int | float | bool

# A path begins where no word, no dot and no other slash stands before it: not in "captum/ig".
_BEGIN = r"(?<![\w./\\~-])(?:~|[A-Za-z]:)?[\\/]"
_FOLDERS = re.compile(_BEGIN + r"(?:[^\\/:,'\"\s][^\\/:,'\"\n]*[\\/])*(?=[^\\/\s])")


def settings(run: Run) -> dict[str, Setting]:
    """The configuration by dotted key; what is neither a number nor a truth value is text.

    {"train.steps": 400, "method.fuser": "sharpen", "optimiser.betas": "0.5/0.9", ...}
    """
    return dict(_flat(run.config.model_dump(mode="json")))


def name(run: Run) -> str:
    """The run's folder and the one above, as they were given: "runs/first", "sharpen/seed0"."""
    return "/".join(run.folder.parts[-2:])


def without_folders(text: str) -> str:
    """A text whose absolute paths have lost their folders.

    >>> without_folders("/home/maria/ct/manifest.csv"), without_folders("captum/ig:steps=8")
    ('…/manifest.csv', 'captum/ig:steps=8')
    """
    return _FOLDERS.sub("…/", text)


def shares(pseudo: PseudoLabels) -> dict[str, Tensor]:
    """What a step's pseudo labels say of themselves; each () on their device.

    mean_label: the mean target; foreground: the share of pixels whose target is 0.5 or more;
    coverage: the share of pixels with a weight, or of images where no mask is taught.
    """
    if pseudo.mask is None or pseudo.mask_weight is None:
        weight = pseudo.label_weight
        return {} if weight is None else {"coverage": (weight > 0).float().mean()}
    return {
        "mean_label": pseudo.mask.float().mean(),
        "foreground": (pseudo.mask >= 0.5).float().mean(),
        "coverage": (pseudo.mask_weight > 0).float().mean(),
    }


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float):
            yield f"{prefix}{key}", value
        else:
            yield f"{prefix}{key}", without_folders(to_text(value))

"""Makes one sample fit the packed arrays: resized, in the dataset's common layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Row, Sample

Pixels = NDArray[np.unsignedinteger[Any]]
Kind = TypeVar("Kind", bound=np.generic)


SMALLEST = 16  # px a side, below which an image is not enlarged


class Packed(NamedTuple):
    """One row as it is stored: image (C,H,W), mask (K,H,W), region (1,H,W)."""

    image: Pixels
    mask: NDArray[np.uint8] | None
    region: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Layout:
    """What all rows of a pack have in common; zeros and "" are not known yet.

    Attributes:
        channels: 1 or 3; colour images whose channels are equal count as grey.
        coloured: the row that settled the channels.
        deep: more than 8 bits are needed.
        size: (H, W).
        sized: the row that settled the size.
        mask_channels: K.
    """

    channels: int = 0
    coloured: str = ""
    deep: bool = False
    size: tuple[int, int] = (0, 0)
    sized: str = ""
    mask_channels: int = 0


class WiderLayoutError(Exception):
    """A row needs more than the rows before it were stored with."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout


def fit(
    row: Row, sample: Sample, layout: Layout, *, size: int, region: Literal["keep", "black"]
) -> tuple[Layout, Packed]:
    """The sample as it is stored, and the layout with what this row settles.

    Images are resized with antialiased bilinear weights, masks and regions to the nearest
    pixel; an image that is not square is stretched. `size` 0 keeps sizes, which must be alike.

    Raises:
        DataError: the sample differs from the rows before it, or lacks a region to blacken.
        WiderLayoutError: the rows before it must be stored again in a wider layout.
    """
    layout = _settle(row, sample, layout, size)
    shape = layout.size
    check_side(row.name, sample.image.shape, shape)
    image = sample.image[: layout.channels]
    if region == "black":
        image = image * _required_region(row, sample)
    top = 65535 if layout.deep else 255
    resized = np.clip(resize(image, shape), 0, 1)
    stored: Pixels = np.rint(resized * top).astype(np.uint16 if layout.deep else np.uint8)
    return layout, Packed(stored, _nearest(sample.mask, shape), _nearest(sample.region, shape))


def check_side(name: str, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Refuse an image (...,h,w) too small to be enlarged to `size`: it has nothing to show.

    Raises:
        DataError: a side is to grow and has less than 16 px; names the file.
    """
    if any(side < min(wanted, SMALLEST) for side, wanted in zip(shape[-2:], size, strict=True)):
        raise DataError(f"{name}: {_size(shape)}: expected at least {SMALLEST} px a side")


def _settle(row: Row, sample: Sample, layout: Layout, size: int) -> Layout:
    layout = _settle_values(row, sample.image, layout)
    height, width = (size, size) if size else sample.image.shape[1:]
    if not layout.sized:
        layout = replace(layout, size=(height, width), sized=row.name)
    elif (height, width) != layout.size:
        raise DataError(
            f"{layout.sized} is {_size(layout.size)} but {row.name} is {_size((height, width))}; "
            "resize all with --set data.size=224"
        )
    if sample.mask is None:
        return layout
    if layout.mask_channels not in (0, len(sample.mask)):
        raise DataError(
            f"{row.name}: its mask has {len(sample.mask)} channels, "
            f"masks before it have {layout.mask_channels}"
        )
    return replace(layout, mask_channels=len(sample.mask))


def _settle_values(row: Row, image: NDArray[np.float32], layout: Layout) -> Layout:
    deep = not _is_8bit(image)
    grey = bool((image == image[:1]).all())
    if not layout.coloured:
        channels = 1 if grey else len(image)
        return replace(layout, channels=channels, coloured=row.name, deep=layout.deep or deep)
    if len(image) < layout.channels:
        raise DataError(
            f"{layout.coloured} is in colour but {row.name} is grey; expected all of one kind"
        )
    if not grey and layout.channels < len(image):
        raise WiderLayoutError(Layout(len(image), row.name, layout.deep or deep))
    if deep and not layout.deep:
        raise WiderLayoutError(Layout(layout.channels, layout.coloured, deep=True))
    return layout


def _required_region(row: Row, sample: Sample) -> NDArray[np.bool_]:
    if sample.region is None:
        raise DataError(
            f"{row.name} has no region, so nothing says what data.region = black should "
            "blacken; use --set data.region=keep"
        )
    return sample.region


def _is_8bit(image: NDArray[np.float32]) -> bool:
    levels = image * np.float32(255)
    return bool((np.abs(levels - np.rint(levels)) < 1e-3).all())


def resize(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Planes (C,h,w) stretched to (C,*size), with antialiased bilinear weights."""
    if image.shape[-2:] == size:
        return image
    height, width = size
    planes = [
        Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in image
    ]
    return np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])


def square(planes: NDArray[Kind]) -> NDArray[Kind]:
    """Planes (...,h,w) with black added evenly around them, until they are square."""
    side = max(planes.shape[-2:])
    rows, columns = inside_square(planes.shape[-2:])
    room = [(each.start, side - each.stop) for each in (rows, columns)]
    return np.pad(planes, [(0, 0)] * (planes.ndim - 2) + room)


def inside_square(size: tuple[int, ...]) -> tuple[slice, slice]:
    """Where rows and columns of (h,w) lie in what `square` makes of them."""
    rows, columns = (slice(before := (max(size) - length) // 2, before + length) for length in size)
    return rows, columns


def _nearest(planes: NDArray[np.bool_] | None, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    if planes is None:
        return None
    height, width = size
    rows = (np.arange(height) + 0.5) * planes.shape[-2] / height
    columns = (np.arange(width) + 0.5) * planes.shape[-1] / width
    picked = planes[:, rows.astype(np.intp)][:, :, columns.astype(np.intp)]
    return picked.astype(np.uint8)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}x{shape[-2]} px"

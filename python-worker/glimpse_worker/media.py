"""
Bytes of one picture → the picture, upright and RGB. Pillow only, from memory only; no path or URL is ever
opened.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from .failure import WorkerFailure
from .preprocessing import MAX_ASPECT_RATIO, aspect_ratio_fits
from .protocol import WarningCode

MAX_PIXELS = 100_000_000
# An MPO file (a JPEG with more views behind it) is opened by the JPEG reader.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MediaKind = Literal["image", "video"]

# MAX_PIXELS, checked from the header below, replaces Pillow's own bomb check, which warns on stderr at 89
# megapixels.
Image.MAX_IMAGE_PIXELS = None
# Pillow refuses a whole PNG for one chunk with more than 1 MiB of metadata or colour profile, once unpacked;
# editors write more. All text together stays below Pillow's own 64 MiB.
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PictureWarning:
    """
    `message` goes on where `picture_name` ends: the same bytes may have another name in the next request.
    `frame` is the picture's index in a video.
    """

    code: WarningCode
    message: str
    frame: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """
    What the model gets to see of one medium, before it is resized.

    `image` is upright and RGB. It is larger than the original (`width` × `height`) only when it had to be
    padded: white was then added at the right or at the bottom, so that pixel coordinates are those of the
    original.
    """

    image: Image.Image
    width: int
    height: int
    warnings: tuple[PictureWarning, ...]


def picture_name(kind: MediaKind, index: int, frame: int = 0) -> str:
    """What messages call a picture of medium `index`, of which a request has one if it is a video."""
    return f"picture {index + 1}" if kind == "image" else f"frame {frame + 1} of the video"


def read_picture(data: bytes | memoryview, media: int, factor: int, name: str) -> Picture:
    """
    Decode `data`, which `name` calls in messages ("picture 2").

    Opaque 8-bit pictures come out exactly as transformers loads them: EXIF orientation applied, then RGB.
    Raises IMAGE_UNREADABLE, or IMAGE_TOO_LARGE before anything is decoded.
    """
    image = _open(data, media, name)
    _check_size(image.width, image.height, media, name)
    try:
        image.load()
        animated = image.format != "MPO" and getattr(image, "is_animated", False)
        upright = _to_rgb(_upright(image))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise nearly every type on damaged bytes.
        raise _unreadable(f"{name} is a damaged {image.format}: {error}", media) from error
    picture = padded_picture(upright, media, factor, name)
    if not animated:
        return picture
    message = f"is an animated {image.format}; the model sees its first frame only"
    return replace(picture, warnings=(PictureWarning("IMAGE_FIRST_FRAME", message), *picture.warnings))


def padded_picture(upright: Image.Image, media: int, factor: int, name: str) -> Picture:
    """
    `upright`, with white at its right or bottom where the model would not take it. Raises IMAGE_TOO_LARGE.
    """
    width, height = upright.size
    size = padded_size(width, height, factor)
    if size == upright.size:
        return Picture(upright, width, height, ())
    _check_size(*size, media, f"{name} ({width} × {height}), padded to {MAX_ASPECT_RATIO}:1,")
    message = (
        f"is {width} × {height}, beyond the {MAX_ASPECT_RATIO}:1 that the model takes; "
        f"white was added up to {size[0]} × {size[1]}"
    )
    padded = Image.new("RGB", size, "white")
    padded.paste(upright)
    return Picture(padded, width, height, (PictureWarning("IMAGE_PADDED", message),))


def padded_size(width: int, height: int, factor: int) -> tuple[int, int]:
    """
    The least growth of the shorter side that transformers' smart_resize accepts; the size itself if it
    fits.
    """
    if aspect_ratio_fits(height, width, factor):
        return width, height
    shorter = math.ceil(max(width, height) / MAX_ASPECT_RATIO)
    return (width, shorter) if width > height else (shorter, height)


def _open(data: bytes | memoryview, media: int, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        start = bytes(data[:12])
        what = f"begins with {start!r}" if start else "is empty"
        raise _unreadable(f"{name} is no readable PNG, JPEG, WebP or GIF: its data {what}", media) from error
    except Exception as error:
        raise _unreadable(f"{name} is damaged or unusual: {error}", media) from error


def _check_size(width: int, height: int, media: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise WorkerFailure(
            "IMAGE_TOO_LARGE",
            f"{name} is {width} × {height} = {width * height / 1e6:.0f} megapixels; "
            f"at most {MAX_PIXELS // 1_000_000} are read",
            hint="Scale the picture down: the model itself sees far fewer pixels.",
            media=media,
        )


def _unreadable(message: str, media: int) -> WorkerFailure:
    return WorkerFailure(
        "IMAGE_UNREADABLE",
        message,
        hint="Check that the whole file was read, and that it opens elsewhere.",
        media=media,
    )


def _upright(image: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # The pixels are sound; damaged EXIF data only means that no orientation is known.
        return image
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, "white")
    ground.alpha_composite(rgba)
    return ground.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """
    16-bit grey by its high byte, as Pillow reads 16-bit colour; `convert` would clip everything above 255.
    """
    grey = np.asarray(image)
    high = Image.fromarray((grey >> 8).astype(np.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):
        high.putalpha(Image.fromarray(np.where(grey == key, 0, 255).astype(np.uint8)))
    return high

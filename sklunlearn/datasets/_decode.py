"""One image file, read as an array."""

import contextlib
import warnings
from dataclasses import dataclass

import numpy as np

__all__ = ["Decoder", "UnreadableImageError", "bombs_are_errors", "import_pillow", "to_unit"]

# Pillow's names of what has one channel, and what has three behind whatever it is stored as.
_GREY = {"1", "L", "LA", "La"}
_GREY_16 = {"I;16", "I;16B", "I;16L", "I;16N", "I"}
_COLOR = {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"}

_LARGEST = {np.dtype(t): np.float32(np.iinfo(t).max) for t in (np.uint8, np.uint16)}


class UnreadableImageError(ValueError):
    """An image file that is damaged, too large or of a kind that is not supported."""


def import_pillow():
    """The module PIL.Image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Image files are read with Pillow, which is not installed: pip install pillow"
        ) from error
    return Image


@contextlib.contextmanager
def bombs_are_errors():
    """Take an image of suspiciously many pixels for an error, which Pillow only warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", import_pillow().DecompressionBombWarning)
        yield


def to_unit(image):
    """Values from 0 to 1, dtype float32, of an image of dtype uint8 or uint16."""
    return image / _LARGEST[image.dtype]


@dataclass(frozen=True)
class Decoder:
    """Reads image files as arrays of shape (channels, height, width).

    Parameters
    ----------
    size : tuple of (height, width), default=None
        To which images are resized, with Lanczos filtering. None: left as they are.
    color : {"rgb", "grey"}, default=None
        Whether to convert to three channels or to one. None: as they are.
    """

    size: tuple | None = None
    color: str | None = None

    def read(self, path):
        """The image, dtype uint8, or uint16 where the file has 16 bits a pixel.

        Raises
        ------
        UnreadableImageError
            If the file is not an image that can be read whole.
        """
        Image = import_pillow()
        try:
            with Image.open(path) as image:
                return self._pixels(image, Image)
        except Exception as error:  # each plugin of Pillow has kinds of its own
            raise _unreadable(path, error) from error

    def shape(self, path):
        """Shape that the image will have, by the head of the file; raises as `read`."""
        Image = import_pillow()
        try:
            with Image.open(path) as image:
                height, width = self.size or image.size[::-1]
                grey = image.mode in _GREY_16 or self._mode(image.mode) == "L"
        except Exception as error:
            raise _unreadable(path, error) from error
        channels = {"rgb": 3, "grey": 1, None: 1 if grey else 3}[self.color]
        return channels, height, width

    def _pixels(self, image, Image):
        if image.mode in _GREY_16:
            return self._pixels_16(image, Image)
        target = self._mode(image.mode)
        if image.mode in {"P", "PA"}:
            # Straight to grey or RGB, Pillow would warn of a palette with transparency.
            image = image.convert("RGBA")
        if image.mode != target:
            image = image.convert(target)
        if self.size is not None and image.size != self.size[::-1]:
            image = image.resize(self.size[::-1], Image.Resampling.LANCZOS)
        pixels = np.asarray(image)
        return pixels[None] if target == "L" else pixels.transpose(2, 0, 1)

    def _pixels_16(self, image, Image):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise UnreadableImageError("has values that 16 bits cannot hold")
        if self.size is not None and image.size != self.size[::-1]:
            # Pillow resizes 16 bits only as floats.
            floats = Image.fromarray(pixels.astype(np.float32))
            pixels = np.asarray(floats.resize(self.size[::-1], Image.Resampling.LANCZOS))
            pixels = pixels.round().clip(0, 65535)
        pixels = pixels.astype(np.uint16)
        return np.repeat(pixels[None], 3, axis=0) if self.color == "rgb" else pixels[None]

    def _mode(self, mode):
        """Pillow's name of what an image that is not of 16 bits is converted to."""
        if mode in _GREY:
            return "RGB" if self.color == "rgb" else "L"
        if mode in _COLOR:
            return "L" if self.color == "grey" else "RGB"
        raise UnreadableImageError(f"has pixels of kind {mode!r}, which is not supported")


def _unreadable(path, error):
    """What to raise instead of an error of Pillow."""
    Image = import_pillow()
    if isinstance(error, UnreadableImageError | MemoryError):
        return error
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return UnreadableImageError(
            f"has more pixels than is plausible ({error}); raise PIL.Image.MAX_IMAGE_PIXELS if "
            "you trust it"
        )
    text = str(error).replace(str(path), "it") or type(error).__name__
    return UnreadableImageError(f"cannot be read ({text})")

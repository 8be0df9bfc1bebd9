"""The format in which all pictures of a study reach a tower, and how one picture is brought into it."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.checked_json import damaged, read_record
from model_search.data.files.labelled_files import FileKind, size_of
from model_search.data.prepare_options import RULES_AS_WRITTEN, RULES_OF_NEW_STUDIES
from model_search.data.rows import with_missing
from model_search.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000  # of one picture; a larger one is refused before it is decoded
MAX_FILE_BYTES = 200_000_000  # of one picture's file
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_UNREAD = {".avif", ".heic", ".heif", ".jp2", ".jxl", ".tga", ".psd", ".svg", ".dng", ".cr2", ".nef", ".arw"}
_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
PICTURES = FileKind("pictures", frozenset({*_SUFFIXES, ".jfif"}), frozenset(_UNREAD), "PNG or JPEG")
_EARLIER_PICTURES = dataclasses.replace(PICTURES, suffixes=frozenset(_SUFFIXES), unread=frozenset({*_UNREAD, ".jfif"}))


class DamagedPictureError(DataError):
    """A file that is no picture, or one that is not safe to decode; the message is the reason, without the name."""


@dataclasses.dataclass(frozen=True)
class PictureFormat:
    """The format of a study's pictures.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: 1 for grey, 3 for colour, 4 for colour and alpha.
        reading_rules: As in `PrepareOptions`, by which the study's pictures are read, see `opened` and `_eight_bits`.
    """

    height: int
    width: int
    channels: int
    reading_rules: int = RULES_OF_NEW_STUDIES

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.height * self.width > MAX_PIXELS:
            raise DataError(
                f"image_height is {self.height} and image_width {self.width}; expected at least 1 pixel each and at "
                f"most {MAX_PIXELS:,} in all"
            )
        if self.channels not in MODES:
            raise DataError(f"channels is {self.channels}; expected 1 (grey), 3 (colour) or 4 (colour and alpha)")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.height, self.width, self.channels

    def to_json(self) -> dict[str, int]:
        """A JSON-able dict; `from_json` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> PictureFormat:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        if isinstance(values, Mapping):
            values = {"reading_rules": RULES_AS_WRITTEN, **values}  # earlier versions had none
        try:
            return read_record(cls, values, "the format of pictures")
        except DataError as error:
            raise damaged("the format of pictures", str(error)) from None

    def read_file(self, path: str | os.PathLike[str]) -> np.ndarray:
        """A file's picture, uint8 [height, width, channels].

        Raises:
            DamagedPictureError: if it cannot be decoded.
        """
        with opened(path, self.reading_rules) as picture:
            return self.of(picture)

    def read_bytes(self, encoded: bytes) -> np.ndarray:
        """An encoded picture (the content of a PNG or JPEG file, say), uint8 [height, width, channels].

        Raises:
            DamagedPictureError: if it cannot be decoded.
        """
        with _checked(io.BytesIO(encoded), self.reading_rules) as picture:
            return self.of(picture)

    def of(self, picture: Image) -> np.ndarray:
        """A picture in this format, stretched to its size, uint8 [height, width, channels].

        Raises:
            DamagedPictureError: if it cannot be decoded.
        """
        from PIL import Image

        try:
            picture.load()
            converted = _eight_bits(picture, self.reading_rules).convert(MODES[self.channels])
            if converted.size != (self.width, self.height):
                # Band by band: Pillow weighs colours by alpha otherwise, which an exported model does not.
                size = (self.width, self.height)
                bands = [band.resize(size, Image.Resampling.BILINEAR) for band in converted.split()]
                converted = Image.merge(converted.mode, bands)
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError, IndexError, TypeError) as error:
            raise DamagedPictureError(f"it cannot be decoded ({error})") from None
        return np.asarray(converted, dtype=np.uint8).reshape(self.shape)

    def of_array(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures that are decoded already, in this format.

        Args:
            pictures: uint8 [rows, height, width] or [rows, height, width, channels].

        Returns:
            uint8 [rows, height, width, channels].

        Raises:
            DataError: if they are no such array.
        """
        from PIL import Image

        array = checked_array(pictures)
        if array.shape[1:] == self.shape:
            return array
        found = np.empty((len(array), *self.shape), np.uint8)
        for row, values in enumerate(array):
            found[row] = self.of(Image.fromarray(values[..., 0] if values.shape[2] == 1 else values))
        return found


@dataclasses.dataclass(frozen=True)
class PictureHeader:
    """What a picture's header says.

    Attributes:
        width: In pixels.
        height: In pixels.
        channels: 1 for grey, 3 for colour, 4 where it has an alpha channel.
    """

    width: int
    height: int
    channels: int


def pictures_by(rules: int) -> FileKind:
    """The files that a study with such reading rules finds in folders."""
    return PICTURES if rules >= 3 else _EARLIER_PICTURES


def header(path: str | os.PathLike[str], rules: int = RULES_OF_NEW_STUDIES) -> PictureHeader:
    """A picture's size and channels, without decoding it.

    Args:
        path: The file.
        rules: As for `opened`.

    Raises:
        DamagedPictureError: if the file is no picture, claims to be too large, or is animated.
    """
    with opened(path, rules) as picture:
        has_alpha = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La")
        is_grey = picture.mode in ("1", "L", "F") or picture.mode.startswith("I")
        return PictureHeader(*picture.size, 4 if has_alpha else 1 if is_grey else 3)


def opened(path: str | os.PathLike[str], rules: int = RULES_OF_NEW_STUDIES) -> Image:
    """A picture whose header has been read and checked; its pixels are not decoded yet.

    Args:
        path: The file.
        rules: As in `PrepareOptions.reading_rules`: from 3 on, of a JPEG file with further views (MPO, as phones and
            cameras write it) the first is taken.

    Raises:
        DamagedPictureError: if the file is no picture, claims to be too large, or is animated.
    """
    try:
        size = size_of(path)
    except OSError as error:
        raise DamagedPictureError(f"it cannot be read ({error.strerror})") from None
    if size > MAX_FILE_BYTES:
        raise DamagedPictureError(f"its file has {size:,} bytes; expected at most {MAX_FILE_BYTES:,}")
    return _checked(path, rules)


def largest_of_sixteen_bits(path: str | os.PathLike[str], rules: int = RULES_OF_NEW_STUDIES) -> int | None:
    """The largest number in a picture of sixteen bits; None for any other file.

    Args:
        path: The file.
        rules: As for `opened`.
    """
    try:
        with opened(path, rules) as picture:
            if not picture.mode.startswith("I"):
                return None
            picture.load()
            return int(np.asarray(picture).max())
    except (DamagedPictureError, OSError, ValueError, SyntaxError, EOFError, MemoryError, IndexError, TypeError):
        return None


def checked_array(pictures: np.ndarray) -> np.ndarray:
    """Pictures as uint8 [rows, height, width, channels].

    Raises:
        DataError: if they are no such array.
    """
    try:
        array = np.asarray(with_missing(pictures))
    except ValueError:
        raise DataError(
            f"received pictures of different shapes{_two_shapes(pictures)}; expected one array [rows, height, width, "
            "channels]: stretch them to one size, or give files, which are stretched"
        ) from None
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in MODES or 0 in array.shape[1:]:
        raise DataError(
            f"received pictures of shape {np.shape(pictures)}; expected [rows, height, width] or [rows, height, width, "
            "channels] with 1, 3 or 4 channels"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "biuf":
        raise DataError(f"received pictures of type {array.dtype}; expected whole numbers from 0 to 255 (uint8)")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise DataError(
            "received pictures with missing pixels (NaN, or masked ones); expected whole numbers from 0 to 255: fill "
            "them in, or leave these pictures out"
        )
    if array.size and not ((array >= 0) & (array <= 255) & (array == np.rint(array))).all():
        raise DataError(
            f"received pictures of type {array.dtype} from {array.min()} to {array.max()}; expected whole numbers from "
            "0 to 255 (uint8): multiply pictures from 0 to 1 by 255 and round them"
        )
    return array.astype(np.uint8)


def _two_shapes(pictures: Any) -> str:
    try:
        shapes = list(dict.fromkeys(np.shape(one) for one in pictures))
    except ValueError:
        return ""
    return f", such as {shapes[0]} and {shapes[1]}" if len(shapes) > 1 else ""


def _checked(source: Any, rules: int) -> Image:
    import warnings

    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked below
            picture = Image.open(source)
    except UnidentifiedImageError:
        raise DamagedPictureError("it is no picture in a known format") from None
    except Image.DecompressionBombError:
        raise DamagedPictureError(f"it claims to have more than {MAX_PIXELS:,} pixels") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, TypeError) as error:
        raise DamagedPictureError(f"it cannot be read ({error})") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise DamagedPictureError(f"it claims to have {width} x {height} pixels; expected at most {MAX_PIXELS:,}")
    if getattr(picture, "n_frames", 1) > 1 and not (picture.format == "MPO" and rules >= 3):
        picture.close()
        raise DamagedPictureError("it is animated, or holds several pages; expected one picture")
    return picture


def _eight_bits(picture: Image, rules: int) -> Image:
    """The picture with eight bits a channel; from rules 3 on, sixteen bits keep their upper eight.

    Raises:
        ValueError: if the range of its numbers is not known.
    """
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("its pixels are floats, whose range is not known; expected 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture, dtype=np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels are from {values.min()} to {values.max()}; expected 0 to 65535")
    return Image.fromarray((values >> 8 if rules >= 3 else values * 255 // 65535).astype(np.uint8))

"""An image that a person has, made into what a network was trained on: grey, light on dark, in its size, centred."""

import struct
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 50_000_000
FAINTEST = 0.02  # of full contrast between ink and paper; less is one colour
ENOUGH = 0.9  # of full contrast; less is stretched
INK = 0.25  # of the darkest ink: what is less belongs to the paper when the drawing is cut out


class ImageError(Exception):
    """The image cannot be used. The message says which file and why."""


class Look(NamedTuple):
    """How the images of a data set look: their side, how much of it the drawing's longer side takes, and whether the
    centre of mass of the ink is in the middle, or else the middle of the drawing.
    """

    side: int
    box: int
    by_mass: bool


class Prepared(NamedTuple):
    """Ink `(side, side)` from 0 (paper) to 1, the picture as it was, grey `(h, w)`, and what was done, in words."""

    ink: np.ndarray
    grey: np.ndarray
    steps: tuple[str, ...]


# MNIST: 20 x 20 by the centre of mass (LeCun); digits: 32 x 32 bitmaps, filled and reduced by 4 (Alpaydin and Kaynak);
# Fashion-MNIST and KMNIST: the longer side fills the image
LOOKS = {"digits": Look(8, 8, False), "mnist": Look(28, 20, True)}
LOOK_OF_OTHERS = Look(28, 28, False)


def prepare_image(path: Path, look: Look) -> Prepared:
    """Returns the image as the network wants it. Raises `ImageError`.

    An image that has the network's size already keeps its pixels, but for its background.
    """
    grey, steps = read_grey(path)
    ink, words = _ink(grey)
    if ink is None:
        raise ImageError(f"{path}: one colour everywhere, nothing is drawn on it")
    steps += words
    if ink.shape == (look.side, look.side):
        return Prepared(ink, grey, (*steps, f"{look.side} x {look.side} already: neither resized nor centred"))
    ink, words = _placed(ink, look)
    return Prepared(ink, grey, (*steps, *words))


def read_grey(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the picture as numbers from 0 (black) to 1 (white), and what had to be done."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            with Image.open(path) as image:
                return _grey(image, path)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large, at most {MOST_PIXELS:,} pixels") from error
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or f'damaged ({error})'}") from error
    except (SyntaxError, ValueError, EOFError, struct.error) as error:  # by the format of the damaged file
        raise ImageError(f"{path}: damaged ({error})") from error


def _grey(image: Image.Image, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width:,} x {image.height:,}"
        raise ImageError(f"{path}: {size} is too large, at most {MOST_PIXELS:,} pixels: scale it down first")
    steps = [f"{image.width} x {image.height} pixels"]
    if (frames := getattr(image, "n_frames", 1)) > 1:
        steps.append(f"animated: the first of {frames} frames")
    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size or upright.tobytes() != image.tobytes():
        steps.append("turned upright, as its EXIF data say")
    if upright.mode.startswith("I") or upright.mode == "F":
        wide = np.asarray(upright, np.float64)
        steps.append("16 bits or more a pixel: scaled to its own darkest and brightest")
        low, high = np.nanmin(wide), np.nanmax(wide)
        return np.nan_to_num((wide - low) / max(high - low, 1e-300)), tuple(steps)
    if upright.has_transparency_data:
        return _on_paper(upright.convert("RGBA"), steps)
    if upright.mode not in ("L", "1"):
        steps.append("made grey")
    return np.asarray(upright.convert("L"), np.float64) / 255, tuple(steps)


def _on_paper(image: Image.Image, steps: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Puts what is opaque on white, or on black where it is bright itself."""
    alpha = np.asarray(image.getchannel("A"), np.float64) / 255
    grey = np.asarray(image.convert("RGB").convert("L"), np.float64) / 255
    if alpha.min() == 1:
        return grey, (*steps, "made grey")
    bright = float((grey * alpha).sum() / max(alpha.sum(), 1e-300)) > 0.5
    paper, name = (0.0, "black") if bright else (1.0, "white")
    return grey * alpha + paper * (1 - alpha), (*steps, f"transparent: put on {name}, made grey")


def _ink(grey: np.ndarray) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Returns the ink from 0 to 1, by the brightness of the border; None where there is none."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = float(np.median(border))
    bright = paper > 0.5
    ink = np.clip(paper - grey if bright else grey - paper, 0, 1)
    most = float(ink.max())
    if most < FAINTEST:
        return None, ()
    words = ["inverted: its border is bright" if bright else "not inverted: its border is dark"]
    if most < ENOUGH:
        words.append(f"contrast stretched: the ink differed from the paper by {most:.0%}")
        ink = ink / most
    return ink, tuple(words)


def _placed(ink: np.ndarray, look: Look) -> tuple[np.ndarray, tuple[str, ...]]:
    """Cuts the drawing out, scales its longer side to the box, and puts it in the middle of an empty image."""
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = look.box / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    drawing = Image.fromarray(cut.astype(np.float32)).resize((width, height), method)
    small = np.clip(np.asarray(drawing, np.float64), 0, 1)
    placed = np.zeros((look.side, look.side))
    top, left = (_start(small.sum(axis=1 - axis), look) for axis in (0, 1))
    placed[top : top + height, left : left + width] = small
    done = f"the drawing, {cut.shape[1]} x {cut.shape[0]}, scaled to {width} x {height}"
    by = "its centre of mass" if look.by_mass else "its middle"
    return placed / max(placed.max(), 1e-9), (f"{done} in {look.side} x {look.side}, centred by {by}",)


def _start(ink: np.ndarray, look: Look) -> int:
    """The place of the drawing's first row or column."""
    free = look.side - len(ink)
    centre = float((ink * np.arange(len(ink))).sum() / ink.sum()) if look.by_mass else (len(ink) - 1) / 2
    return int(np.clip(round((look.side - 1) / 2 - centre), 0, free))

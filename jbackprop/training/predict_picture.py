"""The answer shown back: as a picture, and in the letters of a terminal."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import PercentFormatter

from jbackprop.training.plots import BLUE, GREY
from jbackprop.training.predict import Prediction

SHADES = " .:-=+*#%@"
LONGEST = 1200  # pixels of the picture as it was that are drawn


def figure(prediction: Prediction, title: str) -> Figure:
    """Returns the image as it was, as the network saw it, and the probabilities; letters that are not drawn are "?"."""
    prepared, probs = prediction.prepared, prediction.probabilities
    drawn = Figure(figsize=(11, 4.6), layout="constrained")
    left, middle, right = drawn.subplots(1, 3, width_ratios=(1, 1, 1.25))
    every = -(-max(prepared.grey.shape) // LONGEST)
    left.imshow(prepared.grey[::every, ::every], cmap="gray", vmin=0, vmax=1)
    left.set_title("as it was, grey")
    middle.imshow(prepared.ink, cmap="gray", vmin=0, vmax=1)
    middle.set_title("as the network saw it")
    for axes in (left, middle):
        axes.set(xticks=[], yticks=[])
    places, best = np.arange(len(probs)), int(probs.argmax())
    right.barh(places, probs, color=[BLUE if place == best else GREY for place in places])
    for place, share in zip(places, probs, strict=True):
        right.text(share + 0.015, place, f"{share:.1%}", va="center", fontsize=9)
    right.set_yticks(places, prediction.names)
    right.invert_yaxis()
    right.set(xlim=(0, 1.18), xticks=(0, 0.5, 1), xlabel="probability")
    right.xaxis.set_major_formatter(PercentFormatter(1.0))
    right.set_title(f"{prediction.names[best]} ({probs[best]:.1%})", weight="bold")
    right.spines[["top", "right"]].set_visible(False)
    drawn.suptitle(_drawable(title), fontsize=10, parse_math=False)
    return drawn


def _drawable(text: str) -> str:
    """Letters that the font lacks would be boxes, each with a warning."""
    font = get_font(findfont("DejaVu Sans"))
    return "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in text)


def in_letters(ink: np.ndarray) -> str:
    """Returns ink from 0 to 1 as letters, two for each pixel, which is then about square.

    >>> in_letters(np.array([[0.0, 0.5, 1.0]]))
    '  ==@@'
    """
    shades = np.rint(np.clip(ink, 0, 1) * (len(SHADES) - 1) - 1e-9).astype(int)
    return "\n".join("".join(2 * SHADES[shade] for shade in row) for row in shades)

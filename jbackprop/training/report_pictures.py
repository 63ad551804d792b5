"""The pictures of one run's section: the confusion matrix, the worst mistakes, the first layer."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from jbackprop.training.report_findings import Findings, Mistake
from jbackprop.verify.html_png import picture
from jbackprop.verify.html_tiles import NOTHING

MOST_TILES, COLUMNS = 64, 8
MOST_INPUTS = 8  # rows of a grid of kernels
WIDE = 560  # pixels, up to which small pictures are enlarged
RIGHT, WRONG = "37 99 235", "225 87 12"


def confusion_html(matrix: np.ndarray, names: Sequence[str]) -> str:
    """Returns the counts as a table, one row a true class, with the share that is right at its end."""
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    most = max(int(matrix[~np.eye(len(matrix), dtype=bool)].max(initial=0)), 1)
    rows = []
    for truth, counts in enumerate(matrix.tolist()):
        cells = "".join(_cell(truth, said, count, sum(counts), most, names) for said, count in enumerate(counts))
        share = f"{counts[truth] / sum(counts):.1%}" if sum(counts) else "none"
        rows.append(f"<tr><th scope='row'>{escape(names[truth])}</th>{cells}<td class='share'>{share}</td></tr>")
    right, total = int(np.trace(matrix)), int(matrix.sum())
    words = (
        f"{right:,} of {total:,} test images right ({right / max(total, 1):.2%}). A row is the true class, a column "
    )
    words += "what the network says; at the end of a row, the share of its images that are right."
    return (
        f"<p class='small soft'>{words}</p><div class='scroll'><table class='confusion'>"
        f"<thead><tr><th scope='col'>is \\ says</th>{head}<th class='share' scope='col'>right</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(truth: int, said: int, count: int, total: int, most: int, names: Sequence[str]) -> str:
    colour = RIGHT if truth == said else WRONG
    strength = 0.45 * count / max(total, 1) if truth == said else 0.12 + 0.6 * count / most
    kind = "right" if truth == said else "wrong" if count else "zero"
    style = f" style='background: rgb({colour} / {strength:.2f})'" if count else ""
    words = escape(f"{count} of {total}: {names[truth]} taken for {names[said]}", quote=True)
    return f"<td class='{kind}'{style} title=\"{words}\">{count}</td>"


def mistakes_html(found: Findings, names: Sequence[str]) -> str:
    """Returns the worst mistakes as images, each with what the network says and what is true."""
    if not found.mistakes:
        return "<p>Every test image is right.</p>"
    shown = "" if found.wrong == len(found.mistakes) else f"{len(found.mistakes)} of "
    words = f"{shown}{found.wrong} wrong answers, those first that give the truth the least probability."
    figures = "".join(_mistake(mistake, names) for mistake in found.mistakes)
    return f"<p class='small soft'>{words}</p><div class='digits'>{figures}</div>"


def _mistake(mistake: Mistake, names: Sequence[str]) -> str:
    said, truth = escape(names[mistake.said]), escape(names[mistake.truth])
    words = f"test image {mistake.place}: {names[mistake.truth]}, taken for {names[mistake.said]}"
    words = escape(words, quote=True)
    return (
        f"<figure><img src='{_grey(mistake.image)}' alt='{words}' title='{words}'>"
        f"<figcaption>says <b class='no'>{said}</b> ({_percent(mistake.said_probability)})<br>"
        f"is <b>{truth}</b> ({_percent(mistake.truth_probability)})</figcaption></figure>"
    )


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "&lt;1%"


def _grey(image: np.ndarray) -> str:
    """Ink is black on white."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.uint8(255 - np.rint(255 * np.clip(image, 0, 1)))).save(file, "png", optimize=True)
    return data_uri(file.getvalue())


def first_layer_html(weights: np.ndarray) -> str:
    """Returns the weights `(h, w, units)` or the kernels `(h, w, i, o)` as tiles."""
    tiles, words = _tiles(weights)
    scale = float(np.abs(weights).max(initial=0))
    uri, width, height = picture(tiles, scale)
    times = max(1, WIDE // width)
    alt = escape(f"{words}, colours from {-scale:.3g} to {scale:.3g}", quote=True)
    return (
        f"<p class='small soft'>{words} One scale for all: blue is negative, orange positive, the paper's colour 0.</p>"
        f"<figure style='max-width: {width * times}px'><img src='{uri}' width='{width * times}' "
        f"height='{height * times}' alt='{alt}'><div class='colours'>{-scale:.2g}<i></i>{scale:.2g}</div></figure>"
    )


def _tiles(weights: np.ndarray) -> tuple[np.ndarray, str]:
    height, width = weights.shape[:2]
    if weights.ndim == 4 and weights.shape[2] > 1:
        inputs, outputs = min(weights.shape[2], MOST_INPUTS), min(weights.shape[3], MOST_TILES // 4)
        of = f"{inputs} of {weights.shape[2]} input channels downward, {outputs} of {weights.shape[3]} filters across"
        return weights[:, :, :inputs, :outputs].transpose(2, 3, 0, 1), f"Kernels of {height} x {width}: {of}."
    units = weights.reshape(height, width, -1)
    shown = np.moveaxis(units, -1, 0)[:MOST_TILES]
    columns = min(len(shown), COLUMNS)
    lacking = -len(shown) % columns
    padded = np.pad(shown.astype(np.float32), ((0, lacking), (0, 0), (0, 0)), constant_values=NOTHING)
    of = f"{len(shown)} of {units.shape[-1]}" if len(shown) < units.shape[-1] else str(len(shown))
    what = f"filters of {height} x {width}" if weights.ndim == 4 else "hidden units, each over the image's pixels"
    return padded.reshape(-1, columns, height, width), f"The weights of {of} {what}."


def data_uri(file: bytes) -> str:
    """Returns a PNG file as the address of an image."""
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def kept_picture(path: Path, words: str) -> str:
    """Returns a PNG of the run's folder as part of the page; nothing where there is none."""
    if not path.is_file():
        return ""
    alt = escape(words, quote=True)
    return (
        f"<div class='scroll'><figure class='wide'><img src='{data_uri(path.read_bytes())}' alt='{alt}'></figure></div>"
    )

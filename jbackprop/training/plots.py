"""The pictures of a run. Each function returns a figure; nothing of matplotlib's global state is touched."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jbackprop.training.agreement import disagreement
from jbackprop.training.check import Checks, Parameter
from jbackprop.training.loop import Metrics

BLUE, ORANGE, GREEN, RED, GREY = "#1f6fb4", "#e07b28", "#2a8c4a", "#c8332b", "#8a8a8a"
COLOURS = {"explicit": BLUE, "rules": ORANGE, "automatic": GREEN}


def curves(rows: Sequence[Metrics], penalised: bool = False) -> Figure:
    """Loss and accuracy against the epoch, training and test split. A penalty is in the loss of the first alone."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row.epoch for row in rows]
    marker = "o" if len(rows) == 1 else None
    training, test = (" with the penalty\n", " without it") if penalised else (" ", "")
    label = f"training{training}(mean over the epoch)"
    left.plot(epochs, [row.loss for row in rows], color=BLUE, marker=marker, label=label)
    left.plot(epochs, [row.test_loss for row in rows], color=ORANGE, marker=marker, label=f"test{test}")
    left.set(yscale="log", ylabel="loss", title="Loss")
    right.plot(epochs, [row.train_accuracy for row in rows], color=BLUE, marker=marker, label="training")
    right.plot(epochs, [row.test_accuracy for row in rows], color=ORANGE, marker=marker, label="test")
    last = rows[-1].test_accuracy
    right.set(ylabel="accuracy", title=f"Accuracy (test split at the end: {last:.2%})")
    lowest = min(min(row.train_accuracy, row.test_accuracy) for row in rows)
    # the first epochs would flatten the rest, unless there is nothing else
    right.set_ylim(lowest - 0.01 if len(rows) == 1 else max(lowest - 0.01, last - 0.12), 1.003)
    if not all(np.isfinite([row.loss, row.test_loss]).all() for row in rows):
        left.text(0.5, 0.5, "loss not finite", ha="center", color=RED, transform=left.transAxes)
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    for axes in (left, right):
        axes.set(xlabel="epoch", xlim=(0.5, len(rows) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _clean(axes)
        axes.legend(frameon=False)
    return figure


def gradient_agreement(losses: Mapping[str, np.ndarray], leaves: Mapping[str, Mapping[str, float]]) -> Figure:
    """The loss of each step under the three gradients, how far apart it is, and the gradients' own disagreement.

    `losses` are those of `agreement.loss_curves`; `leaves` maps `explicit` and `rules` to max|d|/max|g| by parameter.
    """
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for (name, curve), (width, style) in zip(losses.items(), ((5, "-"), (2.5, "-"), (1.2, "--")), strict=True):
        left.plot(np.arange(1, len(curve) + 1), curve, style, color=COLOURS[name], linewidth=width, label=name)
    left.set(xlabel="step", ylabel="loss of the batch", title="Training with each of the three gradients")
    for (name, apart), (marker, size) in zip(disagreement(dict(losses)).items(), (("o", 5), (".", 3)), strict=True):
        middle.plot(np.arange(1, len(apart) + 1), apart, marker, markersize=size, color=COLOURS[name], label=name)
    _rounding(middle.axhline, "float32 rounding, 2⁻²³")
    middle.set_yscale("symlog", linthresh=1e-8, linscale=0.5)
    middle.set_ylim(-2e-9, max(1e-5, *(2 * d.max() for d in disagreement(dict(losses)).values())))
    middle.set(xlabel="step", ylabel="|loss - automatic| / automatic", title="How far the losses part")
    _leaf_bars(right, leaves)
    for axes in (left, middle, right):
        _clean(axes)
    left.legend(frameon=False)
    for axes in (middle, right):
        axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    return figure


def gradient_check(checks: Checks, parameters: Sequence[Parameter], gradient: str, most: int = 200) -> Figure:
    """The disagreement of each parameter's gradient with the automatic one, against the step.

    Of more than `most` checks, each point is the largest of several. What is not finite is a cross at the upper edge.
    """
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    several = -(-len(checks.steps) // most)
    starts = np.arange(0, len(checks.steps), several)
    steps, largest = checks.steps[starts], np.maximum.reduceat(checks.disagreement, starts)
    finite = np.where(np.isfinite(largest), largest, np.nan)
    bound = max(parameter.bound for parameter in parameters)
    top = 3 * max(float(np.nanmax(finite, initial=0.0)), bound)
    few = len(parameters) < 10
    colours = colormaps["tab10"]([0, 1, 2, 4, 5, 6, 7, 8, 9]) if few else colormaps["turbo"](range(0, 256, 8))
    for i, parameter in enumerate(parameters):
        colour = colours[i % len(colours)]
        axes.plot(steps, finite[:, i], ".-", linewidth=0.6, markersize=4, color=colour, label=parameter.path)
        lost = steps[np.isinf(largest[:, i])]
        axes.plot(lost, np.full(len(lost), top), "x", color=colour, clip_on=False)
    axes.axhline(bound, color=RED, linewidth=1, label=f"bound {bound:.1e}")
    _rounding(axes.axhline, "float32 rounding, 2⁻²³")
    axes.set_yscale("symlog", linthresh=1e-8, linscale=0.5)
    of = f", largest of {several} checks" if several > 1 else ""
    axes.set(ylim=(-2e-9, top), xlabel="step", ylabel=f"max|d| / max|g|{of}")
    axes.set_title(f"Disagreement of the gradient ({gradient}) with the automatic one during training")
    _clean(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=-(-len(parameters) // 16))
    return figure


def _leaf_bars(axes: Axes, leaves: Mapping[str, Mapping[str, float]]) -> None:
    for offset, (name, figures) in zip((-0.2, 0.2), leaves.items(), strict=True):
        places = np.arange(len(figures))
        axes.barh(places + offset, list(figures.values()), height=0.35, color=COLOURS[name], label=name)
        axes.set_yticks(places, list(figures))
        for place, figure in zip(places, figures.values(), strict=True):
            if figure == 0:
                axes.text(5e-10, place + offset, "bit-equal", va="center", fontsize="small", color=COLOURS[name])
    axes.invert_yaxis()
    axes.axvline(1e-6, color=RED, linewidth=1, label="bound 10⁻⁶")
    axes.set_xscale("symlog", linthresh=1e-8, linscale=0.5)
    axes.set_xlim(0, 1e-5)
    axes.set(xlabel="max|d| / max|g| against automatic", title="Disagreement of the gradients, float32")


def _rounding(line: Any, label: str) -> None:
    line(float(np.finfo(np.float32).eps), color=GREY, linewidth=1, linestyle="--", label=label)


def predictions(images: np.ndarray, labels: np.ndarray, probs: np.ndarray, rows: int = 6, columns: int = 10) -> Figure:
    """A grid of test images, wrong ones first: what the network says, how sure it is, the truth where it is wrong."""
    said = probs.argmax(-1)
    shown = np.argsort(said == labels, kind="stable")[: rows * columns]
    right = int(np.sum(said == labels))
    height, width = images.shape[1:3]
    gaps = (round(0.35 * height), round(0.4 * width))
    picture = _mosaic(images[shown, ..., 0], columns, gaps)
    figure = Figure(figsize=(10, 10 * picture.shape[0] / picture.shape[1] + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(picture, cmap="gray_r", vmin=0)
    for place, i in enumerate(shown):
        good = said[i] == labels[i]
        text = f"{said[i]}  {probs[i, said[i]]:.0%}" if good else f"{said[i]}, not {labels[i]}"
        x, y = place % columns * (width + gaps[1]) + width / 2 - 0.5, place // columns * (height + gaps[0]) - 0.8
        colour, weight = (GREEN, "normal") if good else (RED, "bold")
        axes.text(x, y, text, ha="center", fontsize=9, color=colour, weight=weight)
    axes.set_title(f"{right} of {len(labels)} test images right ({right / len(labels):.2%}); wrong ones first", pad=22)
    axes.set_axis_off()
    return figure


def first_layer(weights: np.ndarray, image_shape: Sequence[int], most: int = 64) -> Figure:
    """The first layer's weights as images: dense `(pixels, units)`, or kernels `(h, w, i, o)` (first input channel).

    Red is positive, blue negative, white 0, on one scale for all.
    """
    if weights.ndim == 2:
        images = np.moveaxis(weights.reshape(*image_shape, -1)[..., 0, :], -1, 0)
        what = f"hidden units, each over the {image_shape[0]}x{image_shape[1]} pixels"
    else:
        images = np.moveaxis(weights[:, :, 0, :], -1, 0)
        what = f"kernels of {weights.shape[0]}x{weights.shape[1]}"
    shown = images[:most]
    of = f"{len(shown)} of {len(images)}" if len(shown) < len(images) else f"{len(images)}"
    columns = min(len(shown), 16 if len(shown) > 24 else 8)
    picture = _mosaic(shown, columns, (1, 1))
    figure = Figure(figsize=(10, 10 * picture.shape[0] / picture.shape[1] + 0.6), layout="constrained")
    axes = figure.subplots()
    scale = float(np.abs(images).max())
    drawn = axes.imshow(picture, cmap="RdBu_r", vmin=-scale, vmax=scale)
    axes.set_title(f"First layer: the weights of {of} {what}")
    axes.set_axis_off()
    figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.01)
    return figure


def _mosaic(images: np.ndarray, columns: int, gaps: tuple[int, int]) -> np.ndarray:
    """Returns the images `(n, h, w)` in rows of `columns` as one picture, NaN (not drawn) between them."""
    rows = -(-len(images) // columns)
    height, width = images.shape[1] + gaps[0], images.shape[2] + gaps[1]
    picture = np.full((rows * height - gaps[0], columns * width - gaps[1]), np.nan)
    for place, image in enumerate(images):
        y, x = place // columns * height, place % columns * width
        picture[y : y + image.shape[0], x : x + image.shape[1]] = image
    return picture


def _clean(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)

"""The table and the plot of experiments/wrong_gradients_train.py."""

from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.wrong_gradients_networks import NETWORKS, Network

BLUE, RED, GREY = "#1f6fb4", "#c8332b", "#59636e"
MOST_BELOW = 0.06  # of accuracy, below the right rules: what is worse is an arrow at the edge of the plot


def accuracy(row: dict[str, Any]) -> str:
    """Mean ± standard deviation over the seeds."""
    return f"{row['mean']:.2%} ± {row['deviation']:.2%}"


def table(results: dict[str, Any]) -> str:
    """The rows of the results, network by network."""
    lines = []
    for name, block in results.items():
        right, *wrong = block["rows"]
        seeds = len(right["accuracies"])
        head = f"| {NETWORKS[name].title} | test accuracy, {seeds} seeds | as good as right | `check_vjp` says |"
        lines += [
            head,
            "| --- | --- | --- | --- |",
            f"| **all rules right** | **{accuracy(right)}** | | {_accepted(wrong)} |",
        ]
        for row in wrong:
            verdict = f"✗ {row['diagnosis']}" if row["caught"] else "✓"
            cells = (row["words"], accuracy(row), f"{row['at_least_as_good']} of {seeds}", verdict)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        versions = ", ".join(f"{package} {number}" for package, number in block["versions"].items())
        where = f"{block['date']}, {block['device']}, {versions}"
        lines += ["", f"All {right['test_examples']:,} test images; {where}.", ""]
    return "\n".join(lines).strip()


def plot(results: dict[str, Any]) -> Figure:
    """A row for each rule: its seeds, their mean and standard deviation, and what `check_vjp` says."""
    heights = [len(block["rows"]) for block in results.values()]
    figure = Figure(figsize=(14.5, 1.6 + 0.46 * sum(heights) + 0.55 * len(heights)))
    grid = figure.add_gridspec(
        len(heights), 1, height_ratios=heights, left=0.245, right=0.56, top=0.9, bottom=0.05, hspace=0.3
    )
    for i, (name, block) in enumerate(results.items()):
        _draw(figure.add_subplot(grid[i]), NETWORKS[name], block["rows"])
    figure.text(0.02, 0.965, "Accuracy does not see a wrong gradient. check_vjp does.", fontsize=17, weight="bold")
    words = (
        "Test accuracy after training with one wrong rule: dots are seeds, bars mean ± standard deviation, the band "
    )
    figure.text(0.02, 0.938, f"{words}is that of the right rules. Right: what check_vjp says of the rule.", color=GREY)
    return figure


def _draw(axes: Any, network: Network, rows: list[dict[str, Any]]) -> None:
    right = rows[0]
    least = right["mean"] - MOST_BELOW
    shown = [row for row in rows if row["mean"] > least]
    low = min(min(row["accuracies"] + [row["mean"] - row["deviation"]]) for row in shown)
    high = max(max(row["accuracies"] + [row["mean"] + row["deviation"]]) for row in shown)
    low, high = low - 0.08 * (high - low), high + 0.08 * (high - low)
    axes.axvspan(right["mean"] - right["deviation"], right["mean"] + right["deviation"], color=BLUE, alpha=0.13)
    axes.axvline(right["mean"], color=BLUE, linewidth=1, alpha=0.6)
    for y, row in enumerate(rows):
        colour = RED if row["rule"] else BLUE
        if row in shown:
            jitter = y + np.linspace(-0.16, 0.16, len(row["accuracies"]))
            axes.plot(row["accuracies"], jitter, ".", color=colour, alpha=0.45, markersize=7)
            axes.errorbar(row["mean"], y, xerr=row["deviation"], color=colour, fmt="o", markersize=6, capsize=3)
        else:
            axes.annotate(
                "", (low, y), (low + 0.09 * (high - low), y), arrowprops={"arrowstyle": "->", "color": colour}
            )
            axes.text(
                low + 0.1 * (high - low), y, f"{row['mean']:.0%}: this one accuracy sees", va="center", fontsize=9
            )
        said = f"✗ {_short(row['diagnosis'])}" if row.get("caught") else _accepted(rows[1:]) if row is right else "✓"
        axes.text(1.03, y, said, transform=axes.get_yaxis_transform(), va="center", color=colour, fontsize=9)
    axes.set_yticks(range(len(rows)), [row["words"] for row in rows])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(low, high))
    axes.set_title(network.title, loc="left", fontsize=11, weight="bold", x=-0.714)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _accepted(wrong: list[dict[str, Any]]) -> str:
    """What `check_vjp` says of the right rules."""
    count = sum(row["right_one_accepted"] for row in wrong)
    return "✓ right" if count == len(wrong) else f"✗ {len(wrong) - count} of {len(wrong)} refused"


def _short(sentence: str, most: int = 86) -> str:
    """The sentence, or as many of its words as there is room for."""
    return shorten(sentence, most, placeholder=" …")

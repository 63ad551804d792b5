"""The pictures of one argument: its two cotangents, their difference, and how large the difference is where."""

from html import escape
from typing import Any

import jax.numpy as jnp
import numpy as np

from jbackprop.verify import bounds
from jbackprop.verify.distance import gaps, largest
from jbackprop.verify.html_plots import error_against_size, histogram
from jbackprop.verify.html_png import picture
from jbackprop.verify.html_tiles import Layout, layout, tiles_of
from jbackprop.verify.report import Evidence, Row
from jbackprop.verify.report_json import worst_element

FEW = 8  # elements that are printed, where a picture would say less


def evidence_html(row: Row) -> str:
    """Returns what is shown of a row's two cotangents; a sentence where there is nothing to show."""
    evidence = row.evidence
    if evidence is None:
        return '<p class="soft">No gradients were kept for this argument.</p>'
    manual, automatic = evidence.manual, evidence.automatic
    if manual.shape != automatic.shape:
        return f"<p>The rule's gradient is {manual.shape}, the automatic one {automatic.shape}: no picture.</p>"
    if not manual.size:
        return '<p class="soft">An empty array: nothing to show.</p>'
    parts = [f"<p>Cotangent of the outputs: {escape(evidence.cotangent)}. {_worst(evidence)}</p>"]
    if np.array_equal(manual, automatic, equal_nan=True):
        parts.append("<p>The two are equal in every element.</p>")
    parts.append(_numbers(evidence) if manual.size <= FEW else _pictures(row.argument, evidence))
    if manual.size > FEW:
        parts.append(_plots(row, evidence))
    return "\n".join(parts)


def _worst(evidence: Evidence) -> str:
    index = worst_element(evidence)
    assert index is not None  # neither empty nor of two shapes
    pair = (evidence.manual[index], evidence.automatic[index])
    if pair[0] == pair[1] or all(np.isnan(pair)):
        return ""
    where = f" at <code>[{', '.join(map(str, index))}]</code>" if index else ""
    return f"Largest difference{where}: rule {_shown(pair[0])}, automatic {_shown(pair[1])}."


def _shown(x: Any) -> str:
    return f'<span class="number">{x:.6g}</span>'


def _numbers(evidence: Evidence) -> str:
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("element", "rule", "automatic", "difference"))
    lines = []
    with np.errstate(invalid="ignore"):  # inf - inf
        for index in np.ndindex(evidence.manual.shape):
            pair = evidence.manual[index], evidence.automatic[index]
            cells = "".join(f"<td>{_shown(x)}</td>" for x in (*pair, pair[0] - pair[1]))
            lines.append(f"<tr><th scope='row'><code>{list(index)}</code></th>{cells}</tr>")
    table = f"<table class='few'><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f"<div class='scroll'>{table}</div>"


def _pictures(argument: str, evidence: Evidence) -> str:
    manual, automatic = map(_real_parts, (evidence.manual, evidence.automatic))
    with np.errstate(invalid="ignore"):
        difference = manual - automatic
    difference = np.where((manual == automatic) | (np.isnan(manual) & np.isnan(automatic)), 0.0, difference)
    plan = layout(difference)
    scale = max(largest(manual), largest(automatic))
    shown = [
        _figure(f"Rule: d{argument}", manual, plan, scale),
        _figure(f"Automatic: d{argument}", automatic, plan, scale),
        _figure("Difference", difference, plan, largest(difference)),
    ]
    sentences = list(plan.sentences)
    if np.iscomplexobj(evidence.manual):
        sentences.insert(0, "Real and imaginary part are the two elements of a further first axis.")
    if not all(np.isfinite(x).all() for x in (manual, automatic)):
        sentences.append("Striped: NaN or infinite.")
    strips = " strips" if manual.ndim == 1 else ""
    said = f"<p class='soft small'>{escape(' '.join(sentences))}</p>" if sentences else ""
    return f"<div class='pictures{strips}'>{''.join(shown)}</div>{said}"


def _real_parts(array: np.ndarray) -> np.ndarray:
    return np.stack([np.real(array), np.imag(array)]) if np.iscomplexobj(array) else array


def _figure(title: str, values: np.ndarray, plan: Layout, scale: float) -> str:
    uri, width, height = picture(tiles_of(values, plan), scale)
    bad = int(np.sum(~np.isfinite(values)))
    alt = f"{title}, shape {values.shape}, colours from {-scale:.3g} to {scale:.3g}"
    alt += f", {bad} elements not finite" if bad else ""
    bar = f"<div class='colours'>{-scale:.2g}<i></i>{scale:.2g}</div>" if scale > 0 else ""
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f"<img src='{uri}' width='{width}' height='{height}' alt='{escape(alt, quote=True)}'>{bar}</figure>"
    )


def _plots(row: Row, evidence: Evidence) -> str:
    differences = gaps(evidence.manual, evidence.automatic)
    scale = largest(np.abs(evidence.automatic)) or largest(np.abs(evidence.manual)) or 1.0
    epsilon = bounds.epsilon(jnp.dtype(row.dtype))
    first = "How large the errors are. Dashed: the rounding of one number in "
    below = f"<p class='soft small'>{first}{escape(row.dtype)}.</p>"
    figures = [f"<figure>{histogram(differences / scale, epsilon)}{below}</figure>"]
    sizes = np.abs(np.where(np.isfinite(evidence.automatic), evidence.automatic, 0))
    if plot := error_against_size(sizes, differences, epsilon):
        words = "Error against size. Whole line: as large as the gradient itself. Dashed: its rounding."
        figures.append(f"<figure>{plot}<p class='soft small'>{words}</p></figure>")
    return f"<div class='plots'>{''.join(figures)}</div>"

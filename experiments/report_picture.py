"""The page about a wrong rule, docs/images/check_report.png: a convolution that loses the edge of dx.

    python -m experiments.report_picture [--out report.html]

Prints the report and writes the page. The picture of it in the README is taken by

    chromium --headless=new --hide-scrollbars --window-size=1280,1260 \\
        --screenshot=docs/images/check_report.png report.html
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from jbackprop import compare_vjp
from jbackprop.verify.argument_specs import parse
from jbackprop.verify.drawn_arguments import draw
from jbackprop.verify.html import html

NAMES = ("NHWC", "HWIO", "NHWC")


@jax.custom_vjp
def my_conv2d(x: jax.Array, w: jax.Array) -> jax.Array:
    """Returns the valid cross-correlation of x and w."""
    return my_conv2d_fwd(x, w)[0]


def my_conv2d_fwd(x: jax.Array, w: jax.Array):
    return lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=NAMES), (x, w)


def my_conv2d_bwd(residuals: tuple[jax.Array, jax.Array], dy: jax.Array):
    x, w = residuals
    rotated = w[::-1, ::-1].swapaxes(2, 3)
    inner = lax.conv_general_dilated(dy, rotated, (1, 1), "VALID", dimension_numbers=NAMES)
    # The mistake: dy has to be padded before the correlation, for its full form, and not the result after it.
    dx = jnp.pad(inner, [(0, 0), *((size - 1, size - 1) for size in w.shape[:2]), (0, 0)])
    dw = lax.conv_general_dilated(x, dy, (1, 1), "VALID", dimension_numbers=("CHWN", "IHWO", "HWNC"))
    return dx, dw


my_conv2d.defvjp(my_conv2d_fwd, my_conv2d_bwd)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    out = parser.parse_args().out
    x, w = draw((parse("f32[2,14,14,4]"), parse("f32[3,3,4,8]")), (0,))
    report = compare_vjp(my_conv2d, x, w)
    out.write_text(html(report), encoding="utf-8")
    print(f"{report}\n\npage: {out}")


if __name__ == "__main__":
    main()

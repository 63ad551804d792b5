"""The frame of a page that needs nothing else, and the parts every page has."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jbackprop.verify.html_style import STYLE


def page(title: str, parts: Sequence[str], style: str = "") -> str:
    """Returns the whole page of the parts that are not empty; `style` comes after the style of every page.

    >>> "<title>a &lt; b</title>" in page("a < b", ["<p>x</p>", ""])
    True
    """
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    """Returns HTML under a heading; the title is HTML too."""
    return f"<section><h2>{title}</h2>\n{content}\n</section>"


def sentence(text: str) -> str:
    """Returns words as HTML, those between backticks as code.

    >>> sentence("`x < 1` is missing")
    '<code>x &lt; 1</code> is missing'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def definitions(pairs: Mapping[str, Any]) -> str:
    """Returns names and values, one pair a line."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs.items())
    return f"<dl>{items}</dl>"


def mark(ok: bool) -> str:
    """Returns a tick or a cross with its word."""
    return "<b class='ok'>✓ ok</b>" if ok else "<b class='no'>✗ wrong</b>"

"""A report as a page and as JSON: everything is in it, the pictures show the numbers, nothing is fetched."""

import base64
import json
import re
import struct
import zlib

import numpy as np
import pytest

from jbackprop.verify.html import html
from jbackprop.verify.html_evidence import evidence_html
from jbackprop.verify.html_plots import error_against_size, histogram
from jbackprop.verify.html_png import GAP, LEVELS, NAN, NAN_STRIPE, picture
from jbackprop.verify.html_tiles import layout, tiles_of
from jbackprop.verify.report import Check, Diagnosis, Evidence, Report, Row
from jbackprop.verify.report_json import report_json
from tests.html_probe import Page

SHAPES = [(), (5,), (40,), (3000,), (7, 9), (600, 30), (1, 300), (20, 6, 6), (30, 30, 3), (3, 3, 2, 4), (4, 12, 12, 3)]
SHAPES += [(64, 28, 28, 1), (2, 3, 8, 8), (2, 2, 3, 5, 4), (1, 1, 1, 1)]


def row(manual, automatic, name="x", ok=False) -> Row:
    evidence = Evidence("random", np.asarray(manual), np.asarray(automatic))
    verdict = "ok" if ok else "wrong: formula error 1.0 of max|g|"
    return Row(name, np.shape(automatic), "float32", 1.0, 1.0, 1e-7, float("inf"), verdict, ok, evidence)


def report(*rows: Row) -> Report:
    checks = (Check("linear in the cotangent", True), Check("bwd <returns> a tuple", False, "got a list & more"))
    diagnoses = (Diagnosis("x", "sign", "-1 x the right answer: the sign is <wrong>"),)
    words = ("note: a <note>",), diagnoses, ("w is symmetric & hides a transpose",)
    environment = {"jax": "0.10.2", "device": "a <device>"}
    return Report("my_rule<T>", "its own primal", rows, checks, *words, "check_vjp(my_rule, x < 3)", environment)


def pixels(uri: str) -> np.ndarray:
    """The palette indices of a picture that we wrote."""
    data = base64.b64decode(uri.partition(",")[2])
    width, height = struct.unpack(">II", data[16:24])
    at = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    lines = np.frombuffer(zlib.decompress(data[at + 4 : at + 4 + length]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def test_the_page_has_everything_and_is_well_formed():
    x = np.random.default_rng(0).standard_normal((4, 6))
    page = Page(html(report(row(-x, x), row(x, x, "params['<w>']", ok=True))))
    for words in (
        "WRONG",
        "my_rule<T>",
        "1 of 2 gradients wrong (dx)",
        "1 of 2 checks broken",
        "-1 x the right answer: the sign is <wrong>",
        "got a list & more",
        "dparams['<w>']",
        "formula error 1.0 of max|g|",
        "The two are equal in every element.",
        "w is symmetric & hides a transpose",
        "a <note>",
        "check_vjp(my_rule, x < 3)",
        "a <device>",
    ):
        assert words in page.words
    assert page.words.index("WRONG") < page.words.index("sign is") < page.words.index("max|g|")


def test_a_finding_of_a_clause_is_listed_once_under_its_name():
    broken = Check("fwd returns the primal's value", False, "off by 1.0")
    given = Report("f", "its own primal", (), (broken,), (), (Diagnosis("", "value", "off by 1.0"),))
    findings = html(given).partition("class='findings'>")[2].partition("</ul>")[0]
    assert findings == "<li><b>fwd returns the primal&#x27;s value</b>: off by 1.0</li>"


def test_the_page_fetches_and_runs_nothing():
    x = np.random.default_rng(0).standard_normal((4, 6))
    page = Page(html(report(row(-x, x))))
    tags = [tag for tag, _ in page.elements]
    assert not {"script", "link", "iframe", "object"} & set(tags)
    addresses = [value for _, attrs in page.elements for name, value in attrs.items() if name in ("src", "href")]
    assert len(addresses) == 3
    assert all(address and address.startswith("data:image/png;base64,") for address in addresses)
    assert "url(" not in html(report())


def test_pictures_and_plots_are_described_for_those_who_do_not_see_them():
    x = np.random.default_rng(0).standard_normal((4, 6))
    page = Page(html(report(row(-x, x))))
    pictures = page.all("img")
    most = f"{abs(x).max():.3g}"
    assert pictures[0]["alt"] == f"Rule: dx, shape (4, 6), colours from -{most} to {most}"
    plots = [attrs["aria-label"] or "" for attrs in page.all("svg")]
    assert plots[0].startswith("Histogram: 0 of 24 elements are equal")
    assert plots[1].startswith("Error against size: 24 of 24 elements")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_has_its_pictures_and_the_wrong_element_is_in_them(shape):
    automatic = np.random.default_rng(1).standard_normal(shape)
    manual = automatic.copy()
    index = tuple(size * 2 // 3 for size in shape)
    manual[index] += 100
    page = Page(evidence_html(row(manual, automatic)))
    assert f"[{', '.join(map(str, index))}]" in page.words or shape == ()
    pictures = page.all("img")
    if automatic.size <= 8:
        assert f"{manual[index]:.6g}" in page.words
        assert pictures == []
        return
    rule, right, difference = (pixels(attrs["src"] or "") for attrs in pictures)
    assert rule.max() == 2 * LEVELS or GAP in rule  # +100 has the full colour on the common scale
    assert 2 * LEVELS in rule
    assert 2 * LEVELS not in right
    assert set(np.unique(difference)) <= {LEVELS, 2 * LEVELS, GAP}
    assert 2 * LEVELS in difference
    assert int(pictures[0]["width"] or 0) <= 400
    assert int(pictures[0]["height"] or 0) <= 400


def test_nan_is_striped_and_counted():
    automatic = np.ones(20)
    manual = np.where(np.arange(20) == 3, np.nan, np.where(np.arange(20) == 5, -np.inf, 1.0))
    page = Page(evidence_html(row(manual, automatic)))
    first = page.all("img")[0]
    drawn = pixels(first["src"] or "")
    assert {NAN, NAN_STRIPE} < set(np.unique(drawn))
    assert np.isin(drawn, (NAN, NAN_STRIPE)).mean() == pytest.approx(2 / 20)
    assert (first["alt"] or "").endswith("2 elements not finite")
    assert "Striped: NaN or infinite." in page.words


def test_a_picture_has_the_colour_of_each_value_in_its_place():
    uri, width, height = picture(np.array([[[[1.0, -1.0, 0.0, 0.5]] * 2]]), 1.0)
    cells = pixels(uri)
    assert cells.shape == (height, width)
    across = width // 4
    assert [*cells[height // 2, across // 2 :: across]] == [2 * LEVELS, 0, LEVELS, LEVELS + LEVELS // 2]


def test_too_many_tiles_are_cut_down_to_those_that_differ_most():
    differences = np.zeros((40, 8, 8, 1))
    differences[33, 2, 2, 0] = 1.0
    plan = layout(differences)
    assert 33 in plan.kept[1]
    assert "Shown: 16 of 40 tiles, where the two differ most." in plan.sentences
    shown = tiles_of(differences, plan)
    assert shown.shape == (4, 4, 8, 8)
    assert shown.sum() == 1.0


def test_a_large_matrix_keeps_its_largest_elements_with_their_signs():
    differences = np.zeros((1000, 700))
    differences[500, 600], differences[999, 699] = -3.0, 2.0
    plan = layout(differences)
    assert "Each cell is the element largest in size of a block of 4 x 3." in plan.sentences
    shown = tiles_of(differences, plan)[0, 0]
    assert shown.shape == (250, 234)
    assert (shown[125, 200], shown[249, 233]) == (-3.0, 2.0)


def test_complex_numbers_are_shown_in_two_parts():
    g = np.random.default_rng(2).standard_normal((3, 4)) * (1 + 2j)
    page = Page(evidence_html(row(g.conj(), g)))
    assert "Real and imaginary part" in page.words
    assert "elements are equal" in "".join(attrs.get("aria-label") or "" for _, attrs in page.elements)


@pytest.mark.parametrize(
    ("manual", "automatic", "words"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "An empty array"),
        (np.zeros(3), np.zeros(4), "The rule's gradient is (3,), the automatic one (4,)"),
        (np.full(30, np.nan), np.full(30, np.nan), "The two are equal in every element"),
        (np.zeros(30), np.zeros(30), "The two are equal in every element"),
        (np.full(30, np.inf), np.zeros(30), "rule inf, automatic 0"),
    ],
)
def test_gradients_without_a_scale_are_no_error(manual, automatic, words):
    assert words in Page(evidence_html(row(manual, automatic))).words


def test_the_histogram_counts_every_element_once():
    shares = np.array([0.0, 0.0, 1e-7, 1e-7, 1e-30, 1.0, np.inf])
    drawn = Page(histogram(shares, 1e-7))
    heights = [float(attrs["height"] or 0) for attrs in drawn.all("rect")]
    assert len(heights) == 4
    assert error_against_size(np.ones(3), np.zeros(3), 1e-7) == ""


def test_json_is_strict_and_complete():
    made = row([1.0, np.nan, 3.0], [1.0, 2.0, 3.0])
    given = report(made, Row("labels", (3,), "int32", None, None, None, None, "not differentiated", True))
    found = json.loads(json.dumps(report_json(given), allow_nan=False))
    assert found["ok"] is False
    assert [found["rows"][0][name] for name in ("shape", "automatic_error", "rounding_error")] == [[3], "inf", 1e-7]
    assert found["rows"][0]["worst"] == {"cotangent": "random", "index": [1], "manual": "nan", "automatic": 2.0}
    assert found["rows"][1]["value_error"] is None
    assert found["diagnoses"] == [
        {"argument": "x", "kind": "sign", "sentence": "-1 x the right answer: the sign is <wrong>"}
    ]
    assert set(found) == set(Report.__dataclass_fields__) | {"ok"}


def test_words_of_the_user_cannot_leave_their_place():
    hostile = "</style><script>alert(1)</script><img src=x onerror='alert(2)'>\""
    given = Report(
        hostile, hostile, (row([1.0] * 9, [2.0] * 9, hostile),), (Check(hostile, False, hostile),), (hostile,)
    )
    page = Page(html(given))
    assert not any(tag == "script" or "onerror" in attrs for tag, attrs in page.elements)
    assert not re.search(r"<script", html(given))

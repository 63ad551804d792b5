"""The pages say what the repository does: links lead somewhere, quoted code is the code, examples run."""

import doctest
import re
from pathlib import Path

import pytest

from jbackprop.verify.cases import RULES
from jbackprop.verify.network_cases import NETWORKS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DERIVATIONS = DOCS / "derivations"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "experiments" / "README.md"])
DOCS_PAGES = sorted(DOCS.rglob("*.md"))

LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
MATH = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)\$", re.DOTALL)

# The rows of the specification that the table of docs/README.md has to list.
RULE_ROWS = {str(number) for number in range(1, 12)}
NETWORK_ROWS = set("ABCDEFGH")
JACOBIAN_ROWS = {*(f"identity {number}" for number in range(1, 7)), "affine tensors", "ReLU tensor", "softmax"}
DISAGREEMENT_ROWS = {"relu'(0)", "ties", "overlap", "squared error factor", "mean over what"}
SLIP_ROWS = {
    *("TWO-LAYER b2", "TWO-LAYER W2", "TWO-LAYER index k"),
    *("REGRESSION db1", "REGRESSION w(2)", "REGRESSION column", "REGRESSION dL/dH", "REGRESSION dW1"),
    *("DEEP alpha", "DEEP input"),
    *("JACOBIAN average pooling", "JACOBIAN max pooling", "JACOBIAN star"),
}
QUESTION_ROWS = {"Question 1", "Question 2"}


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(found["info"].strip(), found["body"]) for found in FENCE.finditer(page.read_text())]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def links(text: str) -> list[tuple[str, str]]:
    return [(found["text"], found["target"]) for found in LINK.finditer(text)]


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_files_headings_and_tests_that_exist(page):
    for text, target in links(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} does not exist"
        assert file.is_relative_to(ROOT), f"{target} leaves the repository"
        if anchor:
            assert anchor in anchors(file), f"{target}: no such heading"
        if re.fullmatch(r"`test_\w+`", text):
            assert f"def {text.strip('`')}(" in file.read_text(), f"{text} is not in {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_a_page_names_exist(page):
    files = (ROOT / "tests").rglob("*.py")
    defined = {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    assert set(re.findall(r"`(test_\w+)`", prose(page))) <= defined


@pytest.mark.parametrize("page", DOCS_PAGES, ids=name_of)
def test_quoted_code_is_the_code(page):
    """A block whose info string names a file, as in "python jbackprop/layers/relu.py", is a quotation."""
    for info, body in blocks(page):
        language, _, path = info.partition(" ")
        if language == "python" and path:
            assert body in (ROOT / path).read_text(), f"not in {path}:\n{body}"


@pytest.mark.parametrize("name", [case.name for case in RULES])
def test_the_page_of_a_rule_links_and_quotes_its_code(name):
    page = DERIVATIONS / f"{name}.md"
    code = f"jbackprop/layers/{name}.py"
    assert f"../../{code}" in {target for _, target in links(page.read_text())}
    quoted = "".join(body for info, body in blocks(page) if info == f"python {code}")
    backward = (ROOT / code).read_text().partition(f"def {name}_bwd(")[2]
    assert any(line.strip() and line in backward for line in quoted.splitlines()), "no line of the backward pass"


@pytest.mark.parametrize("name", [case.name for case in NETWORKS])
def test_every_network_has_a_page_that_links_its_code(name):
    modules = {path.stem for path in (ROOT / "jbackprop" / "networks").glob("*.py")}
    module = max((module for module in modules if name.startswith(module)), key=len)
    page = DERIVATIONS / f"{module}.md"
    assert f"../../jbackprop/networks/{module}.py" in {target for _, target in links(page.read_text())}


@pytest.mark.parametrize("page", sorted(DERIVATIONS.glob("*.md")), ids=name_of)
def test_the_table_of_contents_names_every_derivation(page):
    assert f"derivations/{page.name}" in {target for _, target in links((DOCS / "README.md").read_text())}


def rows_under(heading: str) -> dict[str, list[str]]:
    """Returns the table below a heading of docs/README.md: first cell, without its marks, to the other cells."""
    section = (DOCS / "README.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line.strip().strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in table[2:]}


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Rules", RULE_ROWS),
        ("Networks", NETWORK_ROWS),
        ("Jacobians", JACOBIAN_ROWS),
        ("Where the sources disagree", DISAGREEMENT_ROWS),
        ("Slips of the sources", SLIP_ROWS),
        ("Questions", QUESTION_ROWS),
    ],
)
def test_the_table_links_every_formula_to_code_test_and_page(heading, expected):
    rows = rows_under(heading)
    assert set(rows) == expected
    for row, (_, code, tests, page) in rows.items():
        for cell, folder in ((code, "../jbackprop/"), (tests, "../tests/"), (page, "derivations/")):
            targets = [target for _, target in links(cell)]
            assert targets, f"{row}: no link in {cell!r}"
            assert any(target.startswith(folder) for target in targets), f"{row}: nothing of {folder} in {cell!r}"


def test_the_examples_of_writing_a_rule_run():
    namespace = {"__name__": "prelu"}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    page = DOCS / "writing_a_rule.md"
    for info, body in blocks(page):
        assert info == "python"
        if ">>>" in body:
            example = doctest.DocTestParser().get_doctest(body, {}, page.name, str(page), 0)
            example.globs = namespace
            assert runner.run(example, clear_globs=False).failed == 0
        else:
            exec(compile(body, str(page), "exec"), namespace)
    assert_row_holds(namespace["PRELU"])


def assert_row_holds(case):
    """The special values and refusals of the row that the page shows, which is in no registry."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    for special in case.special:
        value, vjp = jax.vjp(case.function, *map(jnp.asarray, special.arguments))
        np.testing.assert_allclose(value, special.value)
        for cotangent, expected in zip(vjp(jnp.ones_like(value)), special.cotangents, strict=True):
            np.testing.assert_allclose(cotangent, expected)
    for refused in case.refused:
        with pytest.raises(refused.error, match=re.escape(refused.words)):
            case.function(*refused.arguments())
    for example in case.examples:
        arguments = example.arguments(jax.random.key(0), jnp.float32)
        ours, theirs = (jax.vjp(f, *arguments)[1](arguments[0]) for f in (case.function, example.reference))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), ours, theirs)


@pytest.mark.parametrize("page", DOCS_PAGES, ids=name_of)
def test_mathematics_survives_github(page):
    r"""Markdown eats a backslash before punctuation, so `\,` and `\\` belong into a block fenced as math."""
    for display, inline in MATH.findall(INLINE_CODE.sub("", prose(page))):
        assert not re.search(r"\\[^a-zA-Z\s]", display or inline), display or inline
        assert "\\operatorname" not in (display or inline)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_path_outside_the_repository(page):
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root|Users)/", page.read_text())

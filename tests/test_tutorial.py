"""The tutorial does what it shows: its blocks run in order, and print what the page quotes.

A block that begins with `# name.py` is that file. `python tests/test_tutorial.py` writes the outputs into the page.
"""

import contextlib
import io
import linecache
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
FIRST = "my_layers.py"  # in which the first block is saved
PAGE = ROOT / "docs" / "checking_your_rule.md"
BLOCK = re.compile(r"^```(?P<language>python|sh)\n(?P<code>.*?)^```$(\n\n```text\n(?P<quoted>.*?)^```$)?", re.M | re.S)
FIGURE = re.compile(r"\b\d+(?:\.\d+(?:e[+-]\d+)?|e[+-]\d+)")
ROUNDING, ALIKE = 1e-5, 4  # smaller figures are a machine's own rounding, larger ones differ by less than this factor
COMMANDS = 'jbackprop() { "$PYTHON" -m jbackprop "$@"; }\n'


@pytest.fixture
def folder(tmp_path):
    """The reader's folder, with the files of the page."""
    with reader_in(tmp_path):
        yield tmp_path


@contextlib.contextmanager
def reader_in(folder: Path) -> Iterator[None]:
    files = {Path(name): code for name, code in named_files().items()}
    for name, code in files.items():
        (folder / name).write_text(code, encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):  # JAX as it comes
            yield
    finally:
        sys.path.remove(str(folder))
        for name in files:
            sys.modules.pop(name.stem, None)


def blocks(language: str) -> list[re.Match[str]]:
    return [block for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")) if block["language"] == language]


def file_name(block: re.Match[str]) -> str | None:
    named = re.match(r"# (\w+\.py)\n", block["code"])
    return named[1] if named else None


def named_files() -> dict[str, str]:
    return {name: block["code"] for block in blocks("python") if (name := file_name(block))}


def run_python(block: re.Match[str], namespace: dict[str, object]) -> str:
    name = file_name(block) or (FIRST if block.start() == blocks("python")[0].start() else PAGE.name)
    if name != PAGE.name:  # a diagnosis quotes the reader's file
        linecache.cache[name] = (len(block["code"]), None, block["code"].splitlines(keepends=True), name)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block["code"], name, "exec"), namespace)
    return said.getvalue()


def run_shell(block: re.Match[str], folder: Path) -> str:
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "0"}
    command = ["bash", "-c", COMMANDS + block["code"]]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=True).stdout


def masked(text: str) -> list[str]:
    """The lines without their figures, and without the blanks that line them up."""
    return [" ".join(FIGURE.sub("#", line).split()) for line in text.strip().splitlines()]


def assert_alike(printed: str, quoted: str) -> None:
    assert masked(printed) == masked(quoted)
    for one, other in zip(FIGURE.findall(printed), FIGURE.findall(quoted), strict=True):
        small, large = sorted((float(one), float(other)))
        assert large < ROUNDING or large <= ALIKE * small, f"{one} is printed, {other} quoted"


@pytest.mark.slow
def test_the_blocks_print_what_the_page_quotes(folder, as_users_see_it):
    namespace: dict[str, object] = {"__name__": "tutorial"}
    for block in blocks("python"):
        assert_alike(run_python(block, namespace), block["quoted"] or "")


def test_the_tests_of_the_page_pass(folder, as_users_see_it):
    namespace: dict[str, object] = {"__name__": "test_my_layers"}
    exec(named_files()["test_my_layers.py"], namespace)
    test = namespace["test_my_layers"]
    (parametrized,) = test.pytestmark  # type: ignore[attr-defined]
    for case in parametrized.args[1]:
        test(*case.values)  # type: ignore[operator]


def test_the_commands_print_what_the_page_quotes(folder):
    for block in blocks("sh"):
        assert_alike(run_shell(block, folder), block["quoted"])
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!")


def rewritten(folder: Path) -> str:
    """The page with the outputs of this machine."""
    namespace: dict[str, object] = {"__name__": "tutorial"}

    def with_output(block: re.Match[str]) -> str:
        printed = run_python(block, namespace) if block["language"] == "python" else run_shell(block, folder)
        output = f"\n\n```text\n{printed.rstrip()}\n```" if printed.strip() else ""
        return f"```{block['language']}\n{block['code']}```{output}"

    return BLOCK.sub(with_output, PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made, reader_in(Path(made)):
        PAGE.write_text(rewritten(Path(made)), encoding="utf-8")

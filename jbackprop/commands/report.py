"""`jbackprop report RUN... [--out FILE.html]`."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from jbackprop.commands.extra import with_extra
from jbackprop.commands.options import misuse


def main(arguments: Sequence[str]) -> int:
    """Writes the page; returns 0, or 2 where a run cannot be read or the page not be written."""
    parser = argparse.ArgumentParser(
        prog="jbackprop report",
        description="Write a page that needs nothing else on one training run, or on several side by side: curves, "
        "confusion matrix, worst mistakes, first layer, gradients, what differs in their configurations.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run, for example runs/my-..."
    )
    words = "the page (default: report.html in the folder of the run, in the current folder for several)"
    parser.add_argument("--out", type=Path, metavar="FILE.html", help=words)
    words = "the folder of the IDX files, where they are not where the run had them"
    parser.add_argument("--data.dir", dest="data_dir", metavar="FOLDER", help=words)
    options = parser.parse_args(arguments)
    return with_extra("report", lambda: _report(options.runs, options.out, options.data_dir))


def _report(folders: Sequence[Path], out: Path | None, data_dir: str | None) -> int:
    from jbackprop.training.config import ConfigError
    from jbackprop.training.report import report
    from jbackprop.training.run import RunError, write
    from jbackprop.training.saved_run import loader, read_run

    once = list({folder.resolve(): folder for folder in folders}.values())
    target = out or (once[0] / "report.html" if len(once) == 1 else Path("report.html"))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"jbackprop report: {message}", file=sys.stderr)
            text = report([read_run(folder) for folder in once], loader(data_dir))
    except (ConfigError, RunError) as error:
        return misuse("report", error)
    try:
        write(target, lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        return misuse("report", f"cannot write {target}: {error.strerror}")
    print(target)
    return 0

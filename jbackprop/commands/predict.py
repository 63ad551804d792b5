"""`jbackprop predict RUN IMAGE [--best] [--out FILE.png]`."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jbackprop.commands.extra import with_extra
from jbackprop.commands.options import misuse

BAR = 30  # letters of a probability of 1


def main(arguments: Sequence[str]) -> int:
    """Prints the probability of each class; returns 0, or 2 where the run or the image cannot be used."""
    parser = argparse.ArgumentParser(
        prog="jbackprop predict",
        description="Classify an image of yours with the network of a training run. The image is made grey, inverted "
        "where its border is bright, resized without being squashed and centred as the training images are; what was "
        "done is said.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run, for example runs/my-...")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="a PNG, JPEG or whatever else Pillow reads")
    words = "write a picture of the image, of what the network saw, and of the probabilities"
    parser.add_argument("--out", type=Path, metavar="FILE.png", help=words)
    words = "the parameters of the checkpoint with the best test accuracy, not those at the end"
    parser.add_argument("--best", action="store_true", help=words)
    words = "the folder of the IDX files, for a run whose pixels are normalised and that has no summary.json"
    parser.add_argument("--data.dir", dest="data_dir", metavar="FOLDER", help=words)
    options = parser.parse_args(arguments)
    if options.out is not None and options.out.suffix.lower() != ".png":
        return misuse("predict", f"--out: a PNG file is written, so its name ends in .png, got {options.out}")
    return with_extra(
        "predict", lambda: _predict(options.run, options.image, options.out, options.data_dir, options.best)
    )


def _predict(folder: Path, image: Path, out: Path | None, data_dir: str | None, best: bool) -> int:
    from jbackprop.training.config import ConfigError
    from jbackprop.training.data import DataError
    from jbackprop.training.predict import predict
    from jbackprop.training.predict_image import ImageError
    from jbackprop.training.run import RunError
    from jbackprop.training.saved_run import loader, read_run

    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"jbackprop predict: {message}", file=sys.stderr)
            prediction = predict(read_run(folder), image, loader(data_dir), best)
    except (ConfigError, DataError, ImageError, RunError) as error:
        return misuse("predict", error)
    _show(prediction, image)
    return _save(prediction, folder, image, out) if out else 0


def _show(prediction: Any, image: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from jbackprop.training.predict_picture import in_letters

    console = Console()
    plain: Any = {"highlight": False, "markup": False, "soft_wrap": True}
    console.print(f"{image}: {'; '.join(prediction.prepared.steps)}", **plain)
    console.print(f"parameters: {prediction.parameters}\n", **plain)
    letters = in_letters(prediction.prepared.ink)
    if len(letters.partition("\n")[0]) <= console.width:
        console.print(letters, **plain)
    probs, best = prediction.probabilities, int(prediction.probabilities.argmax())
    table = Table("class", "probability", "", box=None, pad_edge=False)
    for i, (name, share) in enumerate(zip(prediction.names, probs, strict=True)):
        bar = "█" * round(BAR * float(share))
        table.add_row(name, f"{share:.2%}".rjust(11), bar, style="bold" if i == best else None)
    console.print("\n", table, f"\n{prediction.names[best]}, with probability {probs[best]:.2%}", highlight=False)


def _save(prediction: Any, folder: Path, image: Path, out: Path) -> int:
    from jbackprop.training.predict_picture import figure
    from jbackprop.training.run import write

    drawn = figure(prediction, f"{image.name}, by {folder.resolve().name}")
    try:
        write(out, lambda path: drawn.savefig(path, dpi=130))
    except OSError as error:
        return misuse("predict", f"cannot write {out}: {error.strerror}")
    print(f"\n{out}")
    return 0

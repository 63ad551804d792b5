"""A published recipe run over several seeds by a program that is not this project's, and what is kept of it."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.provenance import provenance
from experiments.readme_tables import RESULTS, ROOT, with_tables
from jbackprop.training import data

DIGITS = 10
README = ROOT / "experiments" / "README.md"


def run(
    mark: str,
    program: str,
    about: str | None,
    seeds: int,
    trained: Callable[[int, data.Dataset], np.ndarray],
    in_words: Callable[[dict[str, Any]], str],
    packages: Sequence[str],
) -> None:
    """Trains MNIST as the command line says, writes results/`program`.json and its sentence in experiments/README.md.

    `trained(seed, dataset)` are the shares of the test images that are recognised: of each digit, and last of all.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds, help="how many, counted from 0")
    parser.add_argument("--data.dir", dest="folder", help="folder of the four IDX files, as of `jbackprop train`")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds: at least 1, got {options.seeds}")
    dataset, accuracies, classes = data.load_idx("mnist", options.folder), [], []
    for seed in range(options.seeds):
        start = time.perf_counter()
        *digits, accuracy = trained(seed, dataset)
        accuracies.append(float(accuracy))
        classes.append([round(float(share), 4) for share in digits])
        print(f"seed {seed}: {accuracy:.2%}, {time.perf_counter() - start:.0f} s, {classes[-1]}", flush=True)
    found = {"accuracies": accuracies, "class_accuracies": classes, **provenance(*packages)}
    (RESULTS / f"{program}.json").write_text(json.dumps(found, indent=1) + "\n")
    README.write_text(with_tables(README.read_text("utf-8"), {mark: lambda: in_words(found)}), "utf-8")
    print(in_words(found))


def shares(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the share of each digit's images that is recognised, and of all, as (11,)."""
    right = predictions == labels
    return np.array([right[labels == digit].mean() for digit in range(DIGITS)] + [right.mean()])

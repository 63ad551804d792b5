"""The published results of experiments/README.md again: test accuracy over all test images, several seeds.

    python -m experiments.published_results [NAME ...] [--seeds 1] [--data.dir FOLDER]

NAME is a configuration, configs/NAME.toml; without names all are run. Each row is saved when it is finished, in
experiments/results/published_results.json and in the table of experiments/README.md, so that one can be run at a time.
The exit code is 1 where the mean of a row that was run is outside its band.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from experiments.provenance import provenance
from experiments.readme_tables import with_tables
from jbackprop.training import config as configs
from jbackprop.training import data
from jbackprop.training import trainer as trainers
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.interrupt import never
from jbackprop.training.trainer import Trainer

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "published_results.json"
README = HERE / "README.md"


class Row(NamedTuple):
    """What was published, and between which test accuracies the mean over seeds is to lie."""

    what: str
    published: str
    low: float
    high: float = 1.0
    remark: str = ""  # why the mean is outside


LOST = 0.5  # a class of which a network recognises a smaller share is lost to it


ROWS = {
    "mnist_cs229": Row("CS229: 784-300-10 sigmoid", "93.12%, a student's notebook", 0.9271, 0.9327),
    "mnist_cs229_l2": Row("the same with λ = 1e-4 on the weights", "96.78%, a student's notebook", 0.9668, 0.9680),
    "mnist_nielsen_ch1_30": Row(
        "Nielsen ch. 1: 784-30-10, quadratic cost", "95.42%, best epoch of three runs", 0.945, 0.956
    ),
    "mnist_nielsen_ch1_100": Row(
        "Nielsen ch. 1: 784-100-10",
        "96.59%, one run",
        0.955,
        0.975,
        "An output falls to 0 for its own digit early on, where the quadratic cost has hardly a gradient, and stays "
        "there. Nielsen notes that some runs turn out quite a bit worse, and the same recipe in NumPy does as ours.",
    ),
    "mnist_nielsen_ch3": Row(
        "Nielsen ch. 3: 784-100-10, cross-entropy, λ = 5", "98.04%, validation images", 0.976, 0.982
    ),
    "mnist_nielsen_ch6": Row("Nielsen ch. 6: two convolutions, ReLU, λ = 0.1", "99.23%", 0.990, 0.994),
    "mnist_lecun_300": Row("LeCun's table: 300 hidden units, mean square error", "4.7% error", 0.953),
    "mnist_lecun_800": Row("LeCun's table: 800 hidden units, cross-entropy", "1.6% error", 0.981, 0.985),
    "mnist_lenet5": Row("LeNet-5", "0.95% error", 0.990),
    "mnist_flax_cnn": Row("flax, examples/mnist", "99.17%", 0.991),
    "digits_two_layer": Row("scikit-learn's 8x8 digits: 64-64-10 sigmoid", "none: a target of this project", 0.970),
    "digits_mlp": Row(
        "the digits: 64-128-64-10 ReLU, random stratified 75/25 split", "97.5% to 97.9%, its MLPClassifier", 0.975
    ),
    "digits_cnn": Row("the digits: two convolutions, ReLU, Adam", "none: a target of this project", 0.985),
}


class Seed(NamedTuple):
    """The test accuracy after each epoch of one seed, in the end that of each class, and the seconds of its steps."""

    accuracies: list[float]
    classes: list[float]
    seconds: float


def trained(trainer: Trainer, dataset: Dataset, seed: int, epochs: int) -> Seed:
    """Trains from one seed. Raises ValueError where the loss is no longer finite."""
    state, key = trainer.init(seed)
    evaluations, seconds = [], 0.0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        state, losses, _ = trainer.epoch(state, key, epoch, never)
        seconds += time.perf_counter() - start
        if not np.isfinite(losses).all():
            raise ValueError(f"seed {seed}: the loss is no longer finite in epoch {epoch}")
        evaluations.append(trainer.evaluate(state.params, dataset.test))
    classes = evaluations[-1].per_class_accuracy.tolist()
    without = f", without {lost(classes)}" if lost(classes) else ""
    print(f"  seed {seed}: {evaluations[-1].accuracy:.2%}{without}, {seconds:.0f} s", flush=True)
    return Seed([one.accuracy for one in evaluations], classes, seconds)


def lost(classes: Sequence[float]) -> list[int]:
    """Returns the classes that are recognised less often than `LOST`."""
    return [number for number, share in enumerate(classes) if share < LOST]


def measured(name: str, config: Config, seeds: int) -> dict[str, Any]:
    """Returns the test accuracies of seeds 0, 1, ... after the last epoch and at the best, and the seconds."""
    dataset = data.load(config.data)
    trainer = trainers.build(config, dataset)
    runs = [trained(trainer, dataset, seed, config.epochs) for seed in range(seeds)]
    last = [run.accuracies[-1] for run in runs]
    return provenance("jax", "jaxlib", "optax", "numpy") | {
        "config": name,
        "gradient": config.gradient,
        "loop": trainer.loop,
        "compiler": trainer.compiler,
        "epochs": config.epochs,
        "test_examples": dataset.test.labels.size,
        "accuracies": last,
        "best_epochs": [max(run.accuracies) for run in runs],
        "class_accuracies": [[round(share, 4) for share in run.classes] for run in runs],
        "mean": float(np.mean(last)),
        "standard_deviation": float(np.std(last, ddof=1)) if seeds > 1 else None,
        "training_seconds_a_seed": round(sum(run.seconds for run in runs) / seeds, 1),
        "compile_seconds": round(trainer.compile_seconds, 1),
    }


def inside(result: dict[str, Any]) -> bool:
    """Whether the mean is in the band. Half a test image is rounding, but no more than half of the last digit shown."""
    row, rounding = ROWS[result["config"]], min(0.5 / result["test_examples"], 5e-5)
    return row.low - rounding < result["mean"] < row.high + rounding


def table(results: dict[str, Any]) -> str:
    """Returns the rows that have been measured, in the order of `ROWS`, as Markdown."""
    lines = [
        "| configuration | published | expected | here, mean ± standard deviation | seeds | training, a seed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in ROWS.items():
        found = f"[`{name}`](../configs/{name}.toml): {row.what} | {row.published} | {band(row)}"
        if name not in results:
            lines.append(f"| {found} | not run yet | | |")
            continue
        result = results[name]
        lines.append(f"| {found} | {here(result)} | {len(result['accuracies'])} | {_time(result)} |")
    devices = sorted({f"{r['date']}, {r['device']}, JAX {r['versions']['jax']}" for r in results.values()})
    remarks = [_why_outside(result) for result in results.values() if not inside(result)]
    return "\n\n".join(["\n".join(lines), *remarks, "\n".join(f"{device}." for device in devices)])


def _why_outside(result: dict[str, Any]) -> str:
    name = result["config"]
    return " ".join(filter(None, [f"`{name}` is outside its band:", _of_lost_classes(result), ROWS[name].remark]))


def _of_lost_classes(result: dict[str, Any]) -> str:
    by_seed = lost_by_seed(result)
    if not any(by_seed):
        return ""
    whole = [accuracy for accuracy, classes in zip(result["accuracies"], by_seed, strict=True) if not classes]
    which = ", ".join(
        f"{' and '.join(map(str, classes))} in seed {seed}" for seed, classes in enumerate(by_seed) if classes
    )
    mean = f"The other {len(whole)} reach {np.mean(whole):.2%}." if whole else "No run is without."
    some = f"{len(by_seed) - len(whole)} of {len(by_seed)} runs lose a digit, of which they recognise less than half"
    return f"{some}: {which}. {mean}"


def lost_by_seed(result: dict[str, Any]) -> list[list[int]]:
    """Returns the classes that each run has lost."""
    return [lost(classes) for classes in result.get("class_accuracies", [[]] * len(result["accuracies"]))]


def band(row: Row) -> str:
    """The band in words."""
    return f"at least {row.low:.1%}" if row.high == 1 else f"{row.low:.2%} to {row.high:.2%}"


def here(result: dict[str, Any]) -> str:
    """The accuracy, and in bold that it is outside its band."""
    spread = "" if result["standard_deviation"] is None else f" ± {result['standard_deviation']:.2%}"
    return f"{result['mean']:.2%}{spread}" + ("" if inside(result) else " **outside its band**")


def _time(result: dict[str, Any]) -> str:
    seconds = result["training_seconds_a_seed"]
    if seconds < 1:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def saved() -> dict[str, Any]:
    """Returns the rows on disk by the names of their configurations."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def save(result: dict[str, Any]) -> None:
    """Puts one row into the results and the table. Another process may have added its own meanwhile."""
    results = saved() | {result["config"]: result}
    _replace(RESULTS, json.dumps({name: results[name] for name in ROWS if name in results}, indent=1) + "\n")
    _replace(README, with_tables(README.read_text(encoding="utf-8"), {"published": lambda: table(results)}))


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def line(result: dict[str, Any]) -> str:
    """One line of the table on the terminal."""
    row = ROWS[result["config"]]
    return f"{result['config']:<22} {row.published:<34} {band(row):<18} {here(result):<18} {_time(result)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, default=1, help="how many, counted from 0")
    parser.add_argument("--data.dir", dest="folder", help="folder of the four IDX files, as of `jbackprop train`")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(ROWS)):
        parser.error(f"{unknown[0]}: unknown; known are {', '.join(ROWS)}")
    if options.seeds < 1:
        parser.error(f"--seeds: at least 1, got {options.seeds}")
    outside = []
    for name in options.names or ROWS:
        print(name, flush=True)
        config = configs.read(HERE.parent / "configs" / f"{name}.toml")
        if options.folder and config.data.name != "digits":  # which have no IDX files
            config = msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, dir=options.folder))
        result = measured(name, config, options.seeds)
        save(result)
        print(line(result), flush=True)
        outside += [] if inside(result) else [name]
    print(f"written to {RESULTS} and {README}")
    if outside:
        print(f"OUTSIDE THE BAND: {', '.join(outside)}")
    return 1 if outside else 0


if __name__ == "__main__":
    raise SystemExit(main())

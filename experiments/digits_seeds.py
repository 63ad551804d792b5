"""Test accuracy of each digits configuration over five seeds: the figures in the headers of configs/digits_*.toml.

    python experiments/digits_seeds.py [--seeds 5]

Prints the table and writes experiments/results/digits_seeds.json. About a minute on two CPU cores.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance

from jbackprop.training import config as configs
from jbackprop.training import data
from jbackprop.training import trainer as trainers
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.loop import fit

HERE = Path(__file__).parent
CONFIGS = ("digits_two_layer", "digits_mlp", "digits_cnn")


def row(name: str, config: Config, dataset: Dataset, seeds: int) -> dict[str, Any]:
    """Returns the test accuracy after the last epoch for seeds 0, 1, ..., with the seconds they took."""
    trainer = trainers.build(config, dataset)
    start = time.perf_counter()
    final = [[p.metrics for p in fit(trainer, dataset, seed, config.epochs) if p.metrics][-1] for seed in range(seeds)]
    seconds = (time.perf_counter() - start) / seeds
    accuracies = [metrics.test_accuracy for metrics in final]
    return {
        "config": name,
        "gradient": config.gradient,
        "epochs": config.epochs,
        "seeds": seeds,
        "test_examples": dataset.test.labels.size,
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)) if seeds > 1 else None,
        "accuracies": accuracies,
        "seconds_a_seed": round(seconds, 2),
        "compile_seconds": round(trainer.compile_seconds, 2),
    }


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    spread = "" if row["accuracy_std"] is None else f" ± {row['accuracy_std']:.2%}"
    low, high = min(row["accuracies"]), max(row["accuracies"])
    return (
        f"{row['config']:<18} {row['accuracy_mean']:.2%}{spread}   {low:.2%} to {high:.2%}   "
        f"{row['epochs']:>4} epochs   {row['seconds_a_seed']:>5.1f} s a seed"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, counted from 0")
    seeds = parser.parse_args().seeds
    print("config             test accuracy     lowest to highest")
    rows = []
    for name in CONFIGS:
        config = configs.read(HERE.parent / "configs" / f"{name}.toml")
        rows.append(row(name, config, data.load(config.data), seeds))
        print(line(rows[-1]), flush=True)
    results = provenance("jax", "jaxlib", "optax", "numpy", "scikit-learn") | {"rows": rows}
    target = HERE / "results" / "digits_seeds.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target}")


if __name__ == "__main__":
    main()

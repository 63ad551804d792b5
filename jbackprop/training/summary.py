"""The last words of a run: test accuracy, the gradients, where the files lie."""

import shlex

from jbackprop.training import summary_json
from jbackprop.training.finish import Result
from jbackprop.training.loop import Metrics
from jbackprop.verify.report import table

FILES = {
    "curves.png": "loss and accuracy",
    "gradient_check.png": "disagreement of the gradient with the automatic one in every checked step",
    "gradient_agreement.png": "training with each of the three gradients, and how far they are apart",
    "predictions.png": "test images and what the network says",
    "first_layer.png": "weights of the first layer as images",
    "params.npz": "parameters",
    "certificate.json": "what the checks of the gradient during training found",
    "metrics.jsonl": "one line an epoch",
    "summary.json": "what the run came to",
    "checkpoints": "where to resume from: the last ones and the best",
    "config.toml": "the configuration as it was used",
}


def summary(result: Result) -> str:
    """Returns the text. Files that a run that ended early did not get to are left out."""
    parts = [f"\n{result.ended}"] if result.ended else []
    if result.metrics:
        last = result.metrics[-1]
        right = round(last.test_accuracy * result.test_examples)
        seconds = sum(row.seconds for row in result.metrics)
        counted = "mean of the seeds" if result.of_seeds else f"{right} of {result.test_examples} right"
        parts.append(
            f"\ntest accuracy {last.test_accuracy:.2%} ({counted}), "
            f"training accuracy {last.train_accuracy:.2%}; {len(result.metrics)} epochs, {seconds:.1f} s of steps"
        )
    if result.of_seeds:
        parts.append(f"\n{_seeds(result)}")
    if result.certificate is not None:
        parts.append(f"\n{result.certificate}")
    if result.gradients is not None:
        parts.append(
            "\nthe three gradients of the trained network on one batch: "
            f"max|d| / max|g| against the automatic gradient g\n\n{result.gradients}\n\n{result.gradients.verdict}"
        )
    files = [name for name in FILES if (result.folder / name).exists()]
    parts.append(f"\n{result.folder}/")
    width = max(map(len, files))
    parts += [f"  {name:<{width}}  {FILES[name]}" for name in files]
    if result.interrupted and result.resumable:
        parts.append(f"\nto go on: jbackprop train --resume {shlex.quote(str(result.folder))}")
    return "\n".join(parts)


def _seeds(result: Result) -> str:
    """The last epoch of each seed, with mean and standard deviation."""
    last: dict[int | None, Metrics] = {row.seed: row for row in result.of_seeds}
    found = summary_json.of_several(result.of_seeds, len(last))
    assert found is not None
    header = ("seed", "test accuracy", "test loss", "training accuracy")
    rows = [
        (str(seed), f"{row.test_accuracy:.2%}", f"{row.test_loss:.4f}", f"{row.train_accuracy:.2%}")
        for seed, row in last.items()
    ]
    mean = f"test accuracy {found['mean']:.2%} ± {found['standard_deviation']:.2%}"
    return "\n".join([*table([header, *rows]), f"{mean}: mean and standard deviation of {len(last)} seeds"])

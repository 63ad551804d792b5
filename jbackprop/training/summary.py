"""The last words of a run: test accuracy, the gradients, where the files lie."""

from jbackprop.training.train import Result

FILES = {
    "curves.png": "loss and accuracy",
    "gradient_check.png": "disagreement of the gradient with the automatic one in every checked step",
    "gradient_agreement.png": "training with each of the three gradients, and how far they are apart",
    "predictions.png": "test images and what the network says",
    "first_layer.png": "weights of the first layer as images",
    "params.npz": "parameters",
    "certificate.json": "what the checks of the gradient during training found",
    "metrics.jsonl": "one line an epoch",
    "config.toml": "the configuration as it was used",
}


def summary(result: Result) -> str:
    """Returns the text. Files that a run that ended early did not get to are left out."""
    parts = [f"\n{result.ended}"] if result.ended else []
    if result.metrics:
        last = result.metrics[-1]
        right = round(last.test_accuracy * result.test_examples)
        seconds = sum(row.seconds for row in result.metrics)
        parts.append(
            f"\ntest accuracy {last.test_accuracy:.2%} ({right} of {result.test_examples} right), "
            f"training accuracy {last.train_accuracy:.2%}; {len(result.metrics)} epochs, {seconds:.1f} s of steps"
        )
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
    return "\n".join(parts)

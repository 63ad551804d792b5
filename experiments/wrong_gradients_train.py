"""Networks with a wrong gradient train almost as well as with the right one: accuracy does not see it, a check does.

    python -m experiments.wrong_gradients_train [--data.dir FOLDER] [--only dense cnn cs229] [--seeds 5]

Each wrong rule is one of the corpus that `check_vjp` is held against (`jbackprop.verify.corpus`), put in place of the
right one. All rules of a network start from the same weights and see the same batches. The two networks on digits take
two minutes on two CPU cores; CS229's network on MNIST, whose four IDX files are in FOLDER, takes half a minute for each
rule and seed.

Prints the table and writes it into experiments/README.md, with results/wrong_gradients_train.json and .png, which keep
what was not run again.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from experiments.provenance import provenance
from experiments.readme_tables import write_tables
from experiments.wrong_gradients_networks import NETWORKS, PARTS, Network, Parts
from experiments.wrong_gradients_shown import accuracy, plot, table
from jbackprop.training import data
from jbackprop.training.config import Data
from jbackprop.training.model import scaled
from jbackprop.verify.compare import compare_vjp
from jbackprop.verify.corpus.wrong import WRONG

HERE = Path(__file__).parent

# the 50,000 images that CS229's permutation puts last, normalised by their own mean and standard deviation
CS229_DATA = Data(name="mnist", permutation=100, rows=(10_000, 60_000), normalise="standard")


class Slip(NamedTuple):
    """A wrong rule of the corpus by its name, the network and the place that it is put in, and it in short."""

    network: str
    place: str
    rule: str
    words: str
    fit: Callable[[Any], Callable[..., Any]] = lambda function: function


def without_bias(function: Any) -> Callable[..., Any]:
    """A rule for x w in a layer that adds a bias."""
    return lambda x, w, b: function(x, w) + b


SLIPS = (
    Slip("dense", "first layer", "dense: db is one number", "bias gradient summed over everything"),
    Slip("dense", "first layer", "dense: db of the first example alone", "bias gradient of the first example alone"),
    Slip("dense", "first layer", "linear: dw in blocks of 32 examples, the incomplete last one dropped",
         "last 18 of 50 examples dropped from dW", without_bias),
    Slip("dense", "first layer", "linear: a frozen w", "no gradient for W at all", without_bias),
    Slip("dense", "middle layer", "square linear: w for its transpose", "W in place of its transpose", without_bias),
    Slip("dense", "activation", "tanh: the derivative is left out", "tanh's derivative left out"),
    Slip("dense", "activation", "tanh: 1 - x² for 1 - y²", "tanh: 1 - x² for 1 - y²"),
    Slip("dense", "cross-entropy", "cross-entropy of each row: all rows scaled by the first one's cotangent",
         "cross-entropy: one cotangent for all rows"),
    Slip("cnn", "pooling", "max-pool: the winner is looked for over all channels", "pooling: winner over all channels"),
    Slip("cnn", "pooling", "max-pool: the loop stops before the last window", "pooling: last row and column lost"),
    Slip("cnn", "pooling", "max-pool: every tied element receives everything", "pooling: every tie gets everything"),
    Slip("cnn", "softmax", "softmax: the diagonal of its Jacobian alone", "softmax: diagonal of its Jacobian alone"),
    Slip("cs229", "first layer", "dense: db is one number", "bias gradient summed over everything"),
)  # fmt: skip
RULES = {rule.name: rule for rule in WRONG}


def planted(slip: Slip) -> Parts:
    """Returns the parts of the network with the wrong rule in its place."""
    function = RULES[slip.rule].probe(np.random.default_rng(0), jnp.float32).function
    return {**PARTS, slip.place: slip.fit(function)}


def checked(slip: Slip) -> dict[str, Any]:
    """Returns what `check_vjp` says of the wrong rule, and whether it accepts the right one with the same arguments."""
    rule = RULES[slip.rule]
    function, args, kwargs = rule.probe(np.random.default_rng(0), jnp.float32)
    report = compare_vjp(function, *args, kwargs=kwargs, **rule.options)
    said = [str(diagnosis) for diagnosis in report.diagnoses] or [f"{', '.join(sorted(report.wrong))} wrong"]
    accepted = compare_vjp(PARTS[slip.place], *args).ok
    return {"caught": not report.ok, "diagnosis": said[0], "right_one_accepted": accepted}


class Images(NamedTuple):
    """Images `(n, h, w, 1)` as the network sees them, and labels, of both splits."""

    x: jax.Array
    labels: jax.Array
    test_x: jax.Array
    test_labels: jax.Array


def load(config: Data) -> Images:
    """Returns the data as the networks of the training read them."""
    loaded = data.load(config)
    prepare = partial(scaled, white=loaded.white, flat=False, mean=loaded.mean, std=loaded.std)
    x, test_x = (prepare(jnp.asarray(split.images)) for split in (loaded.train, loaded.test))
    return Images(x, loaded.train.labels, test_x, loaded.test.labels)


def trained(network: Network, parts: Parts, images: Images, seeds: int) -> np.ndarray:
    """Returns the test accuracy `(seeds, epochs)` after each epoch."""

    def run(seed: jax.Array, images: Images) -> jax.Array:
        weights, order = jax.random.split(jax.random.key(seed))
        epochs = jnp.arange(network.epochs)
        return jax.lax.scan(partial(_epoch, network, parts, images, order), network.init(weights), epochs)[1]

    several = jnp.arange(seeds, dtype=jnp.uint32)
    if network.vmapped:
        return np.asarray(jax.jit(jax.vmap(run, in_axes=(0, None)))(several, images))
    compiled = jax.jit(run)
    return np.stack([np.asarray(compiled(seed, images)) for seed in several])


def _epoch(
    network: Network, parts: Parts, images: Images, key: jax.Array, params: Any, epoch: jax.Array
) -> tuple[Any, jax.Array]:
    count, batch = images.labels.size, network.batch_size
    order = jax.random.permutation(jax.random.fold_in(key, epoch), count) if network.shuffled else jnp.arange(count)
    rows = order[: count // batch * batch].reshape(-1, batch)

    def step(params: Any, rows: jax.Array) -> tuple[Any, None]:
        grads = jax.grad(lambda p: network.loss(p, images.x[rows], images.labels[rows], parts)[0])(params)
        return jax.tree.map(lambda p, g: p - network.learning_rate * g, params, grads), None

    params, _ = jax.lax.scan(step, params, rows)
    _, logits = network.loss(params, images.test_x, images.test_labels, PARTS)
    return params, jnp.mean(jnp.argmax(logits, -1) == images.test_labels)


def measured(name: str, images: Images, seeds: int) -> list[dict[str, Any]]:
    """Returns a row for the right rules of a network, and one for each slip in it."""
    rows, right = [], np.zeros(0)
    for slip in (None, *(slip for slip in SLIPS if slip.network == name)):
        start = time.perf_counter()
        last = trained(NETWORKS[name], planted(slip) if slip else PARTS, images, seeds)[:, -1].astype(float)
        right = right if slip else last
        row = {
            "network": name,
            "rule": slip.rule if slip else None,
            "words": slip.words if slip else "all rules right",
            "source": RULES[slip.rule].source if slip else "",
            "accuracies": last.tolist(),
            "mean": float(last.mean()),
            "deviation": float(last.std(ddof=1)),
            "at_least_as_good": int((last >= right).sum()) if slip else None,
            "test_examples": images.test_labels.size,
            "seconds": round(time.perf_counter() - start, 1),
        } | (checked(slip) if slip else {})
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """One line on the terminal."""
    said = row.get("diagnosis", "")
    return f"{row['network']:<6} {row['words']:<42} {accuracy(row):<18} {row['seconds']:>5.1f} s  {said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data.dir", dest="folder", help="the folder of MNIST's IDX files; without it, digits alone")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, help="the networks to train (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, counted from 0, at least 2 (default: 5)")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: at least 2, or there is no standard deviation")
    chosen = options.only or ["dense", "cnn", *(["cs229"] if options.folder else [])]
    if "cs229" in chosen and not options.folder:
        parser.error("cs229 is trained on MNIST: --data.dir FOLDER")
    stored = HERE / "results" / "wrong_gradients_train.json"
    results = json.loads(stored.read_text()) if stored.exists() else {}
    for name in chosen:
        config = msgspec.structs.replace(CS229_DATA, dir=options.folder) if name == "cs229" else Data()
        rows = measured(name, load(config), options.seeds)
        results[name] = provenance("jax", "jaxlib", "numpy") | {"rows": rows}
    results = {name: results[name] for name in NETWORKS if name in results}
    stored.write_text(json.dumps(results, indent=1) + "\n")
    plot(results).savefig(stored.with_suffix(".png"), dpi=110)
    readme = HERE / "README.md"
    write_tables(readme, {"wrong_gradients": lambda: table(results)})
    print(f"\n{table(results)}\n\nwritten to {readme.name}, {stored.name} and {stored.with_suffix('.png').name}")


if __name__ == "__main__":
    main()

"""`jbackprop compare NAME`."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from jbackprop.commands.options import misuse, whole
from jbackprop.verify.case import Example, NetworkCase, RuleCase
from jbackprop.verify.report import Report

WRONG = 1


def main(arguments: Sequence[str]) -> int:
    """Prints the comparison of hand-written and automatic gradients; returns 0 where they agree, else 1."""
    parser = argparse.ArgumentParser(
        prog="jbackprop compare",
        description="Compare a rule's or a network's hand-written gradient with automatic differentiation.",
    )
    parser.add_argument("name", help="a rule or a network of `jbackprop list`, for example two_layer")
    parser.add_argument(
        "--seed", type=whole(0, 2**32 - 1), default=0, help="of the arguments and cotangents (default: 0)"
    )
    parser.add_argument(
        "--reference",
        action="store_true",
        help="rules: compare with jax.nn or lax code, not the rule's own primal",
    )
    options = parser.parse_args(arguments)
    from jbackprop.commands.cases import UnknownName, find

    try:
        case = find(options.name)
    except UnknownName as error:
        return misuse("compare", error)
    if isinstance(case, NetworkCase):
        if options.reference:
            return misuse("compare", "--reference is for rules: a network is compared with jax.grad")
        return compare_network(case, options.seed)
    return compare_rule(case, options.seed, options.reference)


def compare_network(case: NetworkCase, seed: int) -> int:
    """Prints one row per parameter for the network's three gradients."""
    import jax
    import jax.numpy as jnp

    from jbackprop.verify.gradients import compare_gradients

    params_key, batch_key = jax.random.split(jax.random.key(seed))
    params, batch = case.params(params_key, jnp.float32), case.batch(batch_key, jnp.float32)
    comparison = compare_gradients(case.loss, case.loss_and_grads, params, *batch)
    print(f"{case.name}: {case.formula}\n\nmax|d| / max|g| against the automatic gradient g, parameter by parameter:\n")
    print(comparison)
    print(f"\n{comparison.verdict}")
    return 0 if comparison.agree else WRONG


def compare_rule(case: RuleCase, seed: int, reference: bool) -> int:
    """Prints one table per example of the rule, one row per argument."""
    import jax
    import jax.numpy as jnp

    from jbackprop.verify.compare import compare_vjp

    print(f"{case.name}: {case.formula}")
    agree = True
    for example in case.examples:
        arguments = example.arguments(jax.random.key(seed), jnp.float32)
        oracle = _reference(example) if reference else None
        report = compare_vjp(case.function, *arguments, reference=oracle, kwargs=example.options, seed=seed)
        print(f"\n{example.label}: {brief(report)}", flush=True)
        agree = agree and report.ok
    return 0 if agree else WRONG


def brief(report: Report) -> str:
    """Returns the report's table, with the checks of the contract by name only where one is broken."""
    if not report.checks or not all(check.ok for check in report.checks):
        return str(report)
    return f"{replace(report, checks=())}\nall {len(report.checks)} checks of the contract ok"


def _reference(example: Example):
    def reference(*arguments, **_options):  # the options are part of the example's reference already
        return example.reference(*arguments)

    of_jax = getattr(example.reference, "__module__", "").startswith("jax.")
    # printed by the report, which knows the rule's own primal by its name too
    reference.__name__ = f"JAX's {example.reference.__name__}" if of_jax else "the registry's reference"
    return reference

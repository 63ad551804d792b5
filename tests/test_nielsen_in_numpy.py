"""The independent program of Nielsen's chapter 1: its step against JAX's gradient, and what it says of its runs."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import another_program
from experiments.nielsen_in_numpy import LEARNING_RATE, descend, in_words, recognised


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((7, 5)), rng.standard_normal(5)), (rng.standard_normal((5, 10)), np.zeros(10))]
    return layers, rng.random((4, 7)), np.array([3, 0, 3, 9])


def test_a_step_is_down_the_gradient_of_the_quadratic_cost(problem):
    layers, x, labels = problem
    y = np.eye(10)[labels]

    def cost(layers):
        a = jnp.asarray(x)
        for w, b in layers:
            a = jax.nn.sigmoid(a @ w + b)
        return jnp.mean(jnp.sum((a - y) ** 2, -1) / 2)

    with jax.enable_x64(True):
        start = jax.tree.map(jnp.array, layers)
        wanted = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, start, jax.grad(cost)(start))
    descend(layers, x, y)
    for found, right in zip(jax.tree.leaves(layers), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12)


def test_the_share_of_each_digit_that_is_recognised():
    x = np.eye(10)
    layers = [(np.eye(10) * 9, np.zeros(10))]
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 0])
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="empty slice"):  # there is no nine
        *digits, accuracy = recognised(layers, x, labels)
    assert (digits[0], digits[8], accuracy) == (0.5, 1.0, 0.9)


def test_the_runs_that_lost_a_digit_are_told_apart():
    shares = [[0.9] * 9 + [0.1], [0.9] * 10, [0.9] * 10]
    found = {"accuracies": [0.5, 0.96, 0.98], "class_accuracies": shares, "date": "today"}
    words = in_words(found | {"device": "cpu", "versions": {"numpy": "2"}})
    assert "of 3 seeds 1 lose a digit and reach 50.00% (50.00% to 50.00%); the other 2 reach 97.00%" in words


def test_what_another_program_reached_is_kept_and_put_on_the_page(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("<!-- mark: begin -->\nold\n<!-- mark: end -->\n")
    monkeypatch.setattr(another_program, "RESULTS", tmp_path)
    monkeypatch.setattr(another_program, "README", tmp_path / "README.md")
    monkeypatch.setattr(another_program.data, "load_idx", lambda name, folder: folder)
    given = []

    def trained(seed, dataset):
        given.append((seed, dataset))
        return np.array([0.25] * 10 + [0.5 + seed])

    def run():
        another_program.run("mark", "it", None, 9, trained, lambda found: f"{found['accuracies']}", ("numpy",))

    monkeypatch.setattr(sys, "argv", ["it", "--seeds", "2", "--data.dir", "there"])
    run()
    assert given == [(0, "there"), (1, "there")]
    assert json.loads((tmp_path / "it.json").read_text())["class_accuracies"] == [[0.25] * 10] * 2
    assert "[0.5, 1.5]" in (tmp_path / "README.md").read_text()
    monkeypatch.setattr(sys, "argv", ["it", "--seeds", "0"])
    with pytest.raises(SystemExit):
        run()
    assert len(given) == 2

"""How programs are timed: in turns, in a random order, as often as the time allows. No time itself is looked at."""

import gc

import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.bench import measure
from jbackprop.bench.measure import rounds


@pytest.fixture
def one_call_a_sample(monkeypatch):
    monkeypatch.setattr(measure, "MOST_REPEATS", 1)


def test_every_round_calls_each_program_once_in_changing_order(one_call_a_sample, monkeypatch):
    monkeypatch.setattr(measure, "LEAST_ROUNDS", 20)
    called: list[int] = []
    taken = rounds([lambda i=i: called.append(i) for i in range(3)], seconds=0.0)
    assert taken.shape == (20, 3)
    in_rounds = np.array(called[-60:]).reshape(20, 3)
    assert (np.sort(in_rounds, axis=1) == [0, 1, 2]).all()
    assert len({tuple(order) for order in in_rounds}) > 3


def test_short_programs_are_repeated_within_a_sample():
    called: list[int] = []
    rounds([lambda: called.append(1)], seconds=0.0)
    assert len(called) > 5 * 100


def test_rounds_go_on_until_the_time_is_over_and_not_for_ever(one_call_a_sample, monkeypatch):
    assert len(rounds([lambda: None], seconds=1e9)) == measure.MOST_ROUNDS
    clock = iter(np.arange(0.0, 1e6))  # a second passes with each look
    monkeypatch.setattr(measure.time, "perf_counter", lambda: float(next(clock)))
    assert 5 < len(rounds([lambda: None], seconds=60.0)) < 60


def test_the_outputs_of_a_call_are_waited_for():
    waited: list[str] = []

    class Output:
        def block_until_ready(self):
            waited.append("ready")

    rounds([lambda: (jnp.ones(()), Output())], seconds=0.0)
    assert waited


def test_a_warm_sample_comes_right_after_an_untimed_call_of_the_same_program(one_call_a_sample, monkeypatch):
    monkeypatch.setattr(measure, "LEAST_ROUNDS", 10)
    called: list[int] = []
    rounds([lambda i=i: called.append(i) for i in range(3)], seconds=0.0, warm=True)
    pairs = np.array(called[-60:]).reshape(30, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all()


def test_garbage_is_not_collected_meanwhile_and_is_again_afterwards():
    seen: list[bool] = []
    rounds([lambda: seen.append(gc.isenabled())], seconds=0.0)
    assert not seen[-1]
    assert gc.isenabled()


def test_collection_comes_back_after_an_error():
    calls = iter([None] * 3)  # one call to warm up and two to see how long it takes
    with pytest.raises(StopIteration):
        rounds([lambda: next(calls)], seconds=0.0)
    assert gc.isenabled()

"""`diagnose` names simple mistakes in any function, and none where there is nothing to explain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnosis_probes import PRIMALS, ROTATIONS, planted, right

from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import compare_vjp
from jbackprop.verify.diagnosis import Setting, diagnose

SIMPLE = {
    "sign": lambda d: -d,
    "zero": lambda d: 0 * d,
    "factor": lambda d: d / 2,
    "nan": lambda d: d + np.nan,
    "added": lambda d: d + 0.125,
}


@pytest.mark.parametrize("kind", SIMPLE)
@pytest.mark.parametrize("name", PRIMALS)
def test_simple_mistakes_are_named_whatever_the_function(name, kind):
    for leaf in right(name).names:
        found = planted(name, leaf, lambda d, a, y, ct: SIMPLE[kind](d))
        assert found is not None
        assert found.kind == kind, (leaf, str(found))


@pytest.mark.parametrize("name", PRIMALS)
def test_a_right_cotangent_has_no_diagnosis(name):
    setting = right(name)
    assert [diagnose(setting, i) for i in range(len(setting.names))] == [None] * len(setting.names)


def test_noise_is_not_explained():
    rng = np.random.default_rng(3)
    for name, leaf in [("linear", "w"), ("product", "y"), ("conv", "k"), ("softmax", "x"), ("sum pool", "x")]:
        matrix = rng.standard_normal((right(name).oracle["ones"][0].size,) * 2)
        i = right(name).names.index(leaf)
        n = right(name).inputs[i].size

        def mistake(d, a, y, ct, matrix=matrix, n=n):
            return (matrix[:n, :n] @ d.reshape(-1)).reshape(d.shape)

        assert planted(name, leaf, mistake) is None


def test_swapped_arguments():
    setting = right("product")
    swapped = {name: both[::-1] for name, both in setting.oracle.items()}
    found = diagnose(setting._replace(manual=swapped), 0)
    assert str(found) == "dx: x and y look swapped"


def test_wrong_only_at_ties():
    kinked = (np.arange(30).reshape(6, 5) % 7 == 0,)
    found = planted("leaky", "x", lambda d, a, y, ct: np.where(kinked[0], 3 * d, d), kinked=kinked)
    assert found is not None
    assert found.kind == "ties"
    assert found.sentence.startswith("wrong only at kinks or ties: in 5 of 5")


RAW = [
    ("b", lambda d, ct: ct, "missing sum", "right if summed over axis 0 again: shape (9, 4) instead of (4,)"),
    ("b", lambda d, ct: 9 * ct, "missing sum", "right if averaged over axis 0 again"),
    ("b", lambda d, ct: d.sum(), "extra sum", "summed over axis 0 once too often: shape () instead of (4,)"),
    ("w", lambda d, ct: d.T, "transposed", "right if transposed: shape (4, 5) instead of (5, 4)"),
    ("w", lambda d, ct: d[None], "structure", "the right numbers in a wrong shape"),
]


@pytest.mark.parametrize(("leaf", "mistake", "kind", "words"), RAW, ids=[row[2] for row in RAW])
def test_a_wrong_shape_that_holds_the_right_numbers(leaf, mistake, kind, words):
    setting = right("linear")
    i = setting.names.index(leaf)
    raw = {leaf: mistake(setting.oracle["random"][i], setting.cotangents["random"][0])}
    found = diagnose(setting._replace(raw=raw), i)
    assert found is not None
    assert found.kind == kind
    assert words in found.sentence


def test_an_empty_array_has_no_diagnosis():
    x = (np.zeros((0, 3)),)
    named = {"random": x}
    assert (
        diagnose(
            Setting(("x",), x, x, named, named, named, lambda x, ct: ct, 1e-11, (), (np.zeros(x[0].shape, bool),), {}),
            0,
        )
        is None
    )


def test_of_one_number_out_any_two_answers_are_multiples_place_by_place():
    assert planted("mean square", "x", lambda d, a, y, ct: ct * np.exp(np.flip(a[0]))) is None


def test_a_rotation_in_the_wrong_direction_is_right_where_nothing_turns():
    found = planted("rotated", "x", lambda d, a, y, ct: ROTATIONS @ ct)
    assert found is not None
    assert found.sentence.endswith("inside, a transpose is missing")


def test_a_sum_over_the_first_of_a_batch_of_sequences():
    found = planted("scaled sequences", "scale", lambda d, a, y, ct: (a[0] * ct)[0].sum(0))
    assert found is not None
    assert found.sentence == "only the first row of the cotangent (axis 0) is summed"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ordinary_rounding_is_no_loss_of_digits(dtype):
    f = jax.custom_vjp(lambda x: jnp.sin(x) / 3)
    f.defvjp(lambda x: (jnp.sin(x) / 3, x), lambda x, dy: (dy * jnp.cos(x) / 3 * (1 + 1e-5 * jnp.tanh(1e-5 * x)),))
    report = compare_vjp(f, jnp.asarray(np.random.default_rng(0).standard_normal(50), dtype), skip=CLAUSES)
    assert not any("loses digits" in diagnosis.sentence for diagnosis in report.diagnoses)
    assert report.diagnoses

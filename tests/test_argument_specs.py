"""The short descriptions of random arguments: what is drawn, and the words where one cannot be read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.verify.argument_specs import needs_x64, parse
from jbackprop.verify.drawn_arguments import SpecError, draw


@pytest.mark.parametrize(
    ("text", "dtype", "shape", "low", "high"),
    [
        ("f32[8,16]", "float32", (8, 16), -9, 9),
        ("float32 [ 8 , ]", "float32", (8,), -9, 9),
        ("bf16[]", "bfloat16", (), -9, 9),
        ("f16", "float16", (), -9, 9),
        ("i32[64]<10", "int32", (64,), 0, 9),
        ("i8[64]<=-5", "int8", (64,), -14, -5),
        ("u8[640]", "uint8", (640,), 0, 255),
        ("i32[64]", "int32", (64,), 0, 1),
        ("-3<=i32[64]<2", "int32", (64,), -3, 1),
        ("i16[64]>2.5", "int16", (64,), 3, 12),
        ("bool[64]", "bool", (64,), 0, 1),
        ("bf16[640]>0", "bfloat16", (640,), 1e-9, 9),
        ("1>=f32[640]>.5", "float32", (640,), 0.5, 1),
        ("f32[64]< -1e2", "float32", (64,), -1000, -100.001),
        ("f32[0,3]", "float32", (0, 3), 0, 0),
        ("f32[64]:ties", "float32", (64,), -1, 1),
        ("f32[4,5]:onehot", "float32", (4, 5), 0, 1),
    ],
)
def test_an_array_is_drawn_as_described(text, dtype, shape, low, high):
    drawn = draw(parse(text), (0,))
    assert (str(drawn.dtype), drawn.shape) == (dtype, shape)
    values = np.asarray(drawn, np.float64)
    assert np.all((values >= low) & (values <= high))
    assert values.size < 60 or len(np.unique(values)) > 1
    if dtype.startswith(("int", "uint")) and values.size >= 64:
        assert {values.min(), values.max()} == {low, high}


def test_what_is_drawn_has_the_property_asked_for():
    prob, ties, distinct, ones = (
        draw(parse(f"f32[6,8]:{kind}"), (1,)) for kind in ("prob", "ties", "distinct", "ones")
    )
    np.testing.assert_allclose(prob.sum(-1), np.ones(6), rtol=1e-6)
    assert prob.min() >= 0
    assert [*np.unique(ties)] == [-1, -0.5, 0, 0.5, 1]
    assert len(np.unique(distinct)) == 48
    assert set(np.ravel(ones)) == {1.0}


def test_the_seed_chooses_the_numbers():
    one, again, other = (draw(parse("[f32[9], f32[9]]"), (seed,)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert not np.any(np.asarray(one) == np.asarray(other))
    assert not np.any(one[0] == one[1])


def test_trees_keys_and_constants_are_read():
    described = parse("""{"w": f32[2,3], b: [f32[3], (i32[2]<4, 0.5, None, True)], 'key': key}""")
    drawn = draw(described, (0,))
    assert drawn["w"].shape == (2, 3)
    assert drawn["b"][1][1:] == (0.5, None, True)
    assert isinstance(drawn["b"][1], tuple)
    assert jnp.issubdtype(drawn["key"].dtype, jax.dtypes.prng_key)
    assert not needs_x64(described)
    assert needs_x64(parse("(f32[2], {x: f64[2]})"))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", 0, "a dtype is expected here"),
        ("f23[3]", 0, "'f23' is unknown: did you mean f32?"),
        ("f32(3)", 3, "a shape stands in square brackets"),
        ("f32[3,x]", 4, "whole numbers with commas"),
        ("f32[3]]", 6, "nothing is expected behind 'f32[3]'"),
        ("f32[3]<<4", 6, "this cannot be read"),
        ("f32[3]:probs", 7, "'probs' is unknown: did you mean prob?"),
        ("i32[3]:prob", 0, ":prob needs a float dtype"),
        ("f32:prob", 0, ":prob needs rows"),
        ("f32[3]<1:ties", 0, ":ties takes no bounds"),
        ("bool[3]<1", 0, "bool takes no bounds"),
        ("3<i32[3]<4", 0, "no int32 lies within"),
        ("1<f32[3]<0", 0, "nothing lies between"),
        ("1<f32[3]>0", 0, "two bounds on the same side"),
        ("f32[99999,99999]", 0, "9999800001 elements are more than"),
        ("[f32[3], f32[4]", 0, "no ] closes this ["),
        ("{f32[3]}", 1, "a name and a colon are expected here"),
        ('{"w": f32[3] f32[4]}', 12, "this cannot be read"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_place(text, place, words):
    with pytest.raises(SpecError) as caught:
        parse(text)
    found, *lines = str(caught.value).splitlines()
    assert words in found
    assert lines[:2] == [f"  {text}", f"  {' ' * place}^"]


@pytest.mark.parametrize("text", ["1000<bf16[9]<1001", "bf16[999]:distinct", "i8[3]>1e9"])
def test_what_a_dtype_cannot_hold_is_refused(text):
    with pytest.raises(SpecError):
        draw(parse(text), (0,))


def test_brackets_without_end_are_refused():
    with pytest.raises(SpecError):
        parse("[" * 100_000)

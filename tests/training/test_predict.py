"""A person's image through a trained network: what is done to the image, what is answered, and what is refused."""

import io
import re
from typing import Any

import jax
import msgspec
import numpy as np
import pytest
from PIL import Image

from jbackprop import cli
from jbackprop.training import model as models
from jbackprop.training import objective, predict_image, run
from jbackprop.training.config import Config, Data, Network
from jbackprop.training.data import DataError
from jbackprop.training.evaluate import probabilities
from jbackprop.training.predict import data_set, predict
from jbackprop.training.predict_image import LOOK_OF_OTHERS, LOOKS, ImageError, prepare_image
from jbackprop.training.predict_picture import in_letters
from jbackprop.training.saved_run import read_run

MNIST, DIGITS = LOOKS["mnist"], LOOKS["digits"]


def bar(shape=(120, 200), rows=(30, 90), columns=(20, 40), paper=0, ink=255) -> np.ndarray:
    """A drawing of 60 x 20 pixels, not in the middle."""
    pixels = np.full(shape, paper, np.uint8)
    pixels[slice(*rows), slice(*columns)] = ink
    return pixels


@pytest.fixture
def saved(tmp_path):
    """Returns the function that writes pixels or a Pillow image, and gives its path."""

    def save(pixels, name="drawing.png", **options):
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on digits with random parameters, which needs no data."""
    folder = tmp_path_factory.mktemp("runs") / "a run $x_1$"
    folder.mkdir()
    config = Config(network=Network(hidden=(4,)), data=Data(dir="/none"))
    run.save_config(folder, config)
    model = models.build(config.network, data_set(config.data, no_data))
    run.save_params(folder, model.init(jax.random.key(0)))
    return folder


def no_data(config):
    raise DataError("no data here")


def box(ink):
    rows, columns = (np.flatnonzero((ink > 0.25).any(axis=axis)) for axis in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def test_a_drawing_is_scaled_to_20_of_28_pixels_and_centred_by_its_mass(saved):
    prepared = prepare_image(saved(bar()), MNIST)
    assert prepared.ink.shape == (28, 28)
    assert box(prepared.ink) == (4, 24, 10, 17)  # 60 x 20 is not squashed: 20 x 7
    heavy = bar()
    heavy[30:60, 40:80] = 255  # to the right, at the top
    ink = prepare_image(saved(heavy), MNIST).ink
    middle = (ink.sum(0) * np.arange(28)).sum() / ink.sum(), (ink.sum(1) * np.arange(28)).sum() / ink.sum()
    assert np.abs(np.array(middle) - 13.5).max() <= 0.6


def test_the_small_digits_fill_their_image(saved):
    assert box(prepare_image(saved(bar()), DIGITS).ink) == (0, 8, 2, 5)
    assert box(prepare_image(saved(bar()), LOOK_OF_OTHERS).ink)[:2] == (0, 28)


def test_dark_on_bright_is_inverted(saved):
    dark, bright = (
        prepare_image(saved(pixels, f"{name}.png"), MNIST)
        for name, pixels in (("dark", bar(paper=255, ink=0)), ("bright", bar()))
    )
    np.testing.assert_allclose(dark.ink, bright.ink)
    assert "inverted: its border is bright" in dark.steps
    assert "not inverted: its border is dark" in bright.steps


def test_faint_ink_on_grey_paper_is_stretched(saved):
    prepared = prepare_image(saved(bar(paper=200, ink=140)), MNIST)
    np.testing.assert_allclose(prepared.ink, prepare_image(saved(bar()), MNIST).ink, atol=1e-6)
    assert any("contrast stretched" in step for step in prepared.steps)


@pytest.mark.parametrize("ink", [0, 255])
def test_what_is_transparent_is_paper(saved, ink):
    alpha = bar()
    layers = Image.merge("LA", (Image.fromarray(np.full_like(alpha, ink)), Image.fromarray(alpha)))
    prepared = prepare_image(saved(layers), MNIST)
    np.testing.assert_allclose(prepared.ink, prepare_image(saved(bar(), "plain.png"), MNIST).ink, atol=1e-6)
    assert any(f"transparent: put on {'black' if ink else 'white'}" in step for step in prepared.steps)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_pixel_gives_the_same(saved, mode):
    if mode == "I;16":
        image = Image.fromarray(bar().astype(np.uint16) * 200)
    elif mode in ("I", "F"):
        image = Image.fromarray(bar().astype({"I": np.int32, "F": np.float32}[mode]) * 3)
    else:
        image = Image.fromarray(bar()).convert(mode)
    found = prepare_image(saved(image, "drawing.tiff"), MNIST)
    np.testing.assert_allclose(found.ink, prepare_image(saved(bar()), MNIST).ink, atol=1e-6)


def test_of_an_animation_the_first_frame_counts(saved):
    frames = [Image.fromarray(pixels) for pixels in (bar(), bar(columns=(100, 190)))]
    prepared = prepare_image(saved(frames[0], "moving.gif", save_all=True, append_images=frames[1:]), MNIST)
    assert "animated: the first of 2 frames" in prepared.steps
    np.testing.assert_allclose(prepared.ink, prepare_image(saved(bar()), MNIST).ink)


def test_a_photograph_is_turned_upright(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    prepared = prepare_image(saved(bar(), exif=exif), MNIST)
    assert box(prepared.ink) == (10, 17, 4, 24)
    assert "turned upright, as its EXIF data say" in prepared.steps


def test_a_line_of_one_pixel_is_drawn(saved):
    prepared = prepare_image(saved(bar(rows=(3, 4), columns=(0, 200))), MNIST)
    assert box(prepared.ink)[1] - box(prepared.ink)[0] == 1
    assert prepared.ink.max() == 1


@pytest.mark.parametrize("pixels", [np.zeros((1, 1), np.uint8), np.full((30, 30, 3), 200, np.uint8)])
def test_one_colour_is_no_drawing(saved, pixels):
    with pytest.raises(ImageError, match=r"drawing\.png: one colour everywhere, nothing is drawn on it"):
        prepare_image(saved(pixels), MNIST)


def test_what_is_no_image_is_named(saved, tmp_path, monkeypatch):
    for name, content, words in (
        ("text.png", b"no image", "not an image that Pillow can read"),
        ("empty.png", b"", "not an image that Pillow can read"),
        ("half.png", half_a_png(), "damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=re.escape(name) + f": {words}"):
            prepare_image(tmp_path / name, MNIST)
    for path, words in ((tmp_path / "none.png", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ImageError, match=words):
            prepare_image(path, MNIST)
    monkeypatch.setattr(predict_image, "MOST_PIXELS", 100)
    with pytest.raises(ImageError, match="200 x 120 is too large, at most 100 pixels"):
        prepare_image(saved(bar()), MNIST)


def half_a_png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)).save(file, "png")
    return file.getvalue()[:700]


def test_an_image_of_the_data_set_is_seen_as_it_is(saved, folder, small):
    images = np.asarray(small.test.images)[..., 0]
    chosen = next(i for i in range(101) if images[i].max() == 15 and np.median(images[i][[0, -1]]) == 0)
    path = saved(np.uint8(np.rint(images[chosen] * (255 / 16))))
    found = predict(read_run(folder), path, no_data)
    model = models.build(Network(hidden=(4,)), small)
    params = dict(np.load(folder / "params.npz"))
    wanted = probabilities(model, params, small.test.images)[chosen]
    np.testing.assert_allclose(found.probabilities, wanted, rtol=1e-5)
    assert found.prepared.steps[-1] == "8 x 8 already: neither resized nor centred"


def test_the_answer_is_in_the_precision_of_the_run(saved, folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = read_run(folder).config
    run.save_config(tmp_path, msgspec.structs.replace(config, dtype="bfloat16"))
    image = saved(bar())
    exact, found = (predict(read_run(one), image, no_data) for one in (folder, tmp_path))
    model = objective.in_bfloat16(models.build(config.network, data_set(config.data, no_data)))
    pixels = np.rint(found.prepared.ink * 16).astype(np.uint8)[None, :, :, None]
    params: Any = dict(np.load(folder / "params.npz"))
    wanted = probabilities(model, params, jax.numpy.asarray(pixels))[0]
    np.testing.assert_array_equal(found.probabilities, wanted)
    assert (found.probabilities != exact.probabilities).any()


def test_the_data_are_loaded_only_for_their_mean(small):
    assert data_set(Data(name="kmnist"), no_data).train.images.shape == (1, 28, 28, 1)
    assert data_set(Data(normalise="standard"), lambda config: small) is small


def test_the_answer_is_printed_and_drawn(saved, folder, tmp_path, capsys):
    out = tmp_path / "answer.png"
    assert cli.main(["predict", str(folder), str(saved(bar(), "七 $a_1$.png")), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "200 x 120 pixels; not inverted: its border is dark; the drawing, 20 x 60, scaled to 3 x 8" in printed
    shares = dict(re.findall(r"^(\d) +([\d.]+)%", printed, re.MULTILINE))
    assert set(shares) == set("0123456789")
    assert sum(map(float, shares.values())) == pytest.approx(100, abs=0.1)
    best = max(shares, key=lambda name: float(shares[name]))
    assert f"\n{best}, with probability {shares[best]}%" in printed
    assert "@@" in printed
    with Image.open(out) as picture:
        assert min(picture.size) > 400
        assert np.asarray(picture.convert("L")).std() > 10


def test_letters_are_darker_where_there_is_more_ink():
    assert in_letters(np.array([[0.0, 0.5, 1.0], [2.0, -1.0, 0.1]])) == "  ==@@\n@@  .."


def test_misuse_is_said_in_a_line(saved, folder, tmp_path, capsys):
    image = str(saved(bar()))
    for arguments, words in (
        ([str(tmp_path), image], "is not the folder of a run"),
        ([str(folder), str(tmp_path / "none.png")], "none.png: No such file"),
        ([str(folder), image, "--out", "answer.jpg"], "its name ends in .png"),
        ([str(folder), image, "--out", str(tmp_path / "no" / "a.png")], "cannot write"),
    ):
        assert cli.main(["predict", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_parameters_that_cannot_be_used_are_named(saved, folder, tmp_path, capsys):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    arrays: dict[str, Any] = dict(np.load(folder / "params.npz"))
    arrays["b1"] = np.full(4, np.inf, np.float32)
    np.savez(tmp_path / "params.npz", **arrays)
    assert cli.main(["predict", str(tmp_path), str(saved(bar()))]) == 2
    assert "params.npz: b1 hold values that are not finite" in capsys.readouterr().err
    (tmp_path / "params.npz").unlink()
    assert cli.main(["predict", str(tmp_path), str(saved(bar()))]) == 2
    assert "has no params.npz, which a run writes at its end" in capsys.readouterr().err

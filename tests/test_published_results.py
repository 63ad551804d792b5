"""The table of published results: what it says of a row inside, outside and not run, and that it is up to date."""

import json
import sys

import pytest

from experiments import published_results
from experiments.published_results import ROWS, band, inside, table

NAMES = list(ROWS)


def result(name: str, mean: float, deviation: float | None = None) -> dict:
    return {
        "config": name,
        "mean": mean,
        "test_examples": 450 if name.startswith("digits") else 10_000,
        "standard_deviation": deviation,
        "accuracies": [mean] if deviation is None else [mean - deviation, mean + deviation],
        "training_seconds_a_seed": 150.0,
        "date": "2026-11-22",
        "device": "cpu: some",
        "versions": {"jax": "0.10.2"},
    }


def test_a_row_outside_its_band_says_so():
    row = ROWS["mnist_cs229"]
    assert inside(result("mnist_cs229", row.low))
    assert inside(result("mnist_cs229", row.high))
    assert not inside(result("mnist_cs229", row.low - 1e-4))
    assert not inside(result("mnist_cs229", row.high + 1e-4))
    (line,) = [
        line for line in table({"mnist_cs229": result("mnist_cs229", 0.91, 0.002)}).splitlines() if "0.20%" in line
    ]
    assert "| 91.00% ± 0.20% **outside its band** | 2 | 2 min |" in line
    assert "outside" not in table({"mnist_cs229": result("mnist_cs229", 0.93)})


def test_a_class_that_a_run_lost_is_told():
    whole, without = [0.96] * 10, [0.96, 0.02, 0.96, 0.96, 0.49, *[0.96] * 5]
    one = result("mnist_nielsen_ch1_100", 0.9, 0.06) | {"accuracies": [0.96, 0.84]}
    words = (
        "1 of 2 runs lose a digit, of which they recognise less than half: 1 and 4 in seed 1. The other 1 reach 96.00%."
    )
    assert words in table({"x": one | {"class_accuracies": [whole, without]}})
    inside_it = one | {"mean": 0.96, "class_accuracies": [whole, whole]}
    assert "lose a digit" not in table({"x": inside_it})
    assert "is outside its band: An output" not in table({"x": inside_it})
    assert "lose a digit" not in table({"x": one})  # a row from before classes were kept


def test_every_row_has_a_line_whether_run_or_not():
    lines = table({NAMES[1]: result(NAMES[1], 0.967)}).splitlines()
    assert [name for name in NAMES for line in lines if f"[`{name}`]" in line] == NAMES
    assert sum("not run yet" in line for line in lines) == len(NAMES) - 1


def test_bands_in_words():
    assert (band(ROWS["mnist_lenet5"]), band(ROWS["mnist_nielsen_ch3"])) == ("at least 99.0%", "97.60% to 98.20%")


def test_each_finished_row_is_kept(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- published: begin -->\nold\n<!-- published: end -->\nafter\n")
    monkeypatch.setattr(published_results, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(published_results, "README", readme)
    for name in (NAMES[2], NAMES[0]):
        published_results.save(result(name, 0.95))
    assert list(json.loads((tmp_path / "results.json").read_text())) == [NAMES[0], NAMES[2]]
    shown = table(published_results.saved())
    assert readme.read_text() == f"before\n<!-- published: begin -->\n{shown}\n<!-- published: end -->\nafter\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "results.json"]


def test_an_unknown_row_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["published_results", "mnist_alexnet"])
    with pytest.raises(SystemExit) as error:
        published_results.main()
    assert error.value.code == 2
    assert "mnist_alexnet: unknown; known are mnist_cs229, " in capsys.readouterr().err

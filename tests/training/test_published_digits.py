"""The digits' rows of the published results: its band, of 450 images, and its data, which no folder has."""

import sys

from experiments import published_results
from experiments.published_results import RESULTS, ROWS, inside, lost_by_seed, saved, table


def result(right: float, of: int, config: str = "digits_mlp") -> dict:
    return {"config": config, "mean": right / of, "test_examples": of}


def test_half_an_image_of_450_does_not_widen_the_band():
    assert inside(result(439, 450))
    assert not inside(result(438.5, 450))  # 97.44% is not at least 97.5%
    low = ROWS["mnist_cs229"].low
    assert inside(result(low * 60_000 - 0.4, 60_000, "mnist_cs229"))
    assert not inside(result(low * 60_000 - 0.6, 60_000, "mnist_cs229"))


def without_lost_runs(row: dict) -> dict:
    """A row of the runs that know every class, where it says why others do not."""
    if not ROWS[row["config"]].remark:
        return row
    runs = zip(row["accuracies"], lost_by_seed(row), strict=True)
    whole = [accuracy for accuracy, classes in runs if not classes]
    return row | {"mean": sum(whole) / len(whole)}


def test_every_saved_row_is_inside_its_band_over_all_its_images_or_says_why_not():
    rows = saved()
    assert {row["config"]: row["test_examples"] for row in rows.values()} == {
        name: 450 if name.startswith("digits") else 10_000 for name in rows
    }
    assert "digits_mlp" in rows, RESULTS
    assert all(inside(without_lost_runs(row)) for row in rows.values())
    assert "**outside its band**" not in table({n: row for n, row in rows.items() if not ROWS[n].remark})


def test_the_folder_of_the_idx_files_is_not_for_the_digits(monkeypatch, tmp_path):
    used = []

    def measured(name, config, seeds):
        used.append((name, config.data.dir))
        return result(440, 450, name)

    monkeypatch.setattr(published_results, "measured", measured)
    monkeypatch.setattr(published_results, "save", lambda found: None)
    monkeypatch.setattr(published_results, "line", lambda found: "")
    monkeypatch.setattr(sys, "argv", ["published_results", "digits_mlp", "mnist_cs229", "--data.dir", str(tmp_path)])
    assert published_results.main() in (0, 1)
    assert used == [("digits_mlp", None), ("mnist_cs229", str(tmp_path))]

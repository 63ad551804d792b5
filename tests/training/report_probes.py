"""What the tests of the page share: a row of the metrics, and the page taken apart."""

from pathlib import Path

from jbackprop.training.data import DataError
from jbackprop.training.report import report
from jbackprop.training.saved_run import read_run
from tests.html_probe import Page

ROW = {"loss": 0.5, "train_accuracy": 0.9, "test_loss": 0.6, "test_accuracy": 0.85, "seconds": 0.01}


def absent(config):
    """For what needs no images, which cost a second of compilation."""
    raise DataError("mnist: put the files there")


def page(load, *folders: Path) -> Page:
    return Page(report([read_run(folder) for folder in folders], load))

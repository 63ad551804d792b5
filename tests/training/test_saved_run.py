"""What is read back of a run: its rows, and where its data are from."""

import msgspec

from jbackprop.training.config import Data
from jbackprop.training.report_curves import curve
from jbackprop.training.saved_run import loader


def test_another_folder_of_data_can_be_given(monkeypatch, small):
    asked = []
    monkeypatch.setattr("jbackprop.training.data.load", lambda config: asked.append(config) or small)
    config = Data(name="mnist", dir="gone")
    loader("here")(config)
    loader("here")(Data())
    loader(None)(config)
    assert asked == [msgspec.structs.replace(config, dir="here"), Data(), config]


def test_the_later_of_two_rows_of_an_epoch_counts():
    rows = [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
    assert curve(rows, "loss").mean.tolist() == [3.0, 1.0]

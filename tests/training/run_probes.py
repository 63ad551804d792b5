"""What the tests of a run share: the metrics of an epoch."""

from jbackprop.training.loop import Metrics

ROW = Metrics(1, 42, 0.5, 0.9, 0.6, 0.85, 0.01, 1000.0)

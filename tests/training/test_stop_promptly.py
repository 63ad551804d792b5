"""How long a stop is waited for: the steps of one compiled call, as many as process 0 says, in every process."""

import numpy as np

from jbackprop.training import distributed
from jbackprop.training.config import Config, Network
from jbackprop.training.interrupt import never


def test_all_processes_take_as_many_steps_a_call_as_the_first_says(built, monkeypatch):
    trainer = built(Config(network=Network(hidden=(4,)), batch_size=4, loop="scan"))
    asked, heard = [], []

    def stop() -> bool:
        asked.append(True)
        return False

    def of_first(value: int) -> int:
        heard.append(value)
        return 7

    wanted = trainer.epoch(*trainer.init(0), 1, never)[1]
    monkeypatch.setattr(distributed, "of_first", of_first)
    trainer.epoch(*trainer.init(0), 1, stop)  # at the pace of before, once
    asked.clear()
    losses = trainer.epoch(*trainer.init(0), 1, stop)[1]
    assert len(asked) == -(-trainer.steps // 7)
    assert all(1 <= value <= trainer.steps for value in heard)
    np.testing.assert_array_equal(losses, wanted)

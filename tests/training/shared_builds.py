"""Runs of the same configuration share what is compiled."""

from contextlib import contextmanager

import msgspec
import pytest

from jbackprop.training import trainer


@contextmanager
def building_once():
    built, build = {}, trainer.build

    def shared(config, dataset, gradient=None):
        key = (msgspec.json.encode(msgspec.structs.replace(config, runs="")), gradient)
        return built[key] if key in built else built.setdefault(key, build(config, dataset, gradient))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "build", shared)
        yield

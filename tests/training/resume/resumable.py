"""What the tests of resumed runs share: a short training, how it is stopped, and what is compared."""

import io
import itertools
import json
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console

from jbackprop.training import finish
from jbackprop.training import train as trains
from jbackprop.training.config import Config

TIMES = {"seconds", "samples_per_second"}
EPOCHS = 6


def rows(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def same_arrays(one: Path, other: Path) -> bool:
    with np.load(one / "params.npz") as a, np.load(other / "params.npz") as b:
        return a.files == b.files and all(a[key].tobytes() == b[key].tobytes() for key in a.files)


def trained(config: Config, stop=lambda: False, resumed: Path | None = None, **changes) -> finish.Result:
    chosen = msgspec.structs.replace(config, **changes)
    return trains.train(chosen, Console(file=io.StringIO()), stop, resumed)


def stop_after(calls: int):
    """A stop that is asked for so many times in vain."""
    counter = itertools.count(1)
    return lambda: next(counter) > calls


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

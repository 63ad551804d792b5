"""What the devices of a compiled program send one another, read off its text."""

import math
import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BITS = {"pred": 8, "bf16": 16} | {f"{kind}{bits}": bits for kind in "fsu" for bits in (8, 16, 32, 64)}
_OPERATION = re.compile(rf" = (?P<result>\(.*?\)|\S+) (?P<kind>{'|'.join(KINDS)})(?:-start)?\((?P<rest>.*)")
_ARRAY = re.compile(r"\b(?P<dtype>[a-z]+\d*)\[(?P<shape>[\d,]*)\]")


class Collective(NamedTuple):
    """One operation, the bytes of its whole arrays, and how many devices take part in each group of it."""

    kind: str
    bytes: int
    devices: int

    @property
    def sent(self) -> float:
        r"""The bytes that each of $n$ devices sends where they stand in a ring: $B(n-1)/n$, twice for an all-reduce."""
        if self.kind == "collective-permute":
            return float(self.bytes)
        return (2 if self.kind == "all-reduce" else 1) * self.bytes * (self.devices - 1) / self.devices


def collectives(text: str) -> list[Collective]:
    """Returns the collective operations in the text of a compiled program, in its order; a loop's body counts once.

    >>> collectives("%sum = f32[64,10]{1,0} all-reduce(%x), replica_groups=[2,4]<=[8], to_apply=%add")
    [Collective(kind='all-reduce', bytes=2560, devices=4)]
    """
    return [_collective(found) for found in map(_OPERATION.search, text.splitlines()) if found]


def _collective(found: re.Match[str]) -> Collective:
    kind, devices = found["kind"], _devices(found["rest"])
    size = sum(_bytes(array) for array in _ARRAY.finditer(found["result"]))
    return Collective(kind, size * devices if kind == "reduce-scatter" else size, devices)


def _bytes(array: re.Match[str]) -> int:
    return math.prod(int(side) for side in array["shape"].split(",") if side) * BITS[array["dtype"]] // 8


def _devices(rest: str) -> int:
    """The size of a group: `{{0,1},{2,3}}`, `[2,2]<=[4]` and `mesh['data'=2,'model'=2] {'data'}` are groups of two."""
    if groups := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(groups[1])
    if groups := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return len(groups[1].split(","))
    if groups := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", rest):
        sizes = dict(axis.split("=") for axis in groups[1].split(","))
        return math.prod(int(sizes[axis]) for axis in groups[2].split(","))
    if "source_target_pairs=" in rest:
        return 2
    raise ValueError(f"collectives: no groups of devices in {rest[:200]!r}")

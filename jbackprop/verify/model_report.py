"""What the comparison of a whole model found, as data and as two tables to read."""

from collections.abc import Sequence
from dataclasses import dataclass

from jbackprop.verify.report import figure, table

HEADER = ("layer", "cotangent of", "shape", "chain", "chain, float64", "own", "own, float64", "verdict")
PARAMETERS = ("parameter", "shape", "dtype", "explicit", "rules", "explicit, float64", "rules, float64", "verdict")


@dataclass(frozen=True)
class ValueRow:
    """One value at one layer; errors are fractions of max|g| (None: not measured).

    `chain`: its cotangent as it arrives through all rules above, against the automatic one. `own`: the layer's rule
    alone, fed with the automatic cotangent; for the output, the value of the rule's `fwd` against the primal's.
    """

    value: str  # `output`, or where an input comes from: `w1`, `layer 2`
    shape: tuple[int, ...]
    dtype: str
    chain_error: float | None
    chain_error_float64: float | None
    own_error: float | None
    own_error_float64: float | None
    verdict: str
    ok: bool  # of the layer's own rule


@dataclass(frozen=True)
class LayerRows:
    """One call of a rule, or one `scan`, `cond` or other equation with rules in it."""

    number: int
    name: str
    where: str  # file and line of the call, nothing where the trace does not say
    rows: tuple[ValueRow, ...]  # the output first

    @property
    def ok(self) -> bool:
        """Whether the layer's own rule is right; what arrives may be wrong all the same."""
        return all(row.ok for row in self.rows)

    @property
    def title(self) -> str:
        """The layer as sentences name it: `layer 3, relu (mlp.py:57)`."""
        return f"layer {self.number}, {self.name}" + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True)
class ParameterRow:
    """The gradient of one leaf of the parameters, explicit (None: not given) and by rules, against the automatic."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    explicit_error: float | None
    rules_error: float | None
    explicit_error_float64: float | None
    rules_error_float64: float | None
    explicit_ok: bool
    rules_ok: bool

    @property
    def ok(self) -> bool:
        """Whether both gradients are right."""
        return self.explicit_ok and self.rules_ok

    @property
    def verdict(self) -> str:
        """In one or two words."""
        wrong = [name for name, ok in (("explicit", self.explicit_ok), ("rules", self.rules_ok)) if not ok]
        return f"wrong: {' and '.join(wrong)}" if wrong else "ok"


@dataclass(frozen=True)
class ModelReport:
    """A model layer by layer, its last layer first, as the cotangents flow; then its parameters."""

    model: str
    layers: tuple[LayerRows, ...]  # in forward order
    parameters: tuple[ParameterRow, ...]
    findings: tuple[str, ...]  # one sentence each, the most telling first; none where all is right
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True where nothing was found."""
        return not self.findings

    @property
    def wrong(self) -> tuple[str, ...]:
        """The layers whose own rule is wrong, by name and line, in the order in which the cotangents meet them."""
        return tuple(layer.title for layer in reversed(self.layers) if not layer.ok)

    def __str__(self) -> str:
        title = f"{self.model}: {'ok' if self.ok else 'WRONG'}, {_count(self.layers)}, compared with autodiff"
        lines = [title, *self.findings]
        if self.layers:
            lines += ["", *table([HEADER, *(row for layer in reversed(self.layers) for row in _layer_cells(layer))])]
        lines += ["", *table([PARAMETERS, *map(_parameter_cells, self.parameters)])]
        return "\n".join([*lines, *self.notes])


class ModelError(AssertionError):
    """A model's gradient is wrong or not finite; the message is the whole table, `report` the data."""

    def __init__(self, report: ModelReport) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        return f"\n{self.report}"


def _count(layers: Sequence[LayerRows]) -> str:
    return "no rules" if not layers else "1 layer" if len(layers) == 1 else f"{len(layers)} layers"


def _layer_cells(layer: LayerRows) -> list[tuple[str, ...]]:
    place = f" ({layer.where})" if layer.where else ""
    names = [f"{layer.number} {layer.name}{place}", *[""] * (len(layer.rows) - 1)]
    return [
        (
            name,
            row.value,
            str(row.shape),
            *map(figure, (row.chain_error, row.chain_error_float64, row.own_error, row.own_error_float64)),
            row.verdict,
        )
        for name, row in zip(names, layer.rows, strict=True)
    ]


def _parameter_cells(row: ParameterRow) -> tuple[str, ...]:
    errors = (row.explicit_error, row.rules_error, row.explicit_error_float64, row.rules_error_float64)
    return row.path, str(row.shape), row.dtype, *map(figure, errors), row.verdict

r"""Many rules in one test: `rule_cases` turns a list of calls into parameters for pytest.

    import jax
    import pytest
    from jbackprop.testing import RuleCall, rule_cases

    @pytest.mark.parametrize("rule", rule_cases([
        RuleCall(scale, ("f32[8,16]", "f32[16]")),
        RuleCall(cross_entropy, ("f32[8,10]", "i32[8]<10"), kwargs={"reduction": "none"}, name="each row"),
        RuleCall(my_relu, ("f32[64]:ties",), reference=jax.nn.relu),
    ]))
    def test_my_rules(rule):
        rule.check()

An argument is an array or a description of one as `jbackprop check --help` explains it. Nothing is drawn or computed
before the test runs.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jbackprop import check_vjp
from jbackprop.verify.argument_specs import parse
from jbackprop.verify.arguments import function_name
from jbackprop.verify.drawn_arguments import draw
from jbackprop.verify.report import Report


@dataclass(frozen=True)
class RuleCall:
    """A rule and the arguments to check it with: `check_vjp(function, *args, reference=..., kwargs=..., **options)`.

    `args` is a tuple, or a function without arguments that returns one, for arrays that cost something. A string in it
    describes an array to draw; strings that the rule takes go into `kwargs`. `name` is the test's name, by default the
    function's and the strings; `marks` are pytest's.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] | Callable[[], tuple[Any, ...]]
    name: str = ""
    reference: Callable[..., Any] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    marks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.args, tuple | list) and not callable(self.args):
            text = isinstance(self.args, str)
            found, written = (repr(self.args),) * 2 if text else (type(self.args).__name__, "x")
            raise TypeError(
                f"RuleCall: args is a tuple or a function that returns one, not {found}: write ({written},)"
            )

    def check(self, seed: int = 0) -> Report:
        """Checks the rule; raises `VJPError` where a gradient is wrong, ValueError for a bad description.

        >>> import jax
        >>> RuleCall(jax.numpy.sin, ("f32[3]",)).check().ok
        True
        """
        made = self.args() if callable(self.args) else self.args
        args = draw(tuple(parse(arg) if isinstance(arg, str) else arg for arg in made), (seed,))
        options = {"seed": seed, **self.options}
        return check_vjp(self.function, *args, reference=self.reference, kwargs=self.kwargs, **options)

    @property
    def title(self) -> str:
        """The name, or `function-f32[3]-...` where it has none."""
        specs = [] if callable(self.args) else [arg for arg in self.args if isinstance(arg, str)]
        return self.name or "-".join([function_name(self.function), *specs])


def rule_cases(calls: Iterable[RuleCall | tuple[Any, ...]]) -> list[Any]:
    """Returns a `pytest.param` for each call, with the call's name as its id; a tuple is `(function, args)`.

    Raises TypeError for anything else, such as `("f32[3]")` without its comma. pytest has to be installed.

    >>> import jax
    >>> [case.id for case in rule_cases([(jax.numpy.sin, ("f32[3]",)), (jax.numpy.cos, lambda: (jax.numpy.ones(3),))])]
    ['sin-f32[3]', 'cos']
    """
    import pytest

    made = []
    for call in calls:
        if isinstance(call, tuple) and 2 <= len(call) <= 3 and callable(call[0]):
            call = RuleCall(*call)
        if not isinstance(call, RuleCall):
            raise TypeError(f"rule_cases: a RuleCall or (function, args) is wanted, got {call!r}")
        made.append(pytest.param(call, id=call.title, marks=call.marks))
    return made

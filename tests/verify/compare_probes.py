"""What the tests of right and of wrong rules share: the comparison without what is tested elsewhere."""

import functools

from jbackprop.verify import compare

# what tests/verify/test_contract.py and test_under_transformations.py are about, and compiling takes longest
ELSEWHERE = ("vmap", "scan", "checkpoint", "second order")
compare_vjp = functools.partial(compare.compare_vjp, skip=ELSEWHERE)
check_vjp = functools.partial(compare.check_vjp, skip=ELSEWHERE)


def measured(error):
    assert error is not None
    return error

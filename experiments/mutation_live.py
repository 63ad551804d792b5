"""The running package, whose functions are broken and mended while everything keeps pointing at them."""

import ast
import gc
import os
import shutil
import sys
import types
import warnings
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import jax

from experiments.mutants import Mutant, mutated_source
from experiments.mutation import PACKAGE, ROOT


class Live:
    """The functions and constants of the running package, by file and name, to be broken and mended."""

    def __init__(self, shadow: Path) -> None:
        """In `shadow` lies a copy of the package that processes started by a test import."""
        self.shadow = shadow / PACKAGE.name
        shutil.copytree(PACKAGE, self.shadow, ignore=shutil.ignore_patterns("__pycache__"))
        os.environ["PYTHONSAFEPATH"] = "1"  # do not look into the working folder first
        os.environ["PYTHONPATH"] = os.pathsep.join([str(shadow), os.environ.get("PYTHONPATH", "")])
        self.functions = defaultdict(list)
        for thing in gc.get_objects():
            if type(thing) is types.FunctionType and thing.__code__.co_filename.startswith(str(PACKAGE)):
                self.functions[thing.__code__.co_filename, thing.__code__.co_qualname].append(thing)
        for module in list(sys.modules.values()):
            if str(vars(module).get("__file__")).startswith(str(PACKAGE)):
                vars(module).setdefault("jax", jax)  # some mutants return jax.tree.map(jnp.zeros_like, ...)
                vars(module).setdefault("jnp", jax.numpy)

    def broken(self, mutant: Mutant) -> ExitStack:
        """Puts the mutant in the place of what it was made from, until the end of the `with`.

        Raises: whatever the module would raise when it is imported with this mutant.
        """
        tree, stack, copied = mutant.tree, ExitStack(), self.shadow / mutant.file
        source = copied.read_text()
        copied.write_text(mutated_source(source, mutant))
        stack.callback(copied.write_text, source)
        stack.callback(self._function(mutant, tree) if isinstance(tree, ast.FunctionDef) else self._constant(mutant))
        return stack

    def _function(self, mutant: Mutant, tree: ast.FunctionDef) -> Callable[[], None]:
        path = str(PACKAGE / mutant.file)
        functions = self.functions[path, mutant.function]
        before = [(f, f.__code__, f.__defaults__) for f in functions]
        with warnings.catch_warnings(action="ignore"):  # (-1)[0] is worth a warning to Python
            holder = compile(ast.Module([tree], []), path, "exec")
        code = next(const for const in holder.co_consts if isinstance(const, types.CodeType))
        code = code.replace(co_qualname=mutant.function)
        defaults = [compile(ast.Expression(default), path, "eval") for default in tree.args.defaults]
        values = [tuple(eval(default, f.__globals__) for default in defaults) or None for f in functions]
        for f, value in zip(functions, values, strict=True):
            f.__code__, f.__defaults__ = code, value

        def mend():
            for f, old_code, old_defaults in before:
                f.__code__, f.__defaults__ = old_code, old_defaults

        return mend

    def _constant(self, mutant: Mutant) -> Callable[[], None]:
        own = next(m for m in sys.modules.values() if vars(m).get("__file__") == str(PACKAGE / mutant.file))
        old, namespace = getattr(own, mutant.function), {}
        exec(compile(ast.Module([mutant.tree], []), str(PACKAGE / mutant.file), "exec"), vars(own), namespace)
        new = namespace[mutant.function]
        if isinstance(old, int | float | str):  # shared with everything that has the same value
            holders = [vars(m) for m in list(sys.modules.values()) if vars(m).get(mutant.function, new) is old]
            places = [(holder, mutant.function) for holder in holders]
        else:
            holders = [holder for holder in gc.get_referrers(old) if type(holder) is dict]
            places = [(holder, key) for holder in holders for key, value in holder.items() if value is old]
        for holder, key in places:
            holder[key] = new

        def mend():
            for holder, key in places:
                holder[key] = old

        return mend


def empty_caches() -> None:
    """JAX's, and those of functions in our modules and tests that remember their results."""
    jax.clear_caches()
    ours = str(ROOT / "jbackprop"), str(ROOT / "tests")  # not all of ROOT, where the environment may lie
    for module in list(sys.modules.values()):
        if str(vars(module).get("__file__")).startswith(ours):
            for value in list(vars(module).values()):
                for clear in ("cache_clear", "clear_cache"):
                    if callable(value) and hasattr(value, clear):
                        getattr(value, clear)()

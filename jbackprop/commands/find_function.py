"""Functions of the user's own code by the names that the command line takes: `package.module:function`."""

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from jbackprop.commands.user_errors import described

Function = Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]]  # or a rule as its pair (fwd, bwd)
HOW = "write package.module:function or file.py:function"


class NotFound(Exception):
    """There is no such function. The message says what there is instead."""


def find_function(name: str) -> Function:
    """Returns the function called `package.module:function`, `module:Class.method` or `folder/file.py:function`.

    A pair of functions is a rule's two passes. The current directory is searched first. Raises `NotFound`.

    >>> find_function("math:sqrt")(4.0)
    2.0
    """
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        raise NotFound(f"{name!r} names no function: {_without_colon(name)}")
    module = _of_file(Path(where)) if where.endswith(".py") or "/" in where else _of_name(where)
    found: Any = module
    for i, part in enumerate(attribute.split(".")):
        try:
            found = getattr(found, part)
        except AttributeError:  # not `hasattr`: a module may run code of its own here
            parents = ".".join(attribute.split(".")[:i])
            raise NotFound(_no_attribute(where + (f":{parents}" if parents else ""), found, part)) from None
        except Exception as error:
            raise NotFound(f"{name} cannot be looked up: {described(error)}") from error
    pair = isinstance(found, tuple) and len(found) == 2 and all(map(callable, found))
    if not callable(found) and not pair:
        raise NotFound(f"{name} is no function but of type {type(found).__name__}{_list(_callables(module))}")
    return found


def _without_colon(name: str) -> str:
    module, dot, function = name.strip(":").rpartition(".")
    if name.strip(":").endswith(".py"):
        return f"write {name.strip(':')}:function"
    return f"write {module}:{function}" if dot and module else HOW


def _of_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise NotFound(f"{name!r} is no module's name: {HOW}")
    with_folder(Path.cwd())
    try:
        return _imported(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{name}.".startswith(f"{missing}."):
            raise NotFound(f"{name} cannot be imported: {described(error)}") from error
        raise NotFound(_no_module(name, missing)) from error


def _of_file(path: Path) -> ModuleType:
    """Imports a file under the name that it has in its package, so that its relative imports work."""
    if not path.is_file():
        files = sorted(str(other) for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise NotFound(f"there is no file {path}{_close(str(path), files)}")
    path = path.resolve()
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").exists():
        names, folder = [folder.name, *names], folder.parent
    with_folder(folder)
    name = ".".join(names)
    try:
        module = _imported(name)
        if Path(module.__file__ or "").resolve() == path:
            return module
        return _loaded(f"_checked_{path.stem}", path)  # another module has that name already
    except ModuleNotFoundError as error:
        raise NotFound(f"{path.name} cannot be imported: {described(error)}") from error


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise
    except (Exception, SystemExit) as error:  # whatever stands in the user's module
        raise NotFound(f"{name} cannot be imported: {described(error)}") from error


def _loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise NotFound(f"{path.name} cannot be imported: {described(error)}") from error
    return module


def with_folder(folder: Path) -> None:
    """Puts a folder first on the path of imports, where `python file.py` has it and an installed command has not."""
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def _no_module(name: str, missing: str) -> str:
    parent, _, last = missing.rpartition(".")
    owner = sys.modules.get(parent)
    if parent and owner is not None and not hasattr(owner, "__path__"):
        rest = name.removeprefix(parent).strip(".")
        return f"{parent} is a module, not a package: write {parent}:{rest}"
    there = [module.name for module in pkgutil.iter_modules(getattr(owner, "__path__", None) if parent else None)]
    where = f" in the package {parent}" if parent else f" in {Path.cwd()} or among the installed packages"
    return f"there is no module {last!r}{where}{_close(last, there)}"


def _no_attribute(where: str, owner: Any, name: str) -> str:
    there = _callables(owner)
    close = _close(name, there)
    return f"{where} has no function {name!r}{close or _list(there)}"


def _callables(owner: Any) -> list[str]:
    """The functions that the module itself defines, before those that it has imported."""
    names = [n for n, value in vars(owner).items() if callable(value) and not n.startswith("_")] if _open(owner) else []
    own = [n for n in names if getattr(vars(owner)[n], "__module__", None) == getattr(owner, "__name__", None)]
    return own or names


def _open(owner: Any) -> bool:
    return hasattr(owner, "__dict__")


def _close(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=3)
    return f": did you mean {' or '.join(close)}?" if close else ""


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"; its functions: {shown}" if names else ""

"""Which tests may concern a file: a cheap guess from names and imports that spares most of them the trial."""

import re
from pathlib import Path

from experiments.mutation import PACKAGE


def candidates(file: str, items: list) -> list:
    """Returns all tests but those whose names show that they are about rules which do not import the file."""
    if file.startswith("networks/"):
        return [item for item in items if "layers" not in item.nodeid.split("::")[0]]
    rules = sorted((path.stem for path in (PACKAGE / "layers").glob("*.py")), key=len, reverse=True)
    rule, users = re.compile(rf"(?<![a-z0-9])({'|'.join(rules)})(?![a-z0-9])"), _users(file)

    def concerns(nodeid: str) -> bool:
        path, _, about = nodeid.partition("::")
        if Path(path).stem == f"test_{Path(file).stem}":
            return True  # whatever its tests are called
        named = {Path(path).stem} if path.startswith("jbackprop") else set(rule.findall(about))
        return "networks" not in path and (not named or bool(named & users))

    return [item for item in items if concerns(item.nodeid)]


def _users(file: str) -> set[str]:
    """Returns the modules of `layers` that import the file, directly or not, and the file itself."""
    imports = {
        path.stem: set(re.findall(r"jbackprop\.layers\.(\w+)", path.read_text()))
        for path in (PACKAGE / "layers").glob("*.py")
    }
    users, new = {Path(file).stem}, {Path(file).stem}
    while new:
        new = {name for name, used in imports.items() if used & users} - users
        users |= new
    return users

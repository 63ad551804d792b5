"""What a training run is: frozen, typed, read from a TOML file, every field overridable on the command line."""

import difflib
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from jbackprop.training.sections import L2 as L2
from jbackprop.training.sections import Count
from jbackprop.training.sections import Data as Data
from jbackprop.training.sections import Distributed as Distributed
from jbackprop.training.sections import Mesh as Mesh
from jbackprop.training.sections import Network as Network
from jbackprop.training.sections import Optimizer as Optimizer
from jbackprop.training.unusable import NO_CLASSIFIERS, unusable

Gradient = Literal["explicit", "rules", "automatic"]
Loop = Literal["auto", "scan", "steps"]
Compiler = Literal["auto", "default", "threaded"]


class ConfigError(ValueError):
    """A configuration that cannot be used. The message names the file (or the command line) and the key.

    `key` is the key alone, for example `network.hidden`; the part of the program that knows only the values raises it
    with a message that begins with the key, and who knows where the values are from puts that in front.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    network: Network = Network()
    data: Data = Data()
    optimizer: Optimizer = Optimizer()
    l2: L2 = L2()
    mesh: Mesh = Mesh()
    distributed: Distributed = Distributed()
    gradient: Gradient = "explicit"
    """Backward pass written out (explicit), jax.grad through the rules (rules), or JAX alone (automatic)."""
    epochs: Count = 30
    """Passes over the training split."""
    batch_size: Count = 32
    """Examples a step. An epoch leaves out the (examples mod batch size) last ones of its order."""
    accumulate: Count = 1
    """Parts that a batch is cut into, one after the other; the step is that of the whole batch, with less memory."""
    shuffle: bool = True
    """Another order of the training images for each epoch, or always the same."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the network's computation; parameters, loss and updates are float32 in either."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    """Of the initial weights and the shuffling."""
    seeds: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Trainings side by side, with the seeds `seed`, `seed` + 1, ...; mean and standard deviation are shown."""
    loop: Loop = "auto"
    """A whole epoch in one compiled loop (scan), one call a step (steps), or what is faster here (auto)."""
    compiler: Compiler = "auto"
    """XLA's options: convolutions on all cores of a CPU (threaded), none (default), or what is faster here (auto)."""
    agreement_epochs: Annotated[int, Meta(ge=0)] = 3
    """Epochs for which all three gradients are trained side by side, for the agreement plot; 0 is none."""
    check_every: Annotated[int, Meta(ge=0, le=10**9)] = 0
    """Steps from one check of the gradient against the automatic one to the next, in the compiled step; 0 is none."""
    checkpoint_every: Annotated[int, Meta(ge=0, le=10**9)] = 1
    """Epochs from one checkpoint to the next, more where writing would take over 5% of the time; 0 is none."""
    keep_checkpoints: Annotated[int, Meta(ge=1, le=10**6)] = 2
    """Checkpoints that are kept, the last ones, beside the best."""
    name: str | None = None
    """Head of the run folder's name; None is the name of the configuration file."""
    runs: str = "runs"
    """Folder that the run's own folder is made in."""


class Setting(NamedTuple):
    """`key` belongs to `section.name == owner` alone."""

    section: str
    owner: str
    key: str


SETTINGS_OF_ONE = (
    Setting("network", "mlp", "activation"),
    Setting("network", "cnn", "channels"),
    Setting("network", "cnn", "kernel"),
    Setting("network", "cnn", "padding"),
    Setting("network", "cnn", "pool"),
    Setting("optimizer", "momentum", "momentum"),
    Setting("optimizer", "adamw", "weight_decay"),
)


def read(path: Path) -> Config:
    """Returns the configuration in a TOML file. Raises `ConfigError` naming the file and the key.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "my.toml")
    ...     _ = path.write_text("epochs = 5")
    ...     read(path).epochs
    5
    """
    try:
        content = msgspec.toml.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return from_builtins(content, lambda key: str(path))


def from_builtins(content: Any, origin: Callable[[str], str]) -> Config:
    """Returns the configuration that nested dictionaries describe.

    Raises `ConfigError`, whose message begins with `origin(key)`: the name of the file, or "command line".
    """
    try:
        config = _converted(content)
        _check_settings(config)
        _check_text(config)
    except ConfigError as error:
        raise ConfigError(f"{origin(error.key)}: {error}", error.key) from error
    return config


def _converted(content: Any) -> Config:
    try:
        return msgspec.convert(content, Config)
    except msgspec.ValidationError as error:
        words = _in_words(str(error))
        raise ConfigError(words, re.split(r"[:\[]", words)[0]) from error


def to_toml(config: Config) -> str:
    """Returns the configuration as TOML that `read` accepts; keys that are None are left out.

    >>> print(to_toml(Config(epochs=5)).partition("[data]")[0].strip())
    gradient = "explicit"
    epochs = 5
    batch_size = 32
    accumulate = 1
    shuffle = true
    dtype = "float32"
    seed = 0
    seeds = 1
    loop = "auto"
    compiler = "auto"
    agreement_epochs = 3
    check_every = 0
    checkpoint_every = 1
    keep_checkpoints = 2
    runs = "runs"
    <BLANKLINE>
    [network]
    name = "two_layer"
    hidden = [64]
    cost = "cross_entropy"
    """
    content = msgspec.to_builtins(config)
    sections = {key: part for key, part in content.items() if isinstance(part, dict)}
    lines = _lines({key: value for key, value in content.items() if key not in sections})
    for name, part in sections.items():
        if of_part := _lines(part):
            lines += ["", f"[{name}]", *of_part]
    return "\n".join(lines) + "\n"


def flat(config: Config) -> dict[str, Any]:
    """Returns the value of every setting under the key that errors and the command line name it by.

    >>> flat(Config())["network.hidden"]
    (64,)
    """
    settings: dict[str, Any] = {}
    for key, value in msgspec.to_builtins(config).items():
        settings |= {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
    return settings


def _lines(part: dict[str, Any]) -> list[str]:
    # JSON's strings, numbers and lists are TOML's too, but for the surrogate pairs of ensure_ascii
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in part.items() if value is not None]


def _check_settings(config: Config) -> None:
    for section, owner, key in SETTINGS_OF_ONE:
        part = getattr(config, section)
        if part.name != owner and getattr(part, key) is not None:
            name = f"{section}.{key}"
            raise ConfigError(f"{name}: a setting of {owner!r} alone, not of {section}.name = {part.name!r}", name)
    if config.check_every and config.gradient == "automatic":
        raise ConfigError("check_every: the automatic gradient would be held against itself", "check_every")
    if refusal := unusable(config):
        raise ConfigError(refusal, refusal.partition(":")[0])


def _check_text(config: Config) -> None:
    texts = {"name": config.name, "runs": config.runs, "data.dir": config.data.dir}
    for key, text in texts.items():
        if text is None:
            continue
        if unwritable := next((c for c in text if unicodedata.category(c) in ("Cc", "Cs")), None):
            raise ConfigError(f"{key}: control character {unwritable!r} in {text!r}", key)
    if config.name is not None and (not config.name or set("/\\") & set(config.name)):
        raise ConfigError(f"name: the head of a folder's name, without / and \\, got {config.name!r}", "name")


def _in_words(message: str) -> str:
    """msgspec's message with the key first: `epochs: expected int, got str`."""
    message, _, location = message.replace("`", "").partition(" - at ")
    section = location.removeprefix("$").lstrip(".")
    if unknown := re.fullmatch(r"Object contains unknown field (.+)", message):
        key = unknown.group(1)
        known = _part_type(section).__struct_fields__
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
        return f"{section + '.' if section else ''}{key}: unknown key; {hint}"
    message = message.replace("xpected object", f"xpected a table [{section}]")
    if message.startswith("Invalid enum value"):
        field = _field_type(section)
        message += f"; known values: {', '.join(field)}" if field else ""
        message += "".join(f"; {why}" for name, why in NO_CLASSIFIERS.items() if f"'{name}'" in message)
    return f"{section}: {message[0].lower()}{message[1:]}" if section else message


def _part_type(section: str) -> Any:
    parts = {
        "network": Network,
        "data": Data,
        "optimizer": Optimizer,
        "l2": L2,
        "mesh": Mesh,
        "distributed": Distributed,
    }
    return parts.get(section, Config)


def _field_type(location: str) -> list[str]:
    """The strings allowed at a key such as `optimizer.name`."""
    section, _, key = location.rpartition(".")
    annotation = msgspec.inspect.type_info(_part_type(section))
    field = next((f.type for f in getattr(annotation, "fields", ()) if f.name == key), None)
    options = getattr(field, "types", (field,))
    return [str(v) for option in options for v in getattr(option, "values", ())]

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

Gradient = Literal["explicit", "rules", "automatic"]
Loop = Literal["auto", "scan", "steps"]
Count = Annotated[int, Meta(ge=1, le=10**9)]
Width = Annotated[int, Meta(ge=1, le=2**16)]
Positive = Annotated[float, Meta(gt=0.0, le=1e6)]
Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]


class ConfigError(ValueError):
    """A configuration that cannot be used. The message names the file (or the command line) and the key.

    `key` is the key alone, for example `network.hidden`; the part of the program that knows only the values raises it
    with a message that begins with the key, and who knows where the values are from puts that in front.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class Network(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The network; its input and output widths follow from the data.

    Settings that are None take the network's own default; a setting that the network does not have is refused.
    """

    name: Literal["two_layer", "mlp", "cnn"] = "two_layer"
    """Module of jbackprop.networks."""
    hidden: tuple[Width, ...] = (64,)
    """Widths of the hidden dense layers: exactly one for two_layer."""
    activation: Literal["relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "softplus"] | None = None
    """mlp: activation of the hidden layers."""
    channels: tuple[Width, ...] | None = None
    """cnn: output channels of each convolution."""
    kernel: Width | None = None
    """cnn: side of the convolution kernels."""
    pool: Literal["max", "avg"] | None = None
    """cnn: pooling after each convolution."""


class Data(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The data set and where its prepared files lie."""

    name: Literal["digits", "mnist", "fashion_mnist", "kmnist"] = "digits"
    """Data set."""
    dir: str | None = None
    """Folder of the IDX files or the prepared files; None is ~/.cache/jbackprop/data ($XDG_CACHE_HOME is honoured)."""


class Optimizer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The optax optimiser."""

    name: Literal["sgd", "momentum", "adam"] = "sgd"
    """Update rule."""
    learning_rate: Positive = 0.1
    """Step size."""
    momentum: Fraction | None = None
    """momentum: decay of the accumulated gradient; None is 0.9."""


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    network: Network = Network()
    data: Data = Data()
    optimizer: Optimizer = Optimizer()
    gradient: Gradient = "explicit"
    """Backward pass written out (explicit), jax.grad through the rules (rules), or JAX alone (automatic)."""
    epochs: Count = 30
    """Passes over the training split."""
    batch_size: Count = 32
    """Examples a step. An epoch leaves out the (examples mod batch size) last ones of its shuffled order."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    """Of the initial weights and the shuffling."""
    loop: Loop = "auto"
    """A whole epoch in one compiled loop (scan), one call a step (steps), or what is faster here (auto)."""
    agreement_epochs: Annotated[int, Meta(ge=0)] = 3
    """Epochs for which all three gradients are trained side by side, for the agreement plot; 0 is none."""
    check_every: Annotated[int, Meta(ge=0, le=10**9)] = 0
    """Steps from one check of the gradient against the automatic one to the next, in the compiled step; 0 is none."""
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
    Setting("network", "cnn", "pool"),
    Setting("optimizer", "momentum", "momentum"),
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
    seed = 0
    loop = "auto"
    agreement_epochs = 3
    check_every = 0
    runs = "runs"
    <BLANKLINE>
    [network]
    name = "two_layer"
    hidden = [64]
    """
    content = msgspec.to_builtins(config)
    sections = {key: part for key, part in content.items() if isinstance(part, dict)}
    lines = _lines({key: value for key, value in content.items() if key not in sections})
    for name, part in sections.items():
        lines += ["", f"[{name}]", *_lines(part)]
    return "\n".join(lines) + "\n"


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
    network = config.network
    if network.name == "two_layer" and len(network.hidden) != 1:
        widths = list(network.hidden)
        raise ConfigError(f"network.hidden: two_layer has one hidden layer, got {widths}", "network.hidden")


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
    return f"{section}: {message[0].lower()}{message[1:]}" if section else message


def _part_type(section: str) -> Any:
    return {"network": Network, "data": Data, "optimizer": Optimizer}.get(section, Config)


def _field_type(location: str) -> list[str]:
    """The strings allowed at a key such as `optimizer.name`."""
    section, _, key = location.rpartition(".")
    annotation = msgspec.inspect.type_info(_part_type(section))
    field = next((f.type for f in getattr(annotation, "fields", ()) if f.name == key), None)
    options = getattr(field, "types", (field,))
    return [str(v) for option in options for v in getattr(option, "values", ())]

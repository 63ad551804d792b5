"""The sections of a configuration, which say what a network, a data set and an optimiser are made of."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1, le=10**9)]
Width = Annotated[int, Meta(ge=1, le=2**16)]
Positive = Annotated[float, Meta(gt=0.0, le=1e6)]
Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]
Row = Annotated[int, Meta(ge=0, le=10**9)]

CHANNELS = (32, 64)  # of cnn where network.channels is None


class Network(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The network; its input and output widths follow from the data.

    Settings that are None take the network's own default; a setting that the network does not have is refused.
    """

    name: Literal["two_layer", "mlp", "cnn", "graph"] = "two_layer"
    """Module of jbackprop.networks; of all graphs, graph is the residual perceptron of `training/residual.py`. The
    modules `deep` and `regression` give numbers with a squared error and name no class: they are not trained here."""
    hidden: tuple[Width, ...] = (64,)
    """Widths of the hidden dense layers: exactly one for two_layer, all equal for graph."""
    activation: Literal["relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "softplus"] | None = None
    """mlp: activation of the hidden layers."""
    channels: tuple[Width, ...] | None = None
    """cnn: output channels of each convolution."""
    kernel: Width | None = None
    """cnn: side of the convolution kernels."""
    padding: tuple[Literal["SAME", "VALID"], ...] | None = None
    """cnn: of each convolution; None is SAME everywhere, which keeps the image's size."""
    pool: Literal["max", "avg"] | None = None
    """cnn: pooling after each convolution."""
    cost: Literal["cross_entropy", "quadratic", "sigmoid_cross_entropy"] = "cross_entropy"
    """Of the outputs: cross-entropy of their softmax, or one of jbackprop.networks.costs."""
    weights: Literal["normal", "fan_in", "lecun_normal"] | None = None
    """Initial weights: N(0, 1), N(0, 1/fan-in), or that truncated at two standard deviations (lecun_normal)."""
    biases: Literal["normal", "zero"] | None = None
    """Initial biases: N(0, 1), or 0."""


class Data(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The data set and where its prepared files lie."""

    name: Literal["digits", "mnist", "fashion_mnist", "kmnist"] = "digits"
    """Data set."""
    dir: str | None = None
    """Folder of the IDX files or the prepared files; None is ~/.cache/jbackprop/data ($XDG_CACHE_HOME is honoured)."""
    permutation: Annotated[int, Meta(ge=0, lt=2**32)] | None = None
    """Seed of the numpy.random.RandomState whose permutation reorders the training images once; None leaves them."""
    rows: tuple[Row, Row] | None = None
    """Training images that are used, from the first number up to the second, after the permutation; None is all."""
    normalise: Literal["none", "standard"] = "none"
    """Pixels from 0 to 1 (none), less their mean over the training images, by their standard deviation (standard)."""
    on_device_bytes: Annotated[int, Meta(ge=0)] = 2**31
    """Training images of more bytes than that stay in their files and stream to the device, batch by batch."""


class Optimizer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The optax optimiser."""

    name: Literal["sgd", "momentum", "adam", "adamw"] = "sgd"
    """Update rule."""
    learning_rate: Positive = 0.1
    """Step size, the largest of the schedule."""
    momentum: Fraction | None = None
    """momentum: decay of the accumulated gradient; None is 0.9."""
    weight_decay: Fraction | None = None
    """adamw: share of each weight taken off, times the learning rate; biases keep theirs; None is 1e-4."""
    clip_norm: Positive | None = None
    """Gradients whose norm, over all parameters, is larger are scaled down to it; None leaves them."""
    schedule: Literal["constant", "cosine"] = "constant"
    """The learning rate after the warm-up: as it is, or down by half a period of the cosine."""
    unit: Literal["epochs", "steps"] = "epochs"
    """Of warmup and decay_over."""
    warmup: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.0
    """Time in which the learning rate grows from 0."""
    decay_over: Positive | None = None
    """cosine: time from the first step, with the warm-up, to the lowest learning rate; None is the whole run."""
    decay_to: Fraction | None = None
    """cosine: the lowest learning rate, as a share of the largest; None is 0."""


class L2(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A penalty on the weights, not on the biases, as part of the loss that is trained."""

    form: Literal["none", "cs229", "nielsen"] = "none"
    """cs229: strength * (sum of squares). nielsen: strength / (2 * training examples) * (sum of squares)."""
    strength: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    """λ of the form."""


class Mesh(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The devices that share the work: data x model of them; 1 x 1 is the first device alone."""

    data: Width = 1
    """Devices that share each batch."""
    model: Width = 1
    """Devices that share the dense layers (tensor parallel)."""
    fsdp: bool = False
    """Parameters and the optimiser's state lie in pieces on the devices of `data` between the steps."""


class Distributed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """This process among those that share the run (`distributed.py`)."""

    coordinator: str | None = None
    """host:port of process 0, or auto; None is $JAX_COORDINATOR_ADDRESS, and without that a run of one process."""
    processes: Width | None = None
    """How many there are; None is $JAX_NUM_PROCESSES."""
    process: Annotated[int, Meta(ge=0, lt=2**16)] | None = None
    """Which one this is, from 0 on; None is $JAX_PROCESS_ID."""

"""What each clause of the contract between a rule and JAX is called: in a report, and by `skip`."""

RUNS = "the rule runs"
TYPES_OF_FWD = "fwd returns the primal's tree, shapes and dtypes"
TYPES_OF_BWD = "bwd returns a tuple with a cotangent of its shape and dtype for each argument"
VALUE = "fwd returns the primal's value"
VALUE_OF_REFERENCE = "the value is that of"  # its name follows
LINEAR = "linear in the cotangent"
ZERO = "zero for a zero cotangent"
PURE = "the same when called again"
JIT = "the same without jit"
VMAP = "vmap is the loop"
SCAN = "the same in scan"
CHECKPOINT = "the same under checkpoint"
SECOND_ORDER = "second order"
ONE_AT_A_TIME = "one output or argument at a time"
DEVICES = "the same on"  # how many follows
DIFFERENCES = "finite differences agree"

CLAUSES = (
    "value", "linear", "zero", "pure", "jit", "vmap", "scan", "checkpoint", "second order", "symbolic zeros",
    "sharding", "finite differences",
)  # fmt: skip

"""Correct rules that tempt a gradient checker into a false alarm."""

from jbackprop.verify.corpus.case import RightRule
from jbackprop.verify.corpus.right_arguments import ARGUMENTS
from jbackprop.verify.corpus.right_convolutions import CONVOLUTIONS
from jbackprop.verify.corpus.right_declared import DECLARED
from jbackprop.verify.corpus.right_hard import HARD
from jbackprop.verify.corpus.right_kinks import KINKS
from jbackprop.verify.corpus.right_layers import LAYERS
from jbackprop.verify.corpus.right_linalg import LINALG
from jbackprop.verify.corpus.right_precision import PRECISION
from jbackprop.verify.corpus.right_pytrees import PYTREES
from jbackprop.verify.corpus.right_scales import SCALES
from jbackprop.verify.corpus.right_signatures import SIGNATURES
from jbackprop.verify.corpus.right_softmax import SOFTMAX
from jbackprop.verify.corpus.right_ties import TIES
from jbackprop.verify.corpus.right_transforms import TRANSFORMS

RIGHT: tuple[RightRule, ...] = (
    *ARGUMENTS,
    *SIGNATURES,
    *PYTREES,
    *KINKS,
    *TIES,
    *SCALES,
    *SOFTMAX,
    *PRECISION,
    *DECLARED,
    *TRANSFORMS,
    *LAYERS,
    *LINALG,
    *CONVOLUTIONS,
    *HARD,
)

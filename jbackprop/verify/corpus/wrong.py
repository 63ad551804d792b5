"""All wrong rules, by the topic of what they compute."""

from jbackprop.verify.corpus.case import WrongRule
from jbackprop.verify.corpus.wrong_activations import ACTIVATIONS
from jbackprop.verify.corpus.wrong_algebra import ALGEBRA
from jbackprop.verify.corpus.wrong_contract import CONTRACT
from jbackprop.verify.corpus.wrong_convolution import CONVOLUTION
from jbackprop.verify.corpus.wrong_cross_entropy import CROSS_ENTROPY
from jbackprop.verify.corpus.wrong_dense import DENSE
from jbackprop.verify.corpus.wrong_elementwise import ELEMENTWISE
from jbackprop.verify.corpus.wrong_hidden import HIDDEN
from jbackprop.verify.corpus.wrong_indexing import INDEXING
from jbackprop.verify.corpus.wrong_losses import LOSSES
from jbackprop.verify.corpus.wrong_normalisation import NORMALISATION
from jbackprop.verify.corpus.wrong_numerics import NUMERICS
from jbackprop.verify.corpus.wrong_pooling import POOLING
from jbackprop.verify.corpus.wrong_sequences import SEQUENCES
from jbackprop.verify.corpus.wrong_transforms import TRANSFORMS

WRONG: tuple[WrongRule, ...] = (
    *DENSE,
    *ALGEBRA,
    *ACTIVATIONS,
    *ELEMENTWISE,
    *NUMERICS,
    *CROSS_ENTROPY,
    *LOSSES,
    *CONVOLUTION,
    *POOLING,
    *NORMALISATION,
    *INDEXING,
    *SEQUENCES,
    *CONTRACT,
    *TRANSFORMS,
    *HIDDEN,
)

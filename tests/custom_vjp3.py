"""What the rules of JAX_CUSTOM_VJP3=1 cannot do yet, by version of JAX: when a test must leave it out, and why."""

import jax
import pytest

ON = bool(getattr(jax.config, "jax_custom_vjp3", False))

HASHES_STATIC_ARGUMENTS = jax.__version_info__ < (0, 11)  # wherever the rules are those of JAX_CUSTOM_VJP3=1
NO_HASH = "JAX 0.10 under JAX_CUSTOM_VJP3=1 hashes every static argument and refuses one that has no hash"
unhashable_static_arguments = pytest.mark.skipif(ON and HASHES_STATIC_ARGUMENTS, reason=NO_HASH)

# Whoever wrote the rule: of a rule with static arguments on JAX 0.10, of one of equinox on JAX 0.11 too.
CHECKPOINT_IS_BROKEN = ON and jax.__version_info__ < (0, 11)
CHECKPOINT_IS_BROKEN_FOR_EQUINOX = ON and jax.__version_info__ < (0, 12)

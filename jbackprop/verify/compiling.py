"""How programs are compiled that run once or twice."""

from typing import Any

# LLVM's optimisation takes longer than it saves
BARELY_OPTIMISED: Any = {"xla_backend_optimization_level": 0}

"""kosmos2_jax: a language model that links phrases to boxes, in JAX/Flax."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from kosmos2_jax.predictor import Predictor

__all__ = ["Predictor", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
  # Lazily, so that importing the text package alone does not load jax.
  if name == "Predictor":
    return importlib.import_module("kosmos2_jax.predictor").Predictor
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

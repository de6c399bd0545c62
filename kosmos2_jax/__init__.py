"""kosmos2_jax: a language model that links phrases to boxes, in JAX/Flax."""

import glob
import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from kosmos2_jax.predictor import Predictor

__all__ = ["Predictor", "__version__"]
__version__ = "0.1.0"

# libtpu is installed to compile for TPUs that are not here. Where none is, jax
# starts it all the same, and it complains that nobody named the TPU.
if not glob.glob("/dev/accel*") and not glob.glob("/dev/vfio/*"):
  os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
  os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")


def __getattr__(name: str) -> Any:
  # Lazily, so that importing the text package alone does not load jax.
  if name == "Predictor":
    return importlib.import_module("kosmos2_jax.predictor").Predictor
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

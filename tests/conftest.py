"""What holds for every test: the CPU, checked shapes, no files left behind."""

import os
import pathlib

# Before anything imports jax or tensorflow. Subprocesses inherit these two.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import hypothesis.configuration
import jaxtyping
import pytest

# Checks dtypes and shapes at every annotated function, in tests only. It has
# to come before the first import of the packages it instruments.
jaxtyping.install_import_hook(["kosmos2_jax", "data"], "beartype.beartype")

_CACHE = (
  pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
  / "kosmos2_jax"
)
_CHECKOUT = pathlib.Path(__file__).parents[1]

hypothesis.configuration.set_hypothesis_home_dir(_CACHE / "hypothesis")
# The same examples every time, and no failure because a machine is slow.
hypothesis.settings.register_profile(
  "house", derandomize=True, deadline=None, database=None
)
hypothesis.settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
  """Gives jax eight fake devices, and keeps what it compiles for next time."""
  del config
  try:
    import jax
  except ImportError:  # The text package and its tests do without.
    return
  jax.config.update("jax_num_cpu_devices", 8)
  jax.config.update("jax_compilation_cache_dir", str(_CACHE / "jax"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="session")
def reference_dir() -> pathlib.Path:
  """The released tokenizer and sample data, beside the checkout."""
  path = _CHECKOUT.parent / "shared" / "reference"
  if not path.is_dir():
    pytest.skip(f"needs the reference data in {path}")
  return path


@pytest.fixture(scope="session")
def real_tokenizer(reference_dir: pathlib.Path):
  """The released model's tokenizer, 32 x 32 bins."""
  from kosmos2_jax.text import Tokenizer

  return Tokenizer.from_file(reference_dir / "sentencepiece.bpe.model")


@pytest.fixture(scope="session")
def small_tokenizer():
  """The project's own tokenizer, 8 x 8 bins."""
  from kosmos2_jax.text import Tokenizer

  return Tokenizer.small(num_bins=8)

"""What a command says before it has anything to say: nothing."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
CODE = "import kosmos2_jax, jax; print(jax.default_backend())"


@pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None
  or any(pathlib.Path("/dev").glob("accel*"))
  or any(pathlib.Path("/dev").glob("vfio/*")),
  reason="needs libtpu on a machine without TPU",
)
def test_libtpu_without_tpu_is_silent():
  """Nobody has to say JAX_PLATFORMS=cpu to start on a CPU in peace."""
  ours = ("JAX_", "TPU_", "ALLOW_MULTIPLE_LIBTPU_LOAD")
  env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", CODE],
    cwd=ROOT,
    env=env,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert (done.stderr, done.returncode) == ("", 0)
  assert done.stdout.strip()

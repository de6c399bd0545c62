"""What a start of a run ran on: `environment.json` of its workdir."""

import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath

import kosmos2_jax
from kosmos2_jax.training import workdir

FILE = "environment.json"  # below the workdir
# Those that can change what a run computes, or how fast.
PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "numpy",
  "tensorflow",
  "tensorflow-cpu",
  "tensorflow-datasets",
  "array_record",
  "sentencepiece",
  "pillow",
  "ml_collections",
  "clu",
  "libtpu",
  "jax-cuda12-plugin",
)
_GIT_SECONDS = 5.0


def describe(command: Sequence[str]) -> dict[str, Any]:
  """Command, versions, devices of all processes, and git commit.

  Args:
    command: that was given, word by word.
  """
  devices = jax.devices()
  return {
    "command": shlex.join(command),
    "kosmos2_jax": kosmos2_jax.__version__,
    "git": commit(pathlib.Path(kosmos2_jax.__file__).parent),
    "python": platform.python_version(),
    "platform": platform.platform(),
    "backend": jax.default_backend(),
    "device_kind": devices[0].device_kind,
    "num_devices": len(devices),
    "num_hosts": jax.process_count(),
    "packages": versions(PACKAGES),
  }


def versions(packages: Sequence[str]) -> dict[str, str]:
  """Version of each package that is installed."""
  found = {}
  for name in packages:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def commit(folder: str | os.PathLike) -> str | None:
  """The git commit of a folder, with "-dirty" if files differ from it.

  None where there is no git, or no repository that has this folder's files.
  """
  asked = ["git", "-C", os.fspath(folder)]
  described = ["describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
  try:
    # An installed package may lie inside of somebody else's repository.
    for words in (["ls-files", "--error-unmatch", "__init__.py"], described):
      done = subprocess.run(
        [*asked, *words],
        capture_output=True,
        text=True,
        timeout=_GIT_SECONDS,
        check=True,
      )
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip() or None


def write(folder: str | os.PathLike, command: Sequence[str]) -> None:
  """Describes this start in a workdir, in place of the one before."""
  content = json.dumps(describe(command), indent=2) + "\n"
  workdir.write_whole(epath.Path(folder) / FILE, content.encode())

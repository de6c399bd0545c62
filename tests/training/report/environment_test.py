"""What a start ran on."""

import json
import pathlib
import subprocess

import jax
import numpy as np

import kosmos2_jax
from kosmos2_jax.training.report import environment


def test_what_is_told(tmp_path):
  environment.write(tmp_path, ["train.py", "--workdir=my run"])
  found = json.loads((tmp_path / "environment.json").read_text())
  assert found["command"] == "train.py '--workdir=my run'"
  assert found["kosmos2_jax"] == kosmos2_jax.__version__
  assert found["num_devices"] == jax.device_count()
  assert found["num_hosts"] == 1
  assert found["packages"]["numpy"] == np.__version__
  assert found["packages"]["jax"] == jax.__version__
  # Written whole.
  assert [path.name for path in tmp_path.iterdir()] == ["environment.json"]


def test_packages_that_are_missing_are_left_out():
  assert list(environment.versions(["numpy", "no-such-package"])) == ["numpy"]


def _git(folder, *words):
  who = ["-c", "user.name=a", "-c", "user.email=a@b"]
  subprocess.run(["git", "-C", folder, *who, *words], check=True)


def test_a_commit(tmp_path):
  assert environment.commit(tmp_path) is None
  _git(tmp_path, "init", "--quiet")
  file = tmp_path / "__init__.py"
  file.write_text("")
  # Somebody else's repository around it says nothing of this file.
  assert environment.commit(tmp_path) is None
  _git(tmp_path, "add", ".")
  _git(tmp_path, "commit", "--quiet", "-m", "x")
  clean = environment.commit(tmp_path)
  assert len(clean) == 40
  file.write_text("# changed")
  assert environment.commit(tmp_path) == f"{clean}-dirty"
  (tmp_path / "inside").mkdir()
  assert environment.commit(tmp_path / "inside") is None
  assert environment.commit(pathlib.Path("/nowhere")) is None

"""Training on several kinds at once, in packed rows, by the command."""

import json
import math
import pathlib
import re
import shutil

import jax
import numpy as np
import pytest

import train
from kosmos2_jax.input import recipes
from kosmos2_jax.models import presets
from kosmos2_jax.training import checkpoint, saved_params
from tests.input import mixing_test

# ml_collections reads config files in an old way.
pytestmark = [
  pytest.mark.slow,
  pytest.mark.filterwarnings(
    r"ignore:the load_module\(\) method:DeprecationWarning"
  ),
]

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def command(tmp_path, monkeypatch):
  """From a folder's name and further flags to the command line."""
  monkeypatch.chdir(ROOT)
  sources = {kind.source.name: kind.source for kind in mixing_test.make_kinds()}
  monkeypatch.setattr(
    train, "loader", lambda *_: lambda name, split: sources[name]
  )
  for name, op in (
    ("test_text", mixing_test.write_text),
    ("test_pages", mixing_test.write_pages),
  ):
    monkeypatch.setitem(recipes.RECIPES, name, lambda op=op: [op])

  def build(name, *more):
    return [
      "train.py",
      "--config=tests/mixed_config.py",
      f"--workdir={tmp_path / name}",
      f"--compilation_cache={jax.config.jax_compilation_cache_dir}",
      *more,
    ]

  return build


def _params(workdir):
  description = json.loads((workdir / "model.json").read_text())
  model = presets.build(description["sizes"])
  return saved_params.restore(workdir, model)


def test_kinds_train_together_and_resume(command, tmp_path, capfd):
  assert train.main(command("whole")) == 0
  lines = [
    line
    for line in capfd.readouterr().out.splitlines()
    if line.startswith("step ")
  ]
  assert len(lines) == 4
  for line in lines:
    found = dict(re.findall(r"(loss\S*) (\S+)", line))
    assert set(found) == {"loss", "loss/caption", "loss/text", "loss/pages"}
    losses = {name: float(value) for name, value in found.items()}
    assert all(math.isfinite(loss) for loss in losses.values())
    total = losses.pop("loss")
    assert min(losses.values()) < total < max(losses.values())
    # Three kinds have three losses.
    assert len(set(losses.values())) == 3

  # Killed at step 2, that is what it has; it ends with the same bits.
  shutil.copytree(tmp_path / "whole", tmp_path / "again")
  for name in ("4", "3"):
    shutil.rmtree(
      tmp_path / "again" / checkpoint.FOLDER / name, ignore_errors=True
    )
  assert train.main(command("again")) == 0
  assert "from step 2 to 4" in capfd.readouterr().out
  (whole, step), (again, _) = (
    _params(tmp_path / name) for name in ("whole", "again")
  )
  assert step == 4
  jax.tree.map(np.testing.assert_array_equal, again, whole)


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    (["--config.data.rows_per_step=0"], "packing needs rows_per_step"),
    (["--config.data.rows_per_step=6"], "rows_per_step 6 cannot be divided"),
    (["--config.data.rows_per_step=12"], "12 rows, which 8 device(s)"),
    (["--config.data.images_per_row=-1"], "images_per_row is 0 or more"),
    (["--config.data.seq_len=6"], "seq_len 6 has no room for text"),
  ],
)
def test_a_mistake_is_one_sentence(command, capfd, flags, sentence):
  assert train.main(command("run", *flags)) == 2
  assert sentence in capfd.readouterr().err


def test_what_is_left_out_is_told(command, capfd):
  flags = ["--config.data.images_per_row=2", "--config.num_steps=1"]
  assert (
    train.main(command("run", *flags, "--config.optimizer.warmup_steps=1")) == 0
  )
  out = capfd.readouterr().out
  assert "left out of the rows: too_many_pictures: " in out
  assert "(pages " in out

"""Weights & Biases, by a stand-in with the package's own signatures."""

import io
import json
import sys
import types

import numpy as np
import pytest

from kosmos2_jax.training import metrics

CONFIG = {"seed": 0, "model": {"width": 16}}


class _Run:
  """Its `step` goes up with every call, as the package's."""

  def __init__(self, id):
    self.id = id
    self.logged, self.axes, self.exit_code = [], {}, None

  def log(self, data, step=None, commit=None):
    assert step is None, "the package drops steps that are lower than before"
    assert self.exit_code is None
    self.logged.append(data)

  def define_metric(
    self,
    name,
    step_metric=None,
    step_sync=None,
    hidden=None,
    summary=None,
    overwrite=None,
  ):
    self.axes[name] = step_metric

  def finish(self, exit_code=None):
    self.exit_code = exit_code


class _Wandb(types.ModuleType):
  """The part of the module that is used; keeps what it is told."""

  class Error(Exception):
    """As the package's own."""

  class Image:
    """Keeps what it is given."""

    def __init__(
      self,
      data_or_path,
      mode=None,
      caption=None,
      grouping=None,
      classes=None,
      boxes=None,
      masks=None,
      file_type=None,
    ):
      self.data = data_or_path

  def __init__(self):
    super().__init__("wandb")
    self.inits, self.runs, self.refuses = [], [], ""

  def init(
    self,
    entity=None,
    project=None,
    dir=None,
    id=None,
    name=None,
    notes=None,
    tags=None,
    config=None,
    config_exclude_keys=None,
    config_include_keys=None,
    allow_val_change=None,
    group=None,
    job_type=None,
    mode=None,
    force=None,
    reinit=None,
    resume=None,
    resume_from=None,
    fork_from=None,
    save_code=None,
    tensorboard=None,
    sync_tensorboard=None,
    monitor_gym=None,
    settings=None,
  ):
    if self.refuses:
      raise self.Error(self.refuses)
    given = {k: v for k, v in locals().items() if v is not None}
    self.inits.append(given)
    self.runs.append(_Run(id or f"run{len(self.runs)}"))
    return self.runs[-1]


@pytest.fixture
def wandb(monkeypatch):
  """The stand-in, in the package's place."""
  module = _Wandb()
  monkeypatch.setitem(sys.modules, "wandb", module)
  return module


@pytest.fixture
def folder(tmp_path):
  """A workdir with a config."""
  (tmp_path / "config.json").write_text(json.dumps(CONFIG))
  return tmp_path


def _report(folder, project="boxes", fail=False):
  with metrics.Reporter(folder, 9, io.StringIO(), project=project) as reporter:
    reporter.start(0)
    reporter.write_scalars(3, {"train/loss": 0.5})
    reporter.write_images(3, {"rec/picture_00": np.ones((2, 3, 3), np.uint8)})
    if fail:
      raise OSError("the disk is gone")


def test_numbers_pictures_and_config_go_to_one_run(wandb, folder):
  _report(folder)
  [given], [run] = wandb.inits, wandb.runs
  assert given["project"] == "boxes"
  assert given["dir"] == str(folder)
  assert given["config"].pop("command")
  assert given["config"] == CONFIG
  # Online or not is for WANDB_MODE to say.
  assert "mode" not in given
  assert "id" not in given
  # Whatever is done again after a restart is not dropped.
  assert run.axes == {"step": None, "*": "step"}
  numbers, pictures = run.logged
  assert numbers == {"step": 3, "train/loss": 0.5}
  assert pictures["step"] == 3
  assert pictures["rec/picture_00"].data.shape == (2, 3, 3)
  assert run.exit_code == 0


def test_a_restart_goes_on_with_the_run(wandb, folder):
  for project in ("boxes", "boxes", "others"):
    _report(folder, project)
  assert [given.get("id") for given in wandb.inits] == [None, "run0", None]
  assert {given["resume"] for given in wandb.inits} == {"allow"}
  known = json.loads((folder / "wandb.json").read_text())
  assert known == {"project": "others", "id": "run2"}


def test_a_failed_run_is_told_as_failed(wandb, folder):
  with pytest.raises(OSError, match="the disk is gone"):
    _report(folder, fail=True)
  assert wandb.runs[0].exit_code == 1


def test_none_unless_asked_for(wandb, folder):
  _report(folder, project="")
  assert not wandb.inits


def test_the_package_is_missing(monkeypatch, folder):
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(ValueError, match="config.wandb is 'boxes', but the pack"):
    _report(folder)


def test_the_package_refuses(wandb, folder):
  wandb.refuses = "no API key"
  with pytest.raises(ValueError, match=r"did not start \(no API key\); set WA"):
    _report(folder)

"""A workdir that is no folder of this machine: everything goes by epath."""

import json
import os
import pathlib

import jax
import pytest
from etils import epath
from etils.epath import backend, gpath

from kosmos2_jax import evals
from kosmos2_jax.convert import loading
from kosmos2_jax.convert.starting import Start
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import workdir
from kosmos2_jax.training.ledger import Ledger
from kosmos2_jax.training.profile import Profile
from tests.evals.samples import Counter, Echo, make_examples

RUN = "gs://bucket/runs/one"


class Bucket:
  """Answers for gs:// with a folder of this machine."""

  def __init__(self, root):
    self._root = root
    self._local = backend.os_backend

  def __getattr__(self, name):
    method = getattr(self._local, name)

    def call(*args, **options):
      return method(*map(self._place, args), **options)

    return call

  def _place(self, arg):
    text = os.fspath(arg) if isinstance(arg, os.PathLike) else arg
    if isinstance(text, str) and text.startswith("gs://"):
      return str(self._root / text.removeprefix("gs://"))
    return arg


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> pathlib.Path:
  """Where gs://bucket/runs/one lies."""
  monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, "gs", Bucket(tmp_path / "gs"))
  # Where TensorFlow is installed, epath asks it, and it asks the network.
  monkeypatch.setattr(gpath, "_is_tf_installed", lambda: False)
  monkeypatch.chdir(tmp_path)
  return tmp_path / "gs" / "bucket" / "runs" / "one"


@pytest.fixture
def described(bucket):
  """A run without checkpoints."""
  tokenizer = Tokenizer.small(num_bins=4)
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  args = (sizes, "float32", tokenizer.model_bytes)
  assert workdir.describe_run(RUN, '{"seed": 0}', *args) == []
  changes = workdir.describe_run(RUN, '{"seed": 1}', *args)
  assert changes == ["seed: 0 -> 1"]
  return sizes


def test_a_run_is_described_there_and_nowhere_else(bucket, described, tmp_path):
  names = {path.name for path in bucket.iterdir()}
  assert names == {"config.json", "model.json", "sentencepiece.bpe.model"}
  assert json.loads((bucket / "config.json").read_text()) == {"seed": 1}
  # A plain path would have made a folder called "gs:".
  assert [path.name for path in tmp_path.iterdir()] == ["gs"]


def test_a_run_is_read_from_there(bucket, described):
  with pytest.raises(FileNotFoundError, match="it has no 'checkpoints'"):
    loading.describe(RUN)
  (bucket / "checkpoints").mkdir()
  sizes, tokenizer = loading.describe(RUN)
  assert sizes == described
  assert tokenizer.vocab.num_bins == 4
  start = Start({}, "small", init_from=RUN)
  assert start.sizes == described
  assert str(loading.folder_of(RUN) / "eval") == f"{RUN}/eval"


def test_results_are_written_there(bucket):
  task = evals.Task("echo", Echo(), "shapes", "test")
  tasks, folder = {"echo": task}, epath.Path(RUN)
  stores = evals.open_stores(folder, tasks, {}, {})
  results = evals.run(
    Counter(),
    tasks,
    {"echo": list(make_examples(3))},
    num_pictures=3,
    stores=stores,
  )
  evals.write_all(
    results,
    folder,
    tasks=tasks,
    config="c",
    checkpoint=RUN,
    checkpoint_hash="abc",
    step=3,
    command=["train.py"],
  )
  assert json.loads((bucket / "results.json").read_text())["step"] == 3
  assert (bucket / "predictions.png").read_bytes().startswith(b"\x89PNG")
  # Lines cannot be added there, so answers are not kept.
  assert {path.name for path in bucket.iterdir()} == {
    "results.json",
    "results.md",
    "report.html",
    "predictions.png",
    "echo",
  }
  assert [path.name for path in (bucket / "echo").iterdir()] == ["answers.txt"]


def test_the_ledger_and_the_profile_are_written_there(bucket, monkeypatch):
  # The recorder itself runs in several_processes_test: here a test before this
  # may have loaded libtpu, with which it ends the process.
  recorded = []
  monkeypatch.setattr(jax.profiler, "start_trace", recorded.append)
  monkeypatch.setattr(
    jax.profiler,
    "stop_trace",
    lambda: (pathlib.Path(recorded[-1]) / "host.xplane.pb").write_bytes(b"x"),
  )
  ledger = Ledger(RUN)
  ledger.start(0)
  ledger.compiled(0)
  assert len((bucket / "ledger.jsonl").read_text().splitlines()) == 2
  profile = Profile("3:2", RUN, 1)
  turns = []
  for step in range(8):
    if profile.turns_at(step):
      profile.turn(step)
      turns.append(step)
  profile.stop()
  assert turns == [3, 5]
  folder = bucket / "profile" / "plugins" / "profile" / "step_3"
  assert [path.name for path in folder.iterdir()] == ["process_1.xplane.pb"]


@pytest.mark.parametrize(
  ("platforms", "installed", "crashes"),
  [("", True, True), ("", False, False), ("cpu", True, False)],
)
def test_recording_that_would_crash_is_refused(
  monkeypatch, platforms, installed, crashes
):
  assert jax.default_backend() == "cpu"
  monkeypatch.setattr("importlib.util.find_spec", lambda name: installed)
  set_platforms = jax.config.jax_platforms
  jax.config.update("jax_platforms", platforms)
  try:
    if crashes:
      with pytest.raises(ValueError, match="set the environment variable JAX_"):
        Profile("3:2", RUN)
    else:
      Profile("3:2", RUN)
  finally:
    jax.config.update("jax_platforms", set_platforms)


@pytest.mark.parametrize("text", ["3", "a:b", "3:0", "3:", "-1:2"])
def test_steps_that_cannot_be_recorded(text):
  with pytest.raises(ValueError, match="--profile is STEP:COUNT"):
    Profile(text)


def test_the_folder_of_a_run(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert str(workdir.open_folder("runs/one")) == str(tmp_path / "runs" / "one")
  assert str(workdir.open_folder(RUN)) == RUN

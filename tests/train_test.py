"""The training command: its mistakes, its files, and that it cannot be hurt."""

import json
import pathlib

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

import train
from configs import common
from data.shapes import shapes_builder
from kosmos2_jax import optim, sharding
from kosmos2_jax.convert import loading
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.tools import convert
from kosmos2_jax.training import checkpoint
from kosmos2_jax.training import state as state_lib
from tests.convert.samples import clip_folder, huggingface_folder
from tests.evals.html_report_test import Page

# ml_collections reads config files in an old way.
pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"
)

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  """Where the tiny shapes are prepared."""
  path = tmp_path_factory.mktemp("datasets")
  shapes_builder.prepare(path, "tiny")
  return path


@pytest.fixture
def command(data_dir, tmp_path, monkeypatch):
  """From further flags to the whole command line."""
  monkeypatch.chdir(ROOT)
  flags = {
    "--config": "tests/tiny_config.py",
    "--workdir": tmp_path / "run",
    "--compilation_cache": jax.config.jax_compilation_cache_dir,
    "--config.data.data_dir": data_dir,
  }

  def build(*more, without=()):
    changed = {flag.split("=")[0] for flag in more}
    kept = [
      f"{k}={v}" for k, v in flags.items() if k not in {*changed, *without}
    ]
    # Fields come after the file whose fields they are.
    first = [flag for flag in more if flag.startswith("--config=")]
    rest = [flag for flag in more if not flag.startswith("--config=")]
    return ["train.py", *first, *kept, *rest]

  return build


def _mistake(argv, capfd):
  """Runs the command, which must fail; returns its one sentence."""
  assert train.main(argv) == 2
  lines = capfd.readouterr().err.splitlines()
  # TensorFlow's native code may say hello on the same stream.
  found = [line for line in lines if line.startswith("train.py: ")]
  assert len(found) == 1
  assert "Traceback" not in "".join(lines)
  return found[0].removeprefix("train.py: ")


@pytest.mark.parametrize(
  ("flag", "sentence"),
  [
    ("--colour=red", "Unknown command line flag 'colour'; for example: python"),
    (
      "--config.model.sise=1",
      "the config has no field 'sise'; configs/common.py has them all",
    ),
    (
      "--config.num_steps=many",
      "invalid literal for int() with base 10: 'many'",
    ),
    (
      "--config=configs/none.py",
      "No such file or directory: 'configs/none.py'",
    ),
    ("--config=tests/tiny_config.py:fast", "the config has no argument 'fast'"),
    ("runs/shapes", "'runs/shapes' is no flag; for example: python train.py"),
    ("--profile=3", "--profile is STEP:COUNT, the first step to record"),
    ("--process_id=1", "--coordinator and --num_processes is missing"),
    (
      "--config.data.kinds[0].dataset=cats",
      "found 'cats'",
    ),
    ("--config.data.kinds[0].split=dev", "has no split 'dev'; it has"),
    ("--config.data.kinds[0].recipe=poem", "has the recipe 'poem'; there are"),
    ("--config.data.tokenizer=no.model", "No SentencePiece model at no.model"),
    ("--config.optimizer.schedule=steps", "found 'steps'"),
    (
      "--config.optimizer.frozen=('^vison/',)",
      "optimizer.frozen has '^vison/', which is found in the path of no"
      " parameter; near it are vision",
    ),
    ("--config.mesh.tensor=3", "does not fit 8 device(s); change config.mesh"),
    ("--config.data.kinds[0].per_step=3", "7 rows, which 8 device(s)"),
    ("--config.model.dtype=float8", 'dtype must be "float32" or "bfloat16"'),
    ("--config.checkpoint.keep=0", "checkpoint.keep is at least 1; found 0"),
    ("--config.data.seq_len=4", "seq_len"),
  ],
)
def test_a_mistake_is_one_sentence(command, capfd, flag, sentence):
  assert sentence in _mistake(command(flag), capfd)


def test_missing_flags(command, capfd):
  for name in ("--config", "--workdir"):
    sentence = _mistake(
      command(without=[name, "--config.data.data_dir"]), capfd
    )
    assert sentence.startswith(f"{name} is missing; for example: ")
    assert "python train.py --config=configs/shapes.py" in sentence


def test_missing_raw_files(command, capfd):
  argv = command(
    "--config=configs/photos.py", "--config.data.builders.grit.shards=/no/*.tar"
  )
  assert "/no/*.tar" in _mistake(argv, capfd)


def _save(workdir, sizes):
  tx = optim.make_optimizer(num_steps=24, learning_rate=1e-2).tx
  mesh = sharding.make_mesh((8, 1, 1))
  abstract = state_lib.abstract_state(presets.build(sizes), tx, mesh)
  zeros = jax.tree.map(
    lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype)), abstract
  )
  with checkpoint.Checkpointer(workdir) as checkpointer:
    checkpointer.save(zeros, 4, None)


def test_a_checkpoint_of_another_size(command, capfd, tmp_path):
  _save(tmp_path / "run", presets.preset("tiny"))
  sentence = _mistake(command("--config.model.decoder.width=32"), capfd)
  assert (
    "parameter decoder/embedding has shape (640, 16) in the chec" in sentence
  )
  assert "start in another --workdir." in sentence


def test_a_config_of_another_model(command, capfd, tmp_path):
  (tmp_path / "run").mkdir()
  sizes = presets.preset("tiny")
  sizes["decoder"] |= {"dropout_rate": 0.1, "depth": 3}
  content = {"sizes": sizes, "dtype": "float32"}
  (tmp_path / "run" / "model.json").write_text(json.dumps(content))
  sentence = _mistake(command(), capfd)
  assert "another model (sizes.decoder.depth: 3 -> 2): " in sentence


def test_traceback_on_demand(command):
  with pytest.raises(ValueError, match="found 'cats'"):
    train.main(command("--config.data.kinds[0].dataset=cats", "--traceback"))


def test_help(capsys):
  with pytest.raises(SystemExit) as stop:
    train.main(["train.py", "--help"])
  assert stop.value.code == 0
  out = capsys.readouterr().out
  assert "--workdir" in out
  assert "python train.py --config=configs/shapes.py" in out


def test_config_arguments():
  args = common.parse_arg(
    "batch=8,fast,rate=0.5", batch=1, fast=False, rate=1.0
  )
  assert (args.batch, args.fast, args.rate) == (8, True, 0.5)
  assert common.parse_arg("fast=false", fast=True).fast is False
  with pytest.raises(ValueError, match="'batch' is of type int, found 'x'"):
    common.parse_arg("batch=x", batch=1)
  with pytest.raises(ValueError, match="'fast' is true or false, found '1'"):
    common.parse_arg("fast=1", fast=False)


@pytest.mark.slow
def test_the_files_of_a_run_and_what_a_second_start_does(
  command, tmp_path, capfd
):
  folder = tmp_path / "run"
  argv = command("--config=tests/tiny_config.py:evals")
  assert train.main(argv) == 0
  assert "step 2/4  rec/accuracy" in capfd.readouterr().out
  assert {path.name for path in folder.iterdir()} == {
    "config.json",
    "model.json",
    "sentencepiece.bpe.model",
    "checkpoints",
    "ledger.jsonl",
    "metrics",
    "metrics.jsonl",
    "results.json",
    "results.md",
    "evaluation.html",
    "report.html",
    "environment.json",
    "samples",
    "predictions.png",
    "rec",  # its answers
  }
  rows = [
    json.loads(line)
    for line in (folder / "metrics.jsonl").read_text().splitlines()
  ]
  steps = [row["step"] for row in rows if "train/loss" in row]
  scored = [row["step"] for row in rows if "rec/accuracy" in row]
  assert (steps, scored) == ([1, 2, 3, 4], [2, 4])
  events = event_accumulator.EventAccumulator(str(folder / "metrics")).Reload()
  pictures = {
    tag: [event.step for event in events.Tensors(tag)]
    for tag in ("input/first_batch", "rec/random_00")
  }
  assert list(pictures.values()) == [[0], [2, 4]]
  _check_report(folder, starts=1)
  results = json.loads((folder / "results.json").read_text())
  assert results["step"] == 4
  assert set(results["tasks"]) == {"rec"}
  assert Predictor.from_pretrained(folder).step == 4
  written = (folder / "checkpoints" / "4" / "_CHECKPOINT_METADATA").stat()

  (folder / "results.json").unlink()
  assert train.main([*argv, "--config.log_every=2"]) == 0
  text = capfd.readouterr().out
  assert "changed since the last start: config.log_every: 1 -> 2" in text
  assert "all 4 steps were done before: nothing to train." in text
  assert "step 4/4" not in text
  assert (folder / "results.json").exists()
  again = (folder / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line) for line in again] == rows
  newest = (folder / "checkpoints" / "4" / "_CHECKPOINT_METADATA").stat()
  assert newest.st_mtime_ns == written.st_mtime_ns
  _check_report(folder, starts=2)


def _check_report(folder, starts):
  """All parts of the report of the run above."""
  assert "Evaluation" in (folder / "evaluation.html").read_text()
  samples = {path.name for path in (folder / "samples").iterdir()}
  assert samples == {"2.json", "4.json", "pictures", "first_batch.png"}
  page = Page((folder / "report.html").read_text())
  ids = {found["id"] for found in page.all("section")}
  assert ids == {
    "curves",
    "scores",
    "samples",
    "data",
    "config",
    "environment",
    "time",
  }
  for part in (
    "run finished 4 of 4 steps",
    f"starts {starts} ",
    "best rec/mean_iou",
    f"devices {jax.device_count()} × cpu",
    "Loss",
    "step 2 quality",
    "step 4 quality",
    "model.num_bins 4",
  ):
    assert part in page.words, part


@pytest.mark.slow
def test_a_run_starts_from_a_clip_once(command, tmp_path, capfd):
  vision = clip_folder(tmp_path / "clip", presets.preset("tiny"))
  # The first update has rate 0: what is saved is what it started with.
  argv = command(
    f"--config.vision_from={tmp_path / 'clip'}",
    "--config.num_steps=1",
    "--config.optimizer.warmup_steps=1",
  )
  assert train.main(argv) == 0
  out = capfd.readouterr().out
  assert f"the vision encoder starts from {tmp_path / 'clip'}" in out
  assert "left out of it: visual_projection.weight" in out
  found = loading.load(tmp_path / "run").params["vision"]
  jax.tree.map(np.testing.assert_array_equal, found, vision)

  # Restored: the file is not looked at any more.
  again = [a for a in argv if "vision_from" not in a]
  assert train.main([*again, "--config.vision_from=/no/clip"]) == 0
  out = capfd.readouterr().out
  assert "config.vision_from: " in out
  assert " -> /no/clip" in out
  assert "the vision encoder starts" not in out


@pytest.mark.slow
def test_a_run_starts_from_a_checkpoint_and_goes_back_to_its_format(
  command, tmp_path, capfd
):
  theirs, params = huggingface_folder(tmp_path / "theirs")
  # The first update has rate 0: what is saved is what it started with.
  argv = command(
    f"--config.init_from={theirs}",
    "--config.num_steps=1",
    "--config.optimizer.warmup_steps=1",
  )
  assert train.main(argv) == 0
  assert f"the model starts from {theirs}: weights" in capfd.readouterr().out
  found = loading.load(tmp_path / "run")
  assert found.step == 1
  # Not the config's: 4 bins, 2 layers.
  assert found.tokenizer.vocab.num_bins == 3
  assert found.sizes["decoder"]["depth"] == 1
  jax.tree.map(np.testing.assert_array_equal, found.params, params)

  # Goes on without the checkpoint, and learns.
  for path in theirs.iterdir():
    path.unlink()
  assert train.main([*argv, "--config.num_steps=3"]) == 0
  assert "the model starts from" not in capfd.readouterr().out
  tuned = loading.load(tmp_path / "run")
  kernels = [p["decoder"]["embedding"] for p in (tuned.params, params)]
  assert np.abs(np.subtract(*kernels)).max() > 0

  again = tmp_path / "again"
  paths = [f"--source={tmp_path / 'run'}", f"--target={again}"]
  assert convert.main(["convert", *paths, "--format=huggingface"]) == 0
  back = loading.load(again)
  assert (again / "model.safetensors").exists()
  jax.tree.map(np.testing.assert_array_equal, back.params, tuned.params)


def test_a_checkpoint_folder_that_cannot_be_written(command, capfd, tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "checkpoints").write_text("in the way")
  sentence = _mistake(command(), capfd)
  assert "checkpoints cannot be written to" in sentence
  assert sentence.endswith("give a --workdir that can be written.")


def test_a_run_past_its_end_keeps_its_description(command, capfd, tmp_path):
  _save(tmp_path / "run", presets.preset("tiny"))
  sentence = _mistake(command("--config.num_steps=3"), capfd)
  assert sentence.startswith("the run is at step 4, past num_steps 3; raise")
  assert not (tmp_path / "run" / "config.json").exists()


def test_a_checkpoint_that_is_not_there(command, capfd):
  sentence = _mistake(command("--config.init_from=/no/model"), capfd)
  assert sentence.startswith("there is no '/no/model'; give a workdir")


def test_a_clip_that_is_not_there(command, capfd):
  sentence = _mistake(command("--config.vision_from=/no/clip"), capfd)
  assert sentence.startswith("there is no '/no/clip'; give weights of")

"""The command: what it writes, and how it ends when something is wrong."""

import io
import json
import os
import pathlib
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import eval as eval_command
from kosmos2_jax import evals
from kosmos2_jax.convert import huggingface, processor, weights
from kosmos2_jax.input.sources import ListSource
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import preemption
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training.checkpoint import Checkpointer
from tests.convert.samples import random_params

# ml_collections reads config files in an old way.
pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"
)

CONFIG = """
from configs import common

def get_config():
  config = common.base("tiny")
  config.evals.batch_size = 4
  config.evals.num_pictures = 3
  config.evals.tasks = (
    common.evaluation(
      "rec", "shapes", "test", evaluator="referring", num_examples=0,
      final_examples=5,
    ),
    common.evaluation(
      "caption", "grit", "train", evaluator="grounded_caption",
      num_examples=0, final_examples=-1, max_new_tokens=6,
    ),
  )
  return config
"""
BOX = (0.1, 0.1, 0.6, 0.6)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> pathlib.Path:
  path = tmp_path_factory.mktemp("configs") / "small.py"
  path.write_text(CONFIG)
  return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp("run")
  tokenizer = Tokenizer.small(num_bins=4)
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  model = {"sizes": sizes, "dtype": "float32"}
  (folder / "model.json").write_text(json.dumps(model))
  (folder / "sentencepiece.bpe.model").write_bytes(tokenizer.model_bytes)
  params = state_lib.init_params(presets.build(sizes), jax.random.key(0))
  state = state_lib.TrainState(
    step=jnp.int32(7), params=params, opt_state={"count": jnp.zeros(1)}
  )
  with Checkpointer(folder) as checkpointer:
    checkpointer.save(state, 7, None)
  return folder


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
  """A small Hugging Face folder."""
  tokenizer = Tokenizer.small(num_bins=4)
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  huggingface.write_config(tmp_path, sizes)
  processor.write(tmp_path, tokenizer, sizes["vision"]["image_size"])
  weights.write(tmp_path, random_params(sizes)[1], sizes["vocab_size"])
  return tmp_path


def picture(number):
  """An encoded picture, another for each number."""
  encoded = io.BytesIO()
  pixels = np.full((20, 24, 3), 200 + number, np.uint8)
  Image.fromarray(pixels).save(encoded, "PNG")
  return encoded.getvalue()


@pytest.fixture(autouse=True)
def sources(monkeypatch):
  """Eight examples instead of the data sets, and what was asked for."""
  item = {"start": 0, "end": 12, "box_xyxy": BOX, "score": 1.0}
  example = {
    "caption": "a red circle",
    "noun_chunks": [item],
    "ref_exps": [item],
    "expressions": [{"text": "the red circle", "box_xyxy": BOX}],
  }
  asked = []

  def load(name, split):
    asked.append((name, split))
    return ListSource(
      [{**example, "id": str(i), "image": picture(i)} for i in range(8)]
    )

  monkeypatch.setattr(eval_command, "loader", lambda *_: load)
  return asked


def run(*args):
  return eval_command.main(["eval.py", *map(str, args)])


def test_all_tasks_with_table_numbers_and_pictures(
  config, checkpoint, sources, tmp_path, capsys
):
  output = tmp_path / "out"
  assert not run(
    f"--config={config}", f"--checkpoint={checkpoint}", f"--output={output}"
  )
  assert sources == [("shapes", "test"), ("grit", "train")]
  content = json.loads((output / "results.json").read_text())
  assert (content["config"], content["step"]) == ("small", 7)
  assert content["checkpoint"] == str(checkpoint)
  rec, caption = content["tasks"]["rec"], content["tasks"]["caption"]
  # The config's five, and all of the eight.
  assert (rec["n"], rec["dataset"], rec["split"]) == (5, "shapes", "test")
  assert (caption["n"], caption["split"]) == (8, "train")
  assert {"accuracy", "mean_iou", "without_box"} <= set(rec["metrics"])
  assert content["checkpoint_hash"]
  assert content["command"][1] == f"--config={config}"
  assert (output / "report.html").is_file()
  assert "| rec |" in (output / "results.md").read_text()
  lines = (output / "rec" / "predictions.jsonl").read_text().splitlines()
  header = json.loads(lines[0])
  assert header["checkpoint_hash"] == content["checkpoint_hash"]
  assert (header["limit"], len(lines)) == (5, 6)
  with Image.open(output / "predictions.png") as picture:
    picture.load()
    assert picture.width >= 256
  table = capsys.readouterr().out
  assert "accuracy" in table
  assert "exact_to_the_bin" in table
  assert "Step 7" in table


def files_of(folder):
  return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_asked_to_stop_it_ends_and_goes_on_to_the_same_files(
  config, checkpoint, tmp_path, monkeypatch, capfd
):
  output = tmp_path / "out"
  args = [f"--config={config}", f"--checkpoint={checkpoint}"]
  args += [f"--output={output}", "--config.evals.batch_size=2"]
  assert run(*args) == 0
  whole = files_of(output)
  assert len(whole) >= 6
  shutil.rmtree(output)
  append, batches = evals.Store.append, []

  def killed(store, records):
    append(store, records)
    batches.append(records)
    if len(batches) == 2:
      os.kill(os.getpid(), signal.SIGTERM)
      # It is heard by a thread, which says so by its file descriptor.
      deadline = time.monotonic() + 60
      while "SIGTERM: exiting after" not in capfd.readouterr().err:
        assert time.monotonic() < deadline
        time.sleep(0.01)

  monkeypatch.setattr(evals.Store, "append", killed)
  assert run(*args) == preemption.RESTART_STATUS
  assert "eval.py: asked to stop (SIGTERM)\n" in capfd.readouterr().err
  assert len(batches) == 2
  assert not (output / "results.json").exists()
  assert run(*args) == 0
  assert files_of(output) == whole
  # Rec: 5 of 2, 2 and 1; captions: 8 in four.
  assert len(batches) == 3 + 4


def test_answers_of_another_checkpoint_are_refused_until_restarted(
  config, checkpoint, folder, tmp_path, capsys
):
  args = [f"--config={config}", f"--output={tmp_path / 'out'}"]
  args += ["--tasks=rec", "--noreport"]
  assert run(*args, f"--checkpoint={checkpoint}") == 0
  assert not (tmp_path / "out" / "report.html").exists()
  capsys.readouterr()
  assert run(*args, f"--checkpoint={folder}") == 2
  error = capsys.readouterr().err
  assert "keeps the answers of another run: its" in error
  assert "--restart" in error
  assert error.count("\n") == 1
  assert run(*args, f"--checkpoint={folder}", "--restart") == 0


def test_a_missing_data_set_does_not_stop_the_others(
  config, checkpoint, sources, tmp_path, monkeypatch, capsys
):
  there = eval_command.loader()

  def load(name, split):
    if name == "shapes":
      raise FileNotFoundError("no prepared data;\n  prepare it with: X")
    return there(name, split)

  monkeypatch.setattr(eval_command, "loader", lambda *_: load)
  args = [f"--config={config}", f"--checkpoint={checkpoint}"]
  args += [f"--output={tmp_path}", "--limit=2"]
  assert run(*args) == 1
  said = "rec is not run: no prepared data; prepare it with: X"
  assert said in capsys.readouterr().out
  content = json.loads((tmp_path / "results.json").read_text())
  assert list(content["tasks"]) == ["caption"]
  assert content["not_run"] == {"rec": "no prepared data; prepare it with: X"}
  assert run(*args, "--tasks=caption") == 0
  assert run(*args, "--tasks=rec") == 2


def test_tasks_limit_and_default_output(config, checkpoint):
  assert not run(
    f"--config={config}",
    f"--checkpoint={checkpoint}",
    "--tasks=rec",
    "--limit=2",
    "--config.evals.num_pictures=0",
  )
  content = json.loads((checkpoint / "eval" / "results.json").read_text())
  assert {name: task["n"] for name, task in content["tasks"].items()} == {
    "rec": 2
  }
  assert not (checkpoint / "eval" / "predictions.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
  ("flags", "use_ema"), [((), True), (("--noema",), False)]
)
def test_averages_are_asked_unless_told_otherwise(
  config, checkpoint, monkeypatch, capsys, flags, use_ema
):
  def read(path, **options):
    raise ValueError(f"{path} {options['use_ema']}")

  monkeypatch.setattr(eval_command.Predictor, "from_pretrained", read)
  run(f"--config={config}", f"--checkpoint={checkpoint}", *flags)
  assert f"{checkpoint} {use_ema}" in capsys.readouterr().err


def test_a_hugging_face_folder_is_evaluated_alike(config, folder, capsys):
  assert not run(
    f"--config={config}",
    f"--checkpoint={folder}",
    "--tasks=caption",
    "--limit=3",
  )
  content = json.loads((folder / "eval" / "results.json").read_text())
  assert content["checkpoint"] == str(folder)
  assert content["step"] is None
  assert content["tasks"]["caption"]["n"] == 3
  assert (folder / "eval" / "predictions.png").is_file()
  # Nobody knows its step.
  assert f"\nWritten to {folder / 'eval'}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_results_of_a_file_go_beside_it(config, folder, monkeypatch):
  # What opens a file is tested where files are opened.
  opened = []
  from_pretrained = eval_command.Predictor.from_pretrained

  def load(path, **options):
    opened.append(path)
    return from_pretrained(folder, **options)

  monkeypatch.setattr(eval_command.Predictor, "from_pretrained", load)
  file = folder / "kosmos-2.pt"
  file.write_bytes(b"")
  args = (f"--config={config}", "--tasks=caption", "--limit=3")
  assert not run(*args, f"--checkpoint={file}")
  assert opened == [str(file)]
  assert (folder / "eval" / "results.json").is_file()


@pytest.mark.parametrize(
  ("args", "sentence"),
  [
    (["--config=C", "--checkpoint=K", "--nope=1"], "flag 'nope'"),
    (["--config=C", "--checkpoint=K", "--limit=0"], "not a positive integer"),
    (["--config=C", "--checkpoint=K", "more"], "'more' is no flag"),
    (["--checkpoint=K"], "--config is missing; for example:"),
    (["--config=C"], "--checkpoint is missing; for example:"),
    (["--config=nope.py", "--checkpoint=K"], "no config file 'nope.py'"),
    (["--config=C", "--checkpoint=K", "--config.x=1"], "no field 'x'"),
    (
      ["--config=C", "--checkpoint=K", "--config.seed=a"],
      "--config.seed=a: invalid literal",
    ),
    (
      ["--config=C", "--checkpoint=nowhere"],
      "there is no 'nowhere'; give",
    ),
    (["--config=C", "--checkpoint=E"], "is not a workdir of train.py"),
    (["--config=C", "--checkpoint=K", "--tasks=vqa"], "no evaluation 'vqa'"),
    (
      ["--config=C", "--checkpoint=K", "--config.evals.tasks=()"],
      "has no evaluations",
    ),
  ],
)
def test_a_mistake_ends_with_one_sentence(
  args, sentence, config, checkpoint, tmp_path, capsys
):
  places = {"C": config, "K": checkpoint, "E": tmp_path}
  filled = []
  for arg in args:
    flag, _, value = arg.partition("=")
    filled.append(f"{flag}={places[value]}" if value in places else arg)
  assert run(*filled) == 2
  error = capsys.readouterr().err
  assert sentence in error
  assert error.startswith("eval.py: ")
  assert error.count("\n") == 1


def test_a_missing_data_set_ends_with_one_sentence(
  config, checkpoint, monkeypatch, capsys
):
  def load(name, split):
    raise FileNotFoundError("no prepared data;\n  prepare it with: X")

  monkeypatch.setattr(eval_command, "loader", lambda *_: load)
  args = [f"--config={config}", f"--checkpoint={checkpoint}"]
  assert run(*args) == 2
  error = capsys.readouterr().err
  assert error == "eval.py: no prepared data; prepare it with: X\n"
  with pytest.raises(FileNotFoundError):
    run(*args, "--traceback")

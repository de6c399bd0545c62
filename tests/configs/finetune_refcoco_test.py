"""Tuning on RefCOCO: what is evaluated, and all of it with a tiny model."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

import train
from configs import finetune_refcoco
from data.refcoco.refcoco_builder import SPLIT_BY
from kosmos2_jax.convert import loading
from tests.convert.samples import huggingface_folder

pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"
)

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = ROOT / "data/refcoco/example"


@pytest.mark.parametrize(
  ("dataset", "splits"),
  [
    ("refcoco", ["val", "testA", "testB"]),
    ("refcoco+", ["val", "testA", "testB"]),
    ("refcocog", ["val", "test"]),
  ],
)
def test_all_published_splits_are_scored_whole(dataset, splits):
  config = finetune_refcoco.get_config(f"dataset={dataset}")
  assert config.data.builders.refcoco.dataset == dataset
  tasks = config.evals.tasks
  assert [task.name for task in tasks] == splits
  assert [task.split for task in tasks] == splits
  assert {task.final_examples for task in tasks} == {-1}
  assert config.checkpoint.best_metric == "val/accuracy"


def test_unknown_dataset():
  assert set(finetune_refcoco.SPLITS) == set(SPLIT_BY)
  with pytest.raises(ValueError, match="refcocog, found 'coco'"):
    finetune_refcoco.get_config("dataset=coco")


@pytest.mark.slow
def test_tunes_a_checkpoint_and_scores_it(tmp_path, monkeypatch, capfd):
  monkeypatch.chdir(ROOT)
  theirs, params = huggingface_folder(tmp_path / "theirs")
  run = tmp_path / "run"
  flags = {
    "config": "configs/finetune_refcoco.py:batch=8,preset=tiny",
    "workdir": run,
    "compilation_cache": jax.config.jax_compilation_cache_dir,
    "config.init_from": theirs,
    "config.num_steps": 2,
    "config.log_every": 1,
    "config.optimizer.warmup_steps": 0,
    "config.evals.every_steps": 1,
    "config.data.data_dir": tmp_path / "prepared",
    "config.data.builders.refcoco.annotations": EXAMPLE,
    "config.data.builders.refcoco.pictures": ROOT / "data/jsonl/example",
  }
  argv = [f"--{name}={value}" for name, value in flags.items()]
  status = train.main(["train.py", *argv])
  told = capfd.readouterr()
  assert status == 0, told.err
  assert f"the model starts from {theirs}: weights" in told.out
  losses = re.findall(r"^step \d/2  loss +(\S+)", told.out, re.MULTILINE)
  assert len(losses) == 2
  assert np.isfinite([float(loss) for loss in losses]).all()
  # While training val alone; at the end all there is.
  scored = re.findall(r"(\S+)/accuracy \S+", told.out)
  assert scored == ["val", "val"]
  results = json.loads((run / "results.json").read_text())
  counts = {name: task["n"] for name, task in results["tasks"].items()}
  assert counts == {"val": 2, "testA": 2, "testB": 2}
  tuned = loading.load(run)
  assert tuned.step == 2
  # The checkpoint's sizes and not the preset's.
  assert tuned.tokenizer.vocab.num_bins == 3
  before, after = (p["decoder"]["embedding"] for p in (params, tuned.params))
  assert before.shape == after.shape
  assert np.abs(np.subtract(before, after)).max() > 0

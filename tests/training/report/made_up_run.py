"""A workdir of a run that never was: two starts, evaluations and samples."""

import json
import shlex

import numpy as np

from kosmos2_jax.training.report.samples import Samples
from tests.evals import made_up

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> & so"


def event(kind, time, seconds, **fields):
  """A line of a ledger."""
  return {"time": time, "event": kind, "seconds": seconds, **fields}


# Killed after 60 steps, went on from 40, ended.
EVENTS = (
  event("start", 1010.0, 10.0, step=0),
  event("compile", 1030.0, 20.0, step=0),
  event("steps", 1090.0, 60.0, first=0, end=60),
  event("start", 2010.0, 10.0, step=40),
  event("steps", 2070.0, 60.0, first=40, end=100),
  event("evaluation", 2080.0, 10.0, step=100),
  event("stop", 2080.0, 0.0, step=100, reason="finished"),
)


def rows(steps=range(10, 101, 10)):
  """Lines of metrics.jsonl."""
  found = []
  for step in steps:
    numbers = {
      "train/loss": 8.0 / step,
      "train/loss/caption": 16.0 / step,
      "train/loss/referring": 4.0 / step,
      "train/accuracy": step / 200,
      "train/learning_rate": 1e-4,
      "train/input_wait": 0.25,
    }
    found.append({"step": step, "time": 1000.0 + step, **numbers})
    if step % 20 == 0:
      found.append({"step": step, "time": 1000.0, "rec/accuracy": step / 100})
  return found


def outcome(step, words="a dog"):
  """Four records, whose boxes come nearer to the true one."""
  corner = max(0.5 - step / 200, 0.0)
  answer = {"a dog": [(corner, corner, corner + 0.5, corner + 0.5)]}
  return made_up.outcome(
    [made_up.record(i, answer, [words, "true: a dog"]) for i in range(4)],
    cases={"worst": (0,), "best": (1,), "random": (2, 3)},
    quality=np.array([0.0, 1.0, 0.5, step / 100]),
  )


def make(folder, *, name="rec", words="a dog", config=None):
  """Writes all that a report reads; returns the folder."""
  folder.mkdir(parents=True, exist_ok=True)
  for file, lines in (("metrics", rows()), ("ledger", EVENTS)):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / f"{file}.jsonl").write_text(text)
  given = config or {
    "seed": 0,
    "num_steps": 100,
    "optimizer": {"learning_rate": 1e-4, "groups": []},
    "checkpoint": {"best_metric": "rec/accuracy", "best_mode": "max"},
  }
  (folder / "config.json").write_text(json.dumps(given))
  about = {
    "command": shlex.join(
      ["train.py", "--config.optimizer.learning_rate=1e-4", words]
    ),
    "device_kind": "TPU v5e",
    "num_devices": 16,
    "num_hosts": 4,
    "python": "3.12.1",
    "git": "0123abc-dirty",
    "packages": {"jax": "0.10.0"},
  }
  (folder / "environment.json").write_text(json.dumps(about))
  results = {
    "format": 2,
    "step": 100,
    "tasks": {
      name: {
        "n": 1000,
        "metrics": {"accuracy": {"value": 0.95, "interval": [0.9, 0.97]}},
      }
    },
  }
  (folder / "results.json").write_text(json.dumps(results))
  (folder / "evaluation.html").write_text("the evaluation")
  samples = Samples(folder)
  for step in (20, 60, 100):
    samples.write(step, {name: outcome(step, words)})
  samples.write_first_batch(made_up.picture(40, 60, 200))
  return folder

"""`train.py` with a moment held open, for tests that send signals.

python -m tests.fault_driver MOMENT:STEP [flags of train.py]

MOMENT is `wait` (the batch of STEP never comes), `evaluate` (the evaluation at
STEP stays in its first batch until it is asked to stop) or `nan` (pictures of
STEP's batch are not numbers). It says `held` when it is there.
"""

import itertools
import sys
import time

import numpy as np

import train
from kosmos2_jax.training import evaluation, loop, preemption


def _stream(stream, start, moment, at):
  for step, batch in zip(itertools.count(start), stream, strict=False):
    if moment == "wait" and step == at:
      print("held", flush=True)
      while True:
        time.sleep(0.1)
    if moment == "nan" and step == at:
      batch = {**batch, "images": np.full_like(batch["images"], np.nan)}
    yield batch


def main(argv):
  moment, _, at = argv[1].partition(":")
  at = int(at)
  run, scorer = loop.run, evaluation.Evaluation.scorer

  def held_run(state, train_step, stream, *args, **options):
    held = _stream(stream, int(state.step), moment, at)
    return run(state, train_step, held, *args, **options)

  def held_scorer(self, *args):
    scores = scorer(self, *args)

    def held_scores(params, step):
      if moment == "evaluate" and step == at:
        print("held", flush=True)
        while True:  # as between batches
          self._check()
          time.sleep(0.1)
      return scores(params, step)

    return held_scores

  loop.run = held_run
  evaluation.Evaluation.scorer = held_scorer
  return train.main(["train.py", *argv[2:]])


if __name__ == "__main__":
  preemption.leave(main(sys.argv))

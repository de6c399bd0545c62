"""Asking the model that is being trained, while and after it is trained."""

import functools
import os
import sys
from collections.abc import Callable, Iterable, Mapping

import rich
from jaxtyping import PyTree

from kosmos2_jax import evals
from kosmos2_jax.evals.examples import Example
from kosmos2_jax.evals.fingerprint import params_hash
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import loop, workdir
from kosmos2_jax.training.division import divided, whole_params
from kosmos2_jax.training.metrics import Reporter
from kosmos2_jax.training.processes import ALONE, Group
from kosmos2_jax.training.state import TrainState, averaged_params


class Evaluation:
  """The tasks of a run.

  Args:
    model: whose parameters will be asked.
    tokenizer: the model's.
    tasks: see `evals.make_tasks`.
    examples: for each task a function from n to its first n examples (all,
      if n is negative).
    batch_size: questions asked at once, by each process.
    check: called before and after every batch; what it raises ends the
      evaluation.
    group: the processes; each answers a part of the questions, and all have
      the scores.
    merge: makes the model's parameters of those that are trained; see
      `Trainable.merge`.
  """

  def __init__(
    self,
    model: Kosmos2,
    tokenizer: Tokenizer,
    tasks: Mapping[str, evals.Task],
    examples: Mapping[str, Callable[[int], Iterable[Example]]],
    batch_size: int,
    check: Callable[[], None] = lambda: None,
    group: Group = ALONE,
    merge: Callable[[PyTree], PyTree] = lambda params: params,
  ):
    # Outside of the mesh, a kernel would be for one device.
    self._model = model.with_attention("xla")
    self._tokenizer = tokenizer
    self._tasks = dict(tasks)
    self._examples = examples
    self._batch_size = batch_size
    self._check = check
    self._group = group
    self._merge = merge

  def scorer(self, reporter: Reporter, num_pictures: int) -> loop.Evaluate:
    """The evaluation while training, for the loop.

    On each task's `num_examples`; 0 leaves it out.

    Args:
      reporter: takes pictures of what the model said and what is true.
      num_pictures: how many.
    """
    counts = {key: task.num_examples for key, task in self._tasks.items()}
    drawn = num_pictures if reporter.takes_pictures else 0

    def scores(params: PyTree, step: int) -> dict[str, float]:
      if not any(counts.values()):
        return {}
      self._check()
      results = self._run(self._predictor(params, step), counts, drawn, {})
      if drawn:
        reporter.write_images(step, evals.sample_pictures(results))
        reporter.write_samples(step, results)
      return results.scores

    return scores

  def final(
    self,
    state: TrainState,
    folder: str | os.PathLike,
    config: str,
    num_pictures: int,
    reporter: Reporter | None = None,
  ) -> None:
    """Scores on `final_examples`: files in the workdir, a table on stdout.

    The files are those of `evals.outputs`; answers in the folders of the tasks
    are found again by a run that was killed meanwhile.

    Args:
      state: what was trained; averages are asked where it has them.
      folder: the workdir.
      config: name of the config, for the record.
      num_pictures: how many to draw in `predictions.png`; 0 for no file.
      reporter: keeps some answers for the report of the run.
    """
    counts = {key: task.final_examples for key, task in self._tasks.items()}
    if not any(counts.values()):
      return
    self._check()
    step = int(state.step)
    predictor = self._predictor(averaged_params(state), step)
    model = {
      "checkpoint": os.fspath(folder),
      "checkpoint_hash": params_hash(predictor.params),
      "step": step,
    }
    # A run that is killed here goes on with it; one that was trained further
    # asks anew.
    stores = evals.open_stores(
      folder, self._tasks, counts, model, other="restart", group=self._group
    )
    results = self._run(predictor, counts, num_pictures, stores)
    if not self._group.is_main:
      return
    evals.write_all(
      results,
      folder,
      tasks=self._tasks,
      config=config,
      command=sys.argv,
      with_report=num_pictures > 0,
      report_file=workdir.EVALUATION_FILE,
      **model,
    )
    if reporter and num_pictures:
      reporter.write_samples(step, results)
    rich.print(evals.make_table(results, self._tasks))

  def _predictor(self, params, step):
    several = self._group.count > 1
    return Predictor(
      self._model,
      self._merge(whole_params(params) if several else params),
      self._tokenizer,
      step=step,
      batch_size=self._batch_size,
    )

  def _run(self, predictor, counts, num_pictures, stores):
    wanted = {key: task for key, task in self._tasks.items() if counts[key]}
    return evals.run(
      divided(predictor, self._group),
      wanted,
      {
        key: evals.Again(functools.partial(self._examples[key], counts[key]))
        for key in wanted
        if key in self._examples
      },
      batch_size=self._batch_size * self._group.count,
      num_pictures=num_pictures,
      stores=stores,
      progress=lambda task, done: self._check(),
    )

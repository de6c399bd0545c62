"""Asking the model that is being trained, while and after it is trained."""

import os
from collections.abc import Callable, Iterable, Mapping

import rich
from etils import epath
from jaxtyping import PyTree

from kosmos2_jax import evals
from kosmos2_jax.evals.examples import Example
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import loop, workdir
from kosmos2_jax.training.division import DividedPredictor, whole_params
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
  ):
    # Outside of the mesh, a kernel would be for one device.
    self._model = model.with_attention("xla")
    self._tokenizer = tokenizer
    self._tasks = dict(tasks)
    self._examples = examples
    self._batch_size = batch_size
    self._check = check
    self._group = group

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
      results = self._run(params, step, counts, drawn)
      if drawn:
        reporter.write_images(step, evals.sample_pictures(results))
      return results.scores

    return scores

  def final(
    self,
    state: TrainState,
    folder: str | os.PathLike,
    config: str,
    num_pictures: int,
  ) -> None:
    """Scores on `final_examples`: files in the workdir, a table on stdout.

    Args:
      state: what was trained; averages are asked where it has them.
      folder: the workdir.
      config: name of the config, for the record.
      num_pictures: how many to draw in `predictions.png`; 0 for no file.
    """
    counts = {key: task.final_examples for key, task in self._tasks.items()}
    step = int(state.step)
    results = self._run(averaged_params(state), step, counts, num_pictures)
    if not (results.tasks and self._group.is_main):
      return
    evals.write_results(
      results,
      epath.Path(folder) / workdir.RESULTS_FILE,
      tasks=self._tasks,
      config=config,
      checkpoint=os.fspath(folder),
      step=step,
    )
    if num_pictures:
      evals.draw_predictions(
        results, epath.Path(folder) / workdir.PICTURES_FILE
      )
    rich.print(evals.make_table(results))

  def _run(self, params, step, counts, num_pictures):
    wanted = {key: task for key, task in self._tasks.items() if counts[key]}
    if not wanted:
      return evals.Results({})
    self._check()
    several = self._group.count > 1
    predictor = Predictor(
      self._model,
      whole_params(params) if several else params,
      self._tokenizer,
      step=step,
      batch_size=self._batch_size,
    )
    return evals.run(
      DividedPredictor(predictor, self._group) if several else predictor,
      wanted,
      {key: self._examples[key](counts[key]) for key in wanted},
      batch_size=self._batch_size * self._group.count,
      num_pictures=num_pictures,
      progress=lambda task, count: self._check(),
    )

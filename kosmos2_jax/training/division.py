"""One evaluation, asked of several processes: each answers a part."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from kosmos2_jax.training.processes import Group

# Methods that answer a list of questions by a list of answers.
_METHODS = ("generate", "ground_batch", "locate_batch", "score")


class DividedPredictor:
  """A predictor on each process; all are asked the same, each answers a part.

  A list of questions is cut into batches of the predictor's own size, which
  the processes answer in turn. So every batch is one that a single process
  would have run, and its answers are the same; everything that is not a
  question is the predictor's own.

  Args:
    predictor: of this process, on its own devices; a `Predictor`, or anything
      with its methods that are asked.
    group: the processes; all call the same methods in the same order.
  """

  def __init__(self, predictor: Any, group: Group):
    self._predictor = predictor
    self._group = group

  def __getattr__(self, name: str) -> Any:
    """The predictor's attribute, divided if it is a list of questions."""
    found = getattr(self._predictor, name)
    if name not in _METHODS:
      return found

    def divided(*columns: Sequence[Any], **options: Any) -> list[Any]:
      return self._answers(found, columns, options)

    return divided

  def _answers(self, method, columns, options):
    size, count = self._predictor.batch_size, self._group.count
    starts = range(0, len(columns[0]), size)
    mine = [
      method(*(column[start : start + size] for column in columns), **options)
      for start in starts[self._group.index :: count]
    ]
    # They come from processes of the same run alone.
    parts = [
      pickle.loads(part)
      for part in self._group.gather("the evaluation", pickle.dumps(mine))
    ]
    batches = [parts[i % count][i // count] for i in range(len(starts))]
    return [answer for batch in batches for answer in batch]


def divided(predictor: Any, group: Group) -> Any:
  """The predictor, divided among the processes if there are several."""
  return DividedPredictor(predictor, group) if group.count > 1 else predictor


def whole_params(params: Mapping[str, PyTree]) -> PyTree:
  """The whole parameters on the first device of each process.

  One array after the other, so that no more than one is on a device twice.
  """

  def whole(leaf: jax.Array) -> jax.Array:
    return jax.device_put(
      multihost_utils.process_allgather(leaf, tiled=True),
      jax.local_devices()[0],
    )

  return jax.tree.map(whole, params)

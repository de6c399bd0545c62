"""METEOR 1.5: the official program, and its formula for the bootstrap.

The program gives each answer 23 counts and computes the score of a set from
their sums, so the set's METEOR is not the mean of its answers' METEOR.
"""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from kosmos2_jax.evals.scoring import coco_scorers, java

# Loading the paraphrases takes seconds, five references an answer tens of
# milliseconds on a slow machine.
START_S = 300.0
ANSWER_S = 1.0
NUM_COUNTS = 23
# Of English, tuned to human rankings (Denkowski and Lavie 2014).
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
# A match of words, stems, synonyms, paraphrases.
MATCH_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])


class Meteor(NamedTuple):
  """METEOR of a set of answers.

  Attributes:
    value: of the set, 0..1, by the official program.
    counts: of each answer, what the program's score is computed from.
  """

  value: float
  counts: Float[np.ndarray, "n 23"]


def score(
  references: Sequence[Sequence[str]],
  answers: Sequence[str],
  timeout_s: float | None = None,
) -> Meteor:
  """METEOR by the official program.

  Args:
    references: of each answer, tokens with spaces between them.
    answers: likewise.
    timeout_s: the program is given up after so many seconds; None: a time
      that grows with the number of answers.

  Raises:
    java.JavaTrouble: Java is missing, too slow, or has failed.
    ModuleNotFoundError: see `coco_scorers.load`.
  """
  official = coco_scorers.load()
  lines: list[str] = []

  class Running(official.meteor):
    """The official class on a process that is ours to end.

    Its own `__init__` starts one without a time limit, and its `__del__` waits
    for ever if that process dies while it is asked.
    """

    def __init__(self, process):
      self.meteor_p = process
      self.lock = threading.Lock()

    def __del__(self):
      pass

    def _stat(self, hypothesis_str, reference_list):
      lines.append(super()._stat(hypothesis_str, reference_list))
      # Any other line would end the program at the next one.
      if len(lines[-1].split()) != NUM_COUNTS:
        raise ValueError(lines[-1])
      return lines[-1]

  if timeout_s is None:
    timeout_s = START_S + ANSWER_S * len(answers)
  arguments = ["-Xmx2G", "-jar", str(official.meteor_jar)]
  arguments += ["-", "-", "-stdio", "-l", "en", "-norm"]
  with java.program(arguments, timeout_s=timeout_s) as program:
    try:
      value, _ = Running(program.process).compute_score(
        dict(enumerate(map(list, references))),
        {i: [answer] for i, answer in enumerate(answers)},
      )
    except (OSError, ValueError) as error:
      # A pipe that is closed, or a line that is no number.
      raise program.trouble("METEOR") from error
  counts = np.array([line.split() for line in lines], np.float64)
  return Meteor(value, counts)


def of_counts(counts: Float[np.ndarray, "*n 23"]) -> Float[np.ndarray, "*n"]:
  """METEOR of counts, each as the program computes it (0..1).

  Denkowski and Lavie 2014: precision P and recall R are of matches weighted by
  their kind and by content (delta) or function words (1 - delta);

      F = P R / (alpha P + (1 - alpha) R)
      METEOR = F (1 - gamma (chunks / matched words)^beta)

  Args:
    counts: of answers, or the `total` of a set: words of the answer and of
      its reference, function words of both; for each kind of match matched
      content words of both and matched function words of both; chunks, and
      matched words of both.
  """
  lengths, functions = counts[..., 0:2], counts[..., 2:4]
  matches = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 2, 2)
  chunks, words = counts[..., 20], counts[..., 21:23]
  kinds = np.array([DELTA, 1 - DELTA])  # content, function
  weighted = np.einsum("...ktw,k,t->...w", matches, MATCH_WEIGHTS, kinds)
  total = DELTA * (lengths - functions) + (1 - DELTA) * functions
  with np.errstate(divide="ignore", invalid="ignore"):
    precision, recall = np.moveaxis(weighted / total, -1, 0)
    f_mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
    fragmentation = chunks / np.mean(words, axis=-1)
    fragmentation = np.where(_is_perfect(counts), 0.0, fragmentation)
    penalty = GAMMA * fragmentation**BETA
    value = f_mean * (1 - penalty)
  return np.asarray(np.nan_to_num(value, nan=0.0))


def total(counts: Float[np.ndarray, "n 23"]) -> Float[np.ndarray, "23"]:
  """The sum over a set as the program takes it.

  An answer that matches its reference whole, in one chunk, adds no chunk: it
  has no fragmentation, alone or in a set.
  """
  adding = counts.copy()
  adding[_is_perfect(counts), 20] = 0
  return adding.sum(0)


def _is_perfect(
  counts: Float[np.ndarray, "*n 23"],
) -> Bool[np.ndarray, "*n"]:
  """Where every word is matched and in its place."""
  matched = counts[..., 4:20].reshape(*counts.shape[:-1], 8, 2).sum(-2)
  whole = np.all(matched == counts[..., 0:2], axis=-1)
  return np.asarray(whole & (counts[..., 20] == 1))


def resampler(
  counts: Float[np.ndarray, "n 23"], scale: float
) -> Callable[[np.ndarray], float]:
  """METEOR times `scale` of some of the answers, by their indices."""

  def value(indices: np.ndarray) -> float:
    return float(scale * of_counts(total(counts[indices])))

  return value

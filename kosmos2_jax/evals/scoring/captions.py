"""Answers against reference texts: CIDEr, METEOR, BLEU and ROUGE-L.

By the scorers of pycocoevalcap, one by one, after its PTB tokenizer. That and
METEOR are Java programs; without them the other metrics are over words of our
own tokenizer, and a note says so.

The bootstrap resamples what the scorers compute from: CIDEr's and ROUGE-L's
value of each answer (CIDEr's with the document frequencies of the whole set,
which a real second sample would change, too), and the counts of BLEU and
METEOR, which are no means over answers.
"""

import collections
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from kosmos2_jax.evals.protocol import Metric, Scores
from kosmos2_jax.evals.scoring import caption_words, coco_scorers, java, meteor

BLEU_ORDERS = 4
METRICS = (
  "cider",
  *(f"bleu_{n}" for n in range(1, BLEU_ORDERS + 1)),
  "rouge_l",
  "meteor",
)
SCALE = 100.0  # CIDEr x 100 and percent, as papers print them


def score(
  references: Sequence[Sequence[str]],
  answers: Sequence[str],
  metrics: Sequence[str] = METRICS,
) -> Scores:
  """Scores answers, each against its own references.

  Args:
    references: of each answer one or more texts.
    answers: plain text, without tags; may be empty.
    metrics: those of `METRICS` that are wanted, in the order they come; METEOR
      is left out, and a note says why, where Java fails.

  Returns:
    Metrics times 100. `quality` is the CIDEr of each answer (of one alone, all
    are 0), `counts` those of texts without a word.

  Raises:
    ModuleNotFoundError: see `coco_scorers.load`.
    ValueError: there is no answer, an answer has no reference, no reference of
      any has a word, or a metric is unknown.
  """
  _check(references, answers, metrics)
  official = coco_scorers.load()
  notes = []
  texts = [*answers, *(text for texts in references for text in texts)]
  try:
    words = caption_words.official(texts)
    trouble = None
  except java.JavaTrouble as error:
    words = list(map(caption_words.plain, texts))
    trouble = error
    notes.append(
      "Words are those of this project's own tokenizer, not of the PTB"
      " tokenizer, so these numbers do not compare with published ones:"
      f" {error}"
    )
  rest = iter(words)
  said = [next(rest) for _ in answers]
  true = [[next(rest) for _ in texts] for texts in references]
  without_word = sum(not text for texts in true for text in texts)
  if without_word == len(words) - len(said):
    raise ValueError(
      f"none of the {without_word} references holds a word; give references"
      " to compare the answers with."
    )
  found: dict[str, Metric] = {}
  hypotheses = {i: [text] for i, text in enumerate(said)}
  true_by_index = dict(enumerate(true))
  _, each = official.cider().compute_score(true_by_index, hypotheses)
  found["cider"] = _mean(each)
  if len(said) == 1:
    notes.append(
      "CIDEr of one answer alone is 0, whatever it says: a word counts as much"
      " as it is rare in the references of the others."
    )
  if "rouge_l" in metrics:
    found["rouge_l"] = _mean(
      official.rouge().compute_score(true_by_index, hypotheses)[1]
    )
  if any(name.startswith("bleu") for name in metrics):
    found |= _bleu(official.bleu, true, said)
  if "meteor" in metrics and trouble is None:
    try:
      whole, counts = meteor.score(true, said)
      found["meteor"] = Metric(
        SCALE * whole,
        resample=meteor.resampler(counts, SCALE),
        scale=SCALE,
      )
    except java.JavaTrouble as error:
      trouble = error
  if "meteor" in metrics and trouble is not None:
    notes.append(f"METEOR is left out: {trouble}")
  return Scores(
    n=len(said),
    metrics={name: found[name] for name in metrics if name in found},
    counts={
      "references": sum(map(len, true)),
      "answers_without_word": sum(not text for text in said),
      "references_without_word": without_word,
    },
    quality=SCALE * np.asarray(each, np.float64),
    notes=tuple(notes),
  )


def size_notes(n: int, whole: Mapping[int, str]) -> tuple[str, ...]:
  """A note on CIDEr of fewer answers than a published split has.

  Args:
    n: answers that were scored.
    whole: numbers of answers that are a whole split, and which.
  """
  if n in whole:
    return ()
  known = " or ".join(f"{size:,} ({name})" for size, name in whole.items())
  return (
    f"CIDEr over {n:,} answers does not compare with CIDEr over {known}: how"
    " rare a word is, is counted in the references of the answers scored.",
  )


def _check(references, answers, metrics) -> None:
  """Raises ValueError for what cannot be scored."""
  unknown = [name for name in metrics if name not in METRICS]
  if unknown:
    raise ValueError(
      f"metrics are of {', '.join(METRICS)}; found {unknown[0]!r}."
    )
  if not answers:
    raise ValueError(
      "there is no answer to score; choose another dataset or split for the"
      " task."
    )
  if len(references) != len(answers) or not all(map(len, references)):
    raise ValueError(
      "expected one or more references for each answer, found"
      f" {len(answers)} answers and the numbers of references"
      f" {sorted(collections.Counter(map(len, references)))} for"
      f" {len(references)} of them."
    )


def _mean(each: np.ndarray) -> Metric:
  """A mean over answers."""
  each = np.asarray(each, np.float64)
  return Metric(SCALE * float(np.mean(each)), numerators=each, scale=SCALE)


def _bleu(
  scorer_type: type, references: Sequence[Sequence[str]], answers: Sequence[str]
) -> dict[str, Metric]:
  """BLEU of orders 1 to 4, over the whole set."""
  scorer = scorer_type(n=BLEU_ORDERS)
  for answer, texts in zip(answers, references, strict=True):
    scorer += (answer, texts)
  # As pycocoevalcap's `Bleu`, which prints its totals to the console.
  values, _ = scorer.compute_score(option="closest", verbose=0)
  counts = np.array(
    [
      [
        one["testlen"],
        # The length nearest to the answer's; the shorter of two as near.
        min((abs(n - one["testlen"]), n) for n in one["reflen"])[1],
        *one["guess"],
        *one["correct"],
      ]
      for one in scorer.ctest
    ],
    np.int64,
  )
  return {
    f"bleu_{order}": Metric(
      SCALE * value, resample=_bleu_resampler(counts, order), scale=SCALE
    )
    for order, value in enumerate(values, 1)
  }


def bleu_of_counts(totals: Int[np.ndarray, " 10"], order: int) -> float:
  """BLEU of summed counts (0..1), with the official scorer's tiny constants.

  Papineni et al. 2002: the geometric mean of the precisions of 1- to n-grams,
  times exp(1 - r/c) where the answers' words c are fewer than the references'
  r.

  Args:
    totals: words of the answers; words of the nearest references; n-grams of
      the answers and those of them that are right, for n = 1 to 4.
    order: the largest n.
  """
  tiny, small = 1e-15, 1e-9  # no division by zero; as the official scorer
  length, nearest = totals[:2]
  guessed = totals[2 : 2 + order]
  right = totals[2 + BLEU_ORDERS : 2 + BLEU_ORDERS + order]
  value = float(np.prod((right + tiny) / (guessed + small)) ** (1 / order))
  ratio = float((length + tiny) / (nearest + small))
  return value * float(np.exp(1 - 1 / ratio)) if ratio < 1 else value


def _bleu_resampler(
  counts: Int[np.ndarray, "n 10"], order: int
) -> Callable[[np.ndarray], float]:
  def value(indices: np.ndarray) -> float:
    return SCALE * bleu_of_counts(counts[indices].sum(0), order)

  return value

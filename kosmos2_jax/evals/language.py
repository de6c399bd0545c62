"""Language tasks: which of several texts is the likeliest.

StoryCloze, HellaSwag, Winograd, Winogrande, PIQA, BoolQ, CB and COPA, asked
and scored by lm-evaluation-harness: the questions are its own requests, the
answers go back into its own metrics, so its results and these agree.
"""

import collections
import importlib.metadata
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from kosmos2_jax.evals import harness, language_tasks
from kosmos2_jax.evals.examples import Example
from kosmos2_jax.evals.protocol import (
  Evaluator,
  Json,
  Metric,
  Published,
  Question,
  Record,
  Scores,
  View,
)

SEED = 1234  # the harness's own, of few-shot examples
PERCENT = 100.0
_SOURCE = "Kosmos-2 paper, table of language tasks, zero-shot"
# Accuracy in percent. The paper does not say how long texts are compared with
# short ones; where the harness has both ways, its number is beside the one
# that takes lengths out, as those near it only go with that (HellaSwag).
PUBLISHED = {
  "storycloze_2016": ("acc", 72.0),
  "hellaswag": ("acc_norm", 49.4),
  "wsc273": ("acc", 69.1),
  "winogrande": ("acc", 55.6),
  "piqa": ("acc_norm", 72.9),
  "boolq": ("acc", 62.0),
  "cb": ("acc", 30.4),
  "copa": ("acc", 67.0),
}


class LanguageChoice(Evaluator):
  """One of the eight tasks; a question is a row with all its choices.

  Attributes:
    task: name in `language_tasks.TASKS`.
    files: folder of the local files, see `language_tasks`.
    num_fewshot: solved examples before each question.
    seed: of the choice of examples; the default is the harness's.
    limit: at most so many rows; None: all.
    lines: line breaks become `</line>`; see `harness.model_class`.
  """

  name = "language"
  version = "1"
  reads_examples = False

  def __init__(
    self,
    *,
    task: str = "hellaswag",
    files: str | os.PathLike = "data/language",
    num_fewshot: int = 0,
    seed: int = SEED,
    limit: int | None = None,
    lines: bool = False,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for an unknown task or a number that makes no sense.
    """
    if task not in language_tasks.TASKS:
      raise ValueError(
        f"task must be one of {sorted(language_tasks.TASKS)}; got {task!r}."
      )
    if num_fewshot < 0 or (limit is not None and limit < 1):
      raise ValueError(
        "num_fewshot must be at least 0 and limit at least 1 (None: all); got"
        f" {num_fewshot} and {limit}."
      )
    self.task = task
    self.files_folder = Path(files)
    self.num_fewshot = num_fewshot
    self.seed = seed
    self.limit = limit
    self.lines = lines

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    shots = "zero-shot"
    if self.num_fewshot:
      shots = f"{self.num_fewshot}-shot (seed {self.seed})"
    return (
      f"lm-evaluation-harness {_version()}, task {self.task}, {shots}: the"
      " choice with the highest log-probability counts (acc), or that divided"
      " by its characters (acc_norm); in percent;"
      f" line breaks are {'</line>' if self.lines else 'spaces'}"
      + ("" if self.limit is None else f"; the first {self.limit} rows")
    )

  def questions(self, examples: Iterable[Example] = ()) -> Iterator[Question]:
    """Makes the harness's requests, one question for each row.

    Args:
      examples: not read; the rows come from `files`.

    Raises:
      FileNotFoundError, ModuleNotFoundError, ValueError: see
        `language_tasks.files` and `language_tasks.load`.
    """
    del examples
    paths = language_tasks.files(self.files_folder, self.task, self.num_fewshot)
    task = language_tasks.load(
      self.task, paths, num_fewshot=self.num_fewshot, seed=self.seed
    )
    rows = task.dataset[language_tasks.TASKS[self.task].asked]
    with harness.offline():
      task.build_all_requests(limit=self.limit)
    requests = collections.defaultdict(list)
    for request in task.instances:
      requests[request.doc_id].append(request)
    for index, several in requests.items():
      asked = [list(request.args) for request in several]
      # The row as it was read: what the harness makes of it, it makes again.
      truth = {"row": rows[index], "gold": _gold(task, several[0].doc)}
      name = f"{self.task}/{index}"
      yield Question(name, name, (), asked, truth)

  def cost(self, question: Question) -> int:
    """About how many tokens its longest choice has."""
    return max(sum(map(len, texts)) for texts in question.ask) // 4

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """Log-probability of every choice.

    Returns:
      For each question `log_probs`, `greedy` (is it what the model would have
      said), and `cut`, how many tokens of its contexts were left out.

    Raises:
      ValueError: if the model's probabilities are not numbers.
    """
    model = harness.adapt(predictor, lines=self.lines)
    requests = [tuple(x) for question in questions for x in question.ask]
    answers = iter(
      model.loglikelihood(
        [SimpleNamespace(args=request) for request in requests],
        disable_tqdm=True,
      )
    )
    found = []
    for question in questions:
      pairs = [next(answers) for _ in question.ask]
      log_probs = [log_prob for log_prob, _ in pairs]
      if not np.all(np.isfinite(log_probs)):
        raise ValueError(
          f"question {question.id!r}: the model's probabilities are not"
          " numbers; its weights hold NaN or infinities."
        )
      found.append(
        {
          "log_probs": log_probs,
          "greedy": [is_greedy for _, is_greedy in pairs],
          "cut": sum(model.cut.get(tuple(x), 0) for x in question.ask),
        }
      )
    return found

  def score(self, records: Sequence[Record]) -> Scores:
    """Lets the harness judge the answers, as if its own run had given them.

    Raises:
      ModuleNotFoundError: if the harness is not installed.
      ValueError: if there is no record.
    """
    if not records:
      raise ValueError("there is no answer to score; ask something first.")
    with tempfile.TemporaryDirectory() as folder:
      path = Path(folder) / "rows.jsonl"
      path.write_text(
        "".join(f"{json.dumps(record.truth['row'])}\n" for record in records),
        encoding="utf-8",
      )
      task = language_tasks.load(
        self.task, {language_tasks.TASKS[self.task].asked: path}
      )
    docs = list(task.eval_docs)
    answers = [
      list(zip(x.answer["log_probs"], x.answer["greedy"], strict=True))
      for x in records
    ]
    judged = [
      task.process_results(doc, answer)
      for doc, answer in zip(docs, answers, strict=True)
    ]
    metrics = {
      name: _metric([items[name] for items in judged], add_up)
      for name, add_up in task.aggregation().items()
    }
    main = PUBLISHED[self.task][0]
    cut = [record.answer["cut"] for record in records]
    return Scores(
      n=len(records),
      metrics={main: metrics.pop(main), **metrics},
      counts={
        "right": int(sum(items["acc"] for items in judged)),
        "cut_contexts": sum(map(bool, cut)),
        "cut_tokens": sum(cut),
      },
      quality=np.array([_margin(record) for record in records]),
    )

  def view(self, record: Record) -> View:
    """The context and its choices, the likeliest first, the true one marked."""
    contexts = {context for context, _ in record.ask}
    lines = list(contexts) if len(contexts) == 1 else []
    log_probs = record.answer["log_probs"]
    for i in np.argsort(log_probs)[::-1]:
      context, continuation = record.ask[i]
      said = continuation if len(contexts) == 1 else context + continuation
      mark = " (true)" if i == record.truth["gold"] else ""
      lines.append(f"{log_probs[i]:.2f}{mark}: {said.strip()}")
    return View((), (), tuple(lines))

  def published(self, dataset: str, split: str) -> tuple[Published, ...]:
    """The paper's zero-shot number; nothing for few-shot."""
    del dataset, split
    if self.num_fewshot:
      return ()
    return (Published(*PUBLISHED[self.task], _SOURCE),)


def _version() -> str:
  try:
    return importlib.metadata.version("lm_eval")
  except importlib.metadata.PackageNotFoundError:
    return "(not installed)"


def _gold(task: Any, doc: Any) -> int:
  """Which choice is the true one."""
  # Where choices differ in their contexts, the text says which.
  gold = (
    task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
  )
  return int(
    gold if isinstance(gold, int) else task.doc_to_choice(doc).index(gold)
  )


def _margin(record: Record) -> float:
  """How much likelier the true choice is than the best other one."""
  log_probs = list(record.answer["log_probs"])
  return log_probs.pop(record.truth["gold"]) - max(log_probs)


def _metric(items: Sequence[Any], add_up: Callable[[Any], float]) -> Metric:
  """A metric of the harness, in percent.

  Args:
    items: what each row gives, numbers or what only `add_up` understands.
    add_up: the harness's aggregation.
  """

  def value(indices: range | np.ndarray) -> float:
    with warnings.catch_warnings():
      # A class that nothing is in, and nothing is taken for, counts as 0.
      warnings.filterwarnings("ignore", "F-score is ill-defined")
      return PERCENT * float(add_up([items[i] for i in indices]))

  whole = value(range(len(items)))
  if all(isinstance(item, int | float) for item in items):
    return Metric(whole, np.array(items, np.float64), scale=PERCENT)
  return Metric(whole, resample=value, scale=PERCENT)

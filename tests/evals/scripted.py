"""A predictor that answers from a script, and a task's three steps in a row."""

import json
import math

from kosmos2_jax.evals.protocol import Record
from kosmos2_jax.generation import requests
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.text.vocab import OBJECT

TOKENIZER = Tokenizer.small(num_bins=8)
LOG_PROB = math.log(0.5)  # of every token; a box has a score of a quarter


class ScriptedPredictor(Predictor):
  """Everything of a predictor but the model.

  Args:
    answers: prompt -> the text that follows it, with tags, or with `log_probs`
      of its tokens; what is not there is answered by `</s>` at once.
    tokenizer: reads both.
  """

  def __init__(self, answers, tokenizer=TOKENIZER, no_repeat_ngram_size=3):
    self.tokenizer = tokenizer
    self.no_repeat_ngram_size = no_repeat_ngram_size
    self.answers = answers
    self.asked = []  # Lists of prompts.
    self.options = []

  def _rows(self, prompts, images, max_new_tokens):
    assert len(prompts) == len(images)
    self.asked.append(list(prompts))
    return prompts

  def _generate(
    self, rows, max_new_tokens, eos_id, options, beam=None, seeds=()
  ):
    self.options.append(options)
    answers = []
    for prompt in rows:
      forced = options.boxes is not None and prompt.endswith(OBJECT)
      answer = self.answers.get(prompt.removesuffix(OBJECT), "")
      text, scores = answer if isinstance(answer, tuple) else (answer, None)
      tokens = [
        *self.tokenizer.encode(text),
        self.tokenizer.vocab.eos_id,
      ]
      scores = (
        [LOG_PROB] * len(tokens) if scores is None else [*map(float, scores)]
      )
      if forced and text.startswith(OBJECT):
        tokens, scores = tokens[1:], scores[1:]
      size = tokens.index(eos_id) + 1 if eos_id in tokens else len(tokens)
      size = min(size, max_new_tokens)
      answers.append(
        [requests.Answer(tokens[:size], scores[:size], sum(scores[:size]))]
      )
    return answers


def ask(task, predictor, examples, batch_size=2):
  """Questions, answers and records, by way of JSON."""
  questions = list(task.questions(examples))
  assert len({question.id for question in questions}) == len(questions)
  records = []
  for start in range(0, len(questions), batch_size):
    batch = questions[start : start + batch_size]
    for q, answer in zip(batch, task.ask(predictor, batch), strict=True):
      record = Record(q.id, q.group, q.ask, q.truth, answer)
      records.append(Record(*json.loads(json.dumps(record))))
  return records


def run(task, predictor, examples, batch_size=2):
  """The scores, whose numbers are checked to be what their parts give."""
  records = ask(task, predictor, examples, batch_size)
  scores = task.score(records)
  for record in records:
    assert task.view(record).lines
  for metric in scores.metrics.values():
    if metric.numerators is not None:
      total = (
        len(records)
        if metric.denominators is None
        else metric.denominators.sum()
      )
      assert len(metric.numerators) == len(records)
      value = metric.scale * metric.numerators.sum() / max(total, 1)
      assert math.isclose(value, metric.value, abs_tol=1e-12)
  assert scores.quality is None or len(scores.quality) == len(records)
  return scores


def values(scores):
  """Metrics as plain numbers."""
  return {name: metric.value for name, metric in scores.metrics.items()}


def boxes_text(*pairs):
  """An object block of pairs of bins."""
  inner = "</delimiter_of_multi_objects/>".join(
    f"<patch_index_{a:04d}><patch_index_{b:04d}>" for a, b in pairs
  )
  return f"{OBJECT}{inner}</object>"

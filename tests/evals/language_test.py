"""Language tasks: the harness's questions, the harness's scores, no network."""

import json
import re
import shutil
import socket

import lm_eval
import lm_eval.evaluator
import numpy as np
import pytest

from kosmos2_jax.evals import bootstrap, engine, harness, language_tasks
from kosmos2_jax.evals.language import PUBLISHED, LanguageChoice
from kosmos2_jax.evals.protocol import Record
from kosmos2_jax.generation.scoring import Score
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.evals import language_rows

TOKENIZER = Tokenizer.small(num_bins=4)


class FakePredictor:
  """Likelihoods that are a function of the ids alone; remembers batches."""

  tokenizer = TOKENIZER
  max_length = 256

  def __init__(self):
    self.asked = []

  def score(self, prompts, continuations, images=None):
    assert images is None
    self.asked.append(len(prompts))
    return [
      self.one(prompt, continuation)
      for prompt, continuation in zip(prompts, continuations, strict=True)
    ]

  def one(self, prompt, continuation):
    draws = np.random.default_rng([*prompt, 7, *continuation])
    log_probs = draws.uniform(-3, -1, len(continuation))
    return Score(
      float(log_probs.sum()), len(continuation), bool(draws.uniform() < 0.5)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return language_rows.write(tmp_path_factory.mktemp("language"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
  """Nothing may even look for a server."""

  def refuse(*args, **kwargs):
    raise AssertionError(f"asked the network: {args}")

  monkeypatch.setattr(socket, "getaddrinfo", refuse)
  monkeypatch.setattr(socket.socket, "connect", refuse)


def answered(evaluator, predictor):
  """The records of a run, through JSON as in `predictions.jsonl`."""
  questions = list(evaluator.questions([]))
  answers = evaluator.ask(predictor, questions)
  return [
    Record(*json.loads(json.dumps([q.id, q.group, q.ask, q.truth, a])))
    for q, a in zip(questions, answers, strict=True)
  ]


def log_probs_of(predictor, pairs):
  """By arithmetic: the pair in one, cut behind the context's tokens."""
  found = []
  for context, continuation in pairs:
    whole = TOKENIZER.encode(context + continuation)
    prompt = TOKENIZER.encode(context)
    found.append(predictor.one(prompt, whole[len(prompt) :]).log_prob)
  return np.array(found)


def expected(name, predictor):
  """Accuracy, that of log-probabilities per character, and each row's."""
  right, right_by_length = [], []
  for pairs, true in language_rows.ASKED[name]:
    log_probs = log_probs_of(predictor, pairs)
    # The character in front of a choice is the harness's, not the choice's.
    lengths = np.array([len(text) - 1 for _, text in pairs])
    right.append(np.argmax(log_probs) == true)
    right_by_length.append(np.argmax(log_probs / lengths) == true)
  return np.array(right, float), np.array(right_by_length, float)


def macro_f1(true, said):
  """Mean of the classes' F1; a class that is nowhere has 0."""
  found = []
  for kind in range(3):
    both = sum(t == s == kind for t, s in zip(true, said, strict=True))
    found.append(2 * both / max(true.count(kind) + said.count(kind), 1))
  return sum(found) / 3


@pytest.mark.parametrize("name", language_rows.ROWS)
def test_questions_are_the_rows_in_words(folder, name):
  questions = list(LanguageChoice(task=name, files=folder).questions([]))
  assert [
    ([tuple(pair) for pair in q.ask], q.truth["gold"]) for q in questions
  ] == language_rows.ASKED[name]
  assert [q.truth["row"] for q in questions] == language_rows.ROWS[name]
  assert [q.id for q in questions] == [
    f"{name}/{i}" for i in range(len(questions))
  ]
  assert all(q.group == q.id and q.images == () for q in questions)


@pytest.mark.parametrize("name", language_rows.ROWS)
def test_scores_are_the_arithmetic(folder, name):
  predictor = FakePredictor()
  evaluator = LanguageChoice(task=name, files=folder)
  records = answered(evaluator, predictor)
  scores = evaluator.score(records)
  right, by_length = expected(name, predictor)
  assert scores.n == len(right)
  assert scores.metrics["acc"].value == 100 * right.mean()
  np.testing.assert_array_equal(scores.metrics["acc"].numerators, right)
  assert scores.metrics["acc"].scale == 100
  assert scores.counts == {
    "right": int(right.sum()),
    "cut_contexts": 0,
    "cut_tokens": 0,
  }
  others = set(scores.metrics) - {"acc"}
  if name in ("hellaswag", "piqa"):
    assert others == {"acc_norm"}
    assert scores.metrics["acc_norm"].value == 100 * by_length.mean()
    np.testing.assert_array_equal(
      scores.metrics["acc_norm"].numerators, by_length
    )
  elif name == "cb":
    assert others == {"f1"}
    true = [gold for _, gold in language_rows.ASKED[name]]
    said = [
      int(np.argmax(log_probs_of(predictor, pairs)))
      for pairs, _ in language_rows.ASKED[name]
    ]
    f1 = scores.metrics["f1"]
    assert f1.value == pytest.approx(100 * macro_f1(true, said), abs=1e-12)
    drawn = [0, 0, 2]
    assert f1.resample(np.array(drawn)) == pytest.approx(
      100 * macro_f1([true[i] for i in drawn], [said[i] for i in drawn]),
      abs=1e-12,
    )
  else:
    assert not others
  assert next(iter(scores.metrics)) == PUBLISHED[name][0]
  margins = [
    log_probs[true] - max(np.delete(log_probs, true))
    for pairs, true in language_rows.ASKED[name]
    for log_probs in [log_probs_of(predictor, pairs)]
  ]
  np.testing.assert_allclose(scores.quality, margins, rtol=1e-12)


@pytest.mark.parametrize("num_fewshot", [0, 2])
def test_the_harness_itself_says_the_same(
  folder, num_fewshot, tmp_path, monkeypatch
):
  """Its own run, with our model: the same requests, the same numbers."""
  # It lists all packages for its file of results, which takes seconds.
  monkeypatch.setattr(lm_eval.evaluator, "add_env_info", lambda results: None)
  for name in language_rows.ROWS:
    predictor = FakePredictor()
    evaluator = LanguageChoice(task=name, files=folder, num_fewshot=num_fewshot)
    records = answered(evaluator, predictor)
    scores = evaluator.score(records)
    paths = language_tasks.files(folder, name, num_fewshot)
    definition = language_tasks.write_definition(name, paths, tmp_path)
    with harness.offline():
      theirs = lm_eval.simple_evaluate(
        model=harness.adapt(predictor),
        tasks=[str(definition)],
        num_fewshot=num_fewshot,
        bootstrap_iters=0,
        task_manager=lm_eval.tasks.TaskManager(include_defaults=False),
      )
    for metric, found in scores.metrics.items():
      assert theirs["results"][name][f"{metric},none"] * 100 == found.value
    asked = [
      [list(arguments) for arguments in sample["arguments"]]
      for sample in theirs["samples"][name]
    ]
    assert asked == [record.ask for record in records]
    assert theirs["n-shot"][name] == num_fewshot


def test_the_engine_asks_in_batches_and_scores(folder):
  """Rows of several choices go together; the order of rows stays."""
  predictor = FakePredictor()
  evaluator = LanguageChoice(task="cb", files=folder)
  outcome = engine.run(predictor, evaluator, (), batch_size=2)
  expected = evaluator.score(answered(evaluator, FakePredictor()))
  assert [record.id for record in outcome.records] == ["cb/0", "cb/1", "cb/2"]
  for name, metric in expected.metrics.items():
    assert outcome.scores.metrics[name].value == metric.value
  assert predictor.asked == [6, 3]  # three choices a row
  assert outcome.evaluator.cost(next(evaluator.questions())) > 5
  low, high = bootstrap.of(outcome)["f1"]
  assert 0 <= low <= high <= 100


def test_few_shot_examples_depend_on_the_seed_alone(folder):
  def asked(**options):
    evaluator = LanguageChoice(
      task="piqa", files=folder, num_fewshot=2, **options
    )
    return [question.ask for question in evaluator.questions([])]

  first = asked()
  assert asked() == first
  assert asked(seed=5) != first
  assert asked(limit=1) == first[:1]
  goals = re.findall("Question: (.*)", first[0][0][0])
  assert len(goals) == 3
  assert set(goals[:2]) <= {f"Goal {i}?" for i in range(6)}
  assert goals[2] == "How do you cool soup?"


def test_winograd_examples_are_other_rows(folder):
  """It has one split: the row that is asked must not solve itself."""
  evaluator = LanguageChoice(task="wsc273", files=folder, num_fewshot=2)
  for question, row in zip(
    evaluator.questions([]), language_rows.WINOGRAD, strict=True
  ):
    for context, _ in question.ask:
      start = row["text"][:10]
      assert context.count(start) == 1


def test_a_limit_asks_the_first_rows(folder):
  evaluator = LanguageChoice(task="piqa", files=folder, limit=2)
  records = answered(evaluator, FakePredictor())
  assert [record.truth["row"] for record in records] == language_rows.PIQA[:2]
  assert evaluator.score(records).n == 2
  assert "the first 2 rows" in evaluator.protocol


def test_scores_need_no_files(folder, tmp_path):
  copied = shutil.copytree(folder, tmp_path / "copied")
  evaluator = LanguageChoice(task="wsc273", files=copied, num_fewshot=1)
  records = answered(evaluator, FakePredictor())
  before = evaluator.score(records)
  shutil.rmtree(copied)
  after = evaluator.score(records)
  assert after.metrics["acc"].value == before.metrics["acc"].value


def test_contexts_that_are_too_long_are_counted(folder):
  predictor = FakePredictor()
  predictor.max_length = 24
  evaluator = LanguageChoice(task="boolq", files=folder)
  records = answered(evaluator, predictor)
  lengths = [
    1 + len(TOKENIZER.encode(context + continuation))
    for pairs, _ in language_rows.ASKED["boolq"]
    for context, continuation in pairs
  ]
  cut = [max(0, length - 24) for length in lengths]
  assert 0 < sum(map(bool, cut)) < len(cut) or sum(cut) > 0
  counts = evaluator.score(records).counts
  assert counts["cut_tokens"] == sum(cut)
  assert counts["cut_contexts"] == sum(
    bool(cut[2 * i] + cut[2 * i + 1]) for i in range(2)
  )


def test_line_breaks_can_be_line_tokens(folder):
  plain = LanguageChoice(task="boolq", files=folder)
  lines = LanguageChoice(task="boolq", files=folder, lines=True)
  assert "line breaks are spaces" in plain.protocol
  assert "line breaks are </line>" in lines.protocol

  class Listening(FakePredictor):
    def one(self, prompt, continuation):
      self.lines = prompt.count(TOKENIZER.vocab.line_id)
      return super().one(prompt, continuation)

  listening = Listening()
  answered(plain, listening)
  assert listening.lines == 0
  answered(lines, listening)
  assert listening.lines == 2


def test_a_view_shows_the_choices_and_marks_the_true_one(folder):
  evaluator = LanguageChoice(task="piqa", files=folder)
  record = answered(evaluator, FakePredictor())[0]
  record.answer["log_probs"] = [-3.0, -1.25]
  view = evaluator.view(record)
  assert view.lines == (
    "Question: How do you cool soup?\nAnswer:",
    "-1.25: Set it on the stove and turn the flame up high.",
    "-3.00 (true): Blow on it.",
  )
  winograd = LanguageChoice(task="winogrande", files=folder)
  record = answered(winograd, FakePredictor())[0]
  record.answer["log_probs"] = [-3.0, -1.25]
  assert winograd.view(record).lines == (
    "-1.25 (true): Ann paid Sue because Sue had sold the car.",
    "-3.00: Ann paid Sue because Ann had sold the car.",
  )


def test_probabilities_that_are_no_numbers_are_refused(folder):
  class Broken(FakePredictor):
    def one(self, prompt, continuation):
      return Score(float("nan"), len(continuation), False)

  evaluator = LanguageChoice(task="copa", files=folder)
  with pytest.raises(ValueError, match="'copa/0': the model's probabilities"):
    answered(evaluator, Broken())


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"task": "lambada"}, "task must be one of .*; got 'lambada'"),
    ({"num_fewshot": -1}, "num_fewshot must be at least 0"),
    ({"limit": 0}, "limit at least 1"),
  ],
)
def test_wrong_options_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    LanguageChoice(**options)


def test_nothing_answered_is_nothing_to_score():
  with pytest.raises(ValueError, match="no answer to score"):
    LanguageChoice(task="copa").score([])


def test_the_papers_numbers_are_zero_shot(folder):
  [found] = LanguageChoice(task="cb").published("", "")
  assert (found.metric, found.value) == ("acc", 30.4)
  assert not LanguageChoice(task="cb", num_fewshot=2).published("", "")
  assert set(PUBLISHED) == set(language_tasks.TASKS)


def test_nothing_is_written_elsewhere(folder, tmp_path, monkeypatch):
  """The harness's libraries leave no cache behind."""
  import datasets

  home = tmp_path / "cache"
  monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home)
  temporary = tmp_path / "temporary"
  temporary.mkdir()
  monkeypatch.setattr("tempfile.tempdir", str(temporary))
  evaluator = LanguageChoice(task="hellaswag", files=folder, num_fewshot=1)
  evaluator.score(answered(evaluator, FakePredictor()))
  assert not home.exists()
  assert not list(temporary.iterdir())

"""The rules of decoding, each against a few lines of plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.generation import sampling
from kosmos2_jax.generation.sampling import FORBIDDEN, Options

V = 7


def restricted(history, lengths, *, step=0, logits=None, **options):
  history = jnp.asarray(history, jnp.int32)
  if logits is None:
    logits = jnp.zeros((len(history), V))
  found = sampling.restrict(
    logits,
    history,
    jnp.asarray(lengths),
    jnp.int32(step),
    Options(**options),
    eos_id=2,
  )
  return np.asarray(found) == FORBIDDEN


def repeated(row, size):
  """Every token that would end an n-gram of the row once more."""
  last = row[len(row) - size + 1 :] if size > 1 else []
  return {
    row[i + size - 1]
    for i in range(len(row) - size + 1)
    if row[i : i + size - 1] == last
  }


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_repeated_ngrams_are_forbidden(size):
  rng = np.random.default_rng(0)
  history = rng.integers(0, 2, (40, 12))
  lengths = rng.integers(1, 13, 40)
  found = restricted(history, lengths, no_repeat_ngram_size=size)
  seen = 0
  for row, length, forbidden in zip(history, lengths, found, strict=True):
    wanted = repeated(row[:length].tolist(), size)
    assert set(np.flatnonzero(forbidden)) == wanted
    seen += len(wanted)
  assert seen > 10


def test_what_is_behind_the_end_does_not_count():
  rows = [[5, 6, 5, 0, 0, 0], [5, 6, 5, 6, 5, 6]]
  found = restricted(rows, [3, 3], no_repeat_ngram_size=2)
  np.testing.assert_array_equal(found[0], found[1])
  assert np.flatnonzero(found[0]).tolist() == [6]


def test_rows_shorter_than_the_ngram():
  assert not restricted([[4, 4]], [2], no_repeat_ngram_size=3).any()
  assert not restricted([[4, 4, 4]], [1], no_repeat_ngram_size=3).any()


def test_the_end_is_forbidden_before_the_minimal_length():
  for step, forbidden in ((0, [2]), (1, [2]), (2, []), (5, [])):
    found = restricted([[0]], [1], step=step, min_new_tokens=2)
    assert np.flatnonzero(found[0]).tolist() == forbidden


def draws(logits, count=4000, **options):
  """How often each token is drawn, as fractions."""
  rows = jnp.tile(jnp.asarray(logits, jnp.float32), (count, 1))
  keys = jax.random.split(jax.random.key(0), count)
  found = sampling.choose(rows, keys, jnp.int32(0), Options(**options))
  return np.bincount(np.asarray(found), minlength=len(logits)) / count


def test_temperature():
  logits = np.log([0.5, 0.3, 0.2])
  for temperature in (1.0, 0.5, 2.0):
    wanted = np.exp(logits / temperature)
    wanted /= wanted.sum()
    # Four standard deviations of a fraction of 4000 draws.
    np.testing.assert_allclose(
      draws(logits, temperature=temperature), wanted, atol=0.032
    )


def test_top_k_and_top_p_keep_the_most_probable():
  logits = np.log([0.1, 0.4, 0.05, 0.3, 0.15])

  def kept(**options):
    return set(np.flatnonzero(draws(logits, temperature=1.0, **options)))

  assert kept(top_k=1) == {1}
  assert kept(top_k=3) == {1, 3, 4}
  assert kept(top_k=99) == {0, 1, 2, 3, 4}
  assert kept(top_p=0.01) == {1}
  assert kept(top_p=0.69) == {1, 3}
  assert kept(top_p=0.71) == {1, 3, 4}
  assert kept(top_k=3, top_p=0.5) == {1, 3}
  np.testing.assert_allclose(
    draws(logits, temperature=1.0, top_p=0.69)[[1, 3]],
    [4 / 7, 3 / 7],
    atol=0.032,
  )


def test_drawing_from_one_is_taking_the_best():
  logits = jax.random.normal(jax.random.key(1), (50, V))
  keys = jax.random.split(jax.random.key(2), 50)
  best = sampling.choose(logits, None, jnp.int32(0), Options())
  one = sampling.choose(
    logits, keys, jnp.int32(3), Options(temperature=0.7, top_k=1)
  )
  np.testing.assert_array_equal(best, jnp.argmax(logits, -1))
  np.testing.assert_array_equal(best, one)


def test_a_row_draws_alike_in_any_batch_and_differently_at_each_step():
  logits = jnp.zeros((6, 100))
  keys = jax.random.split(jax.random.key(0), 6)
  options, one, two = Options(temperature=1.0), jnp.int32(1), jnp.int32(2)
  together = sampling.choose(logits, keys, one, options)
  alone = [
    sampling.choose(logits[:1], keys[i : i + 1], one, options) for i in range(6)
  ]
  np.testing.assert_array_equal(together, np.concatenate(alone))
  assert (
    np.asarray(sampling.choose(logits, keys, two, options)) != together
  ).any()


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"temperature": -1.0}, "temperature is 0 or more"),
    ({"temperature": float("nan")}, "temperature is 0 or more"),
    ({"temperature": 1.0, "top_p": 0.0}, r"top_p is in \(0, 1\]"),
    ({"temperature": 1.0, "top_k": -1}, "top_k is 0 or more"),
    ({"top_k": 3}, "need a temperature above 0"),
    ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is 0 or more"),
  ],
)
def test_numbers_out_of_range(options, words):
  with pytest.raises(ValueError, match=words):
    Options(**options)


@pytest.fixture(scope="module")
def theirs():
  """The module with the rules of transformers."""
  pytest.importorskip("torch", reason="needs torch")
  pytest.importorskip("transformers", reason="needs transformers")
  from transformers.generation import logits_process

  return logits_process


def rows_of_logits(count=60, size=50, spread=3.0):
  rng = np.random.default_rng(3)
  return (rng.normal(size=(count, size)) * spread).astype(np.float32)


def after_theirs(rules, logits, history=((0,),)):
  """The scores that their rules leave, with `FORBIDDEN` for minus infinity."""
  import torch

  scores = torch.tensor(logits)
  ids = torch.tensor(np.broadcast_to(history, (len(logits), len(history[0]))))
  for rule in rules:
    scores = rule(ids, scores)
  found = scores.numpy()
  return np.where(np.isinf(found), np.float32(FORBIDDEN), found)


@pytest.mark.parametrize(
  "options",
  [
    {"temperature": 0.7},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.9, "top_k": 7},
    {"temperature": 1.0, "top_k": 1000},
    {"temperature": 1.0, "top_p": 1e-3},
    {"temperature": 0.7, "top_p": 0.5},
    {"temperature": 1.5, "top_p": 0.95},
    {"temperature": 1.3, "top_k": 12, "top_p": 0.8},
  ],
)
def test_what_is_drawn_from_is_what_transformers_draws_from(theirs, options):
  logits = rows_of_logits()
  rules = [theirs.TemperatureLogitsWarper(options["temperature"])]
  if "top_k" in options:
    rules.append(theirs.TopKLogitsWarper(options["top_k"]))
  if "top_p" in options:
    rules.append(theirs.TopPLogitsWarper(options["top_p"]))
  found = np.asarray(sampling.narrow(jnp.asarray(logits), Options(**options)))
  wanted = after_theirs(rules, logits)
  np.testing.assert_array_equal(found == FORBIDDEN, wanted == FORBIDDEN)
  # Multiplied by the inverse or divided: a last digit.
  np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_equal_scores_stay_together_in_top_k(theirs):
  logits = np.float32([[1, 3, 2, 2, 2, 0], [5, 5, 5, 5, 1, 1]])
  for k, kept in ((1, [1, 4]), (2, [4, 4]), (4, [4, 4]), (5, [5, 6])):
    found = np.asarray(
      sampling.narrow(jnp.asarray(logits), Options(temperature=1.0, top_k=k))
    )
    wanted = after_theirs([theirs.TopKLogitsWarper(k)], logits)
    np.testing.assert_array_equal(found, wanted)
    assert (found != FORBIDDEN).sum(-1).tolist() == kept


def test_the_token_that_reaches_top_p_is_the_last_one(theirs):
  # Halves, so that sums are exact: what reaches top_p exactly is enough.
  logits = np.log(np.float32([[0.125, 0.5, 0.125, 0.25]]))
  for top_p, kept in ((0.25, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3)):
    found = sampling.narrow(
      jnp.asarray(logits), Options(temperature=1.0, top_p=top_p)
    )
    wanted = after_theirs([theirs.TopPLogitsWarper(top_p)], logits)
    for each in (np.asarray(found), wanted):
      assert (each != FORBIDDEN).sum() == kept, top_p
    # Which of equal ones stays is not said; how probable it is, is.
    np.testing.assert_array_equal(np.sort(found), np.sort(wanted))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_repeated_ngrams_are_those_of_transformers(theirs, size):
  rng = np.random.default_rng(4)
  for length in (1, 2, 5, 20):
    history = rng.integers(0, 3, (40, length))
    logits = rows_of_logits(40, V)
    rule = theirs.NoRepeatNGramLogitsProcessor(size)
    wanted = after_theirs([rule], logits, history) == FORBIDDEN
    # What stands behind the end is no part of the row.
    padded = np.pad(history, ((0, 0), (0, 4)))
    found = restricted(
      padded,
      [length] * 40,
      logits=jnp.asarray(logits),
      no_repeat_ngram_size=size,
    )
    np.testing.assert_array_equal(found, wanted)
  assert wanted.any()


def test_the_minimal_length_is_that_of_transformers(theirs):
  logits, prompt = rows_of_logits(4, V), 3
  for step in range(5):
    rule = theirs.MinNewTokensLengthLogitsProcessor(prompt, 3, 2)
    history = np.zeros((4, prompt + step), np.int64)
    wanted = after_theirs([rule], logits, history) == FORBIDDEN
    found = restricted(
      history,
      [prompt + step] * 4,
      step=step,
      logits=jnp.asarray(logits),
      min_new_tokens=3,
    )
    np.testing.assert_array_equal(found, wanted)
    assert wanted.any() == (step < 3)

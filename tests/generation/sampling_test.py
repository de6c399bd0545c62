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

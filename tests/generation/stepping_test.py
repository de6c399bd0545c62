"""The loop's bookkeeping, with a model whose answers are a table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.generation import stepping
from kosmos2_jax.generation.sampling import Options

END = 2
# What follows each id, the same in every row.
FOLLOWS = np.array([1, 3, 0, 4, 5, 6, END, 7])
NUM_IDS = len(FOLLOWS)
PROMPTS = np.array([[1, 3, 0, 0], [1, 3, 4, 5]])
LENGTHS = np.array([2, 4])
NEW = 6


def logits_of(token):
  """The follower is likelier than all others together."""
  return 3.0 * jax.nn.one_hot(jnp.asarray(FOLLOWS)[token], NUM_IDS)


def begin(**more):
  history = jnp.pad(jnp.asarray(PROMPTS, jnp.int32), ((0, 0), (0, NEW)))
  lengths = jnp.asarray(LENGTHS, jnp.int32)
  last = history[jnp.arange(2), lengths - 1]
  cache = {"ids": jnp.zeros(history.shape, jnp.int32)}
  choosing = {"eos_id": END, "options": Options(), "keys": None} | more
  loop = stepping.begin(
    logits_of(last), cache, history, lengths, max_new_tokens=NEW, **choosing
  )
  return loop, choosing


def decode_step(token, place, cache):
  """Notes in the "cache" which token was given at which place."""
  rows = jnp.arange(len(token))
  ids = cache["ids"].at[rows, place].set(token)
  return logits_of(token), {"ids": ids}


def run(loop, until, choosing):
  return stepping.advance(decode_step, loop, until, **choosing)


def test_rows_end_by_themselves_and_wait_for_the_others():
  loop, choosing = begin()
  found = run(loop, NEW, choosing)
  # 1 3 | 4 5 6 end, and 1 3 4 5 | 6 end.
  np.testing.assert_array_equal(
    found.output.tokens, [[4, 5, 6, END, 0, 0], [6, END, 0, 0, 0, 0]]
  )
  np.testing.assert_array_equal(found.output.lengths, [4, 2])
  np.testing.assert_array_equal(found.done, [True, True])
  assert int(found.step) == 4  # no step more than the longest needs
  log_prob = 3.0 - np.log(np.exp(3.0) + NUM_IDS - 1)
  expected = log_prob * (np.arange(NEW) < found.output.lengths[:, None])
  np.testing.assert_allclose(found.output.log_probs, expected, rtol=1e-6)
  np.testing.assert_allclose(
    found.output.scores, expected.sum(axis=1), rtol=1e-6
  )


def test_each_token_is_computed_once_and_at_its_place():
  loop, choosing = begin()
  found = run(loop, NEW, choosing)
  # The first row's history and "cache" hold all but what has not gone in.
  np.testing.assert_array_equal(found.history[0, :6], [1, 3, 4, 5, 6, 0])
  np.testing.assert_array_equal(
    found.kv_cache["ids"][0, :6], [0, 0, 4, 5, 6, 0]
  )
  # The row that ended goes on with padding, behind its answer.
  np.testing.assert_array_equal(found.history[1, 4:6], [6, END])


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_few_steps_at_a_time_are_the_same_loop(every):
  loop, choosing = begin()
  whole = run(loop, NEW, choosing)
  for until in range(every, NEW + every, every):
    loop = run(loop, min(until, NEW), choosing)
    assert int(loop.step) == min(max(until, 1), 4)
  jax.tree.map(np.testing.assert_array_equal, loop.output, whole.output)


def test_nothing_is_added_to_what_is_full():
  loop, choosing = begin(eos_id=7)  # which nothing here says
  found = run(loop, NEW, choosing)
  assert int(found.step) == NEW
  np.testing.assert_array_equal(found.output.lengths, [NEW, NEW])
  assert not found.done.any()
  again = run(found, NEW, choosing)
  jax.tree.map(np.testing.assert_array_equal, again, found)

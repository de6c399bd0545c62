"""Beam search against trying everything."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.generation import beams
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.sampling import Options

VOCAB, EOS, NEW = 4, 1, 3
LENGTHS = [2, 1]


def score_of(tokens):
  """Log-probabilities of the next token; any function of the whole row."""
  rng = np.random.default_rng([7, *tokens])
  logits = rng.normal(size=VOCAB) * 2
  return logits - np.log(np.exp(logits).sum())


TABLE = {
  row: score_of(row)
  for length in range(1, 3 + NEW)
  for row in itertools.product(range(VOCAB), repeat=length)
}


def decode_step(token, place, kv_cache):
  """A model that knows its row from the cache alone."""
  slots = kv_cache[0]["key"]
  slots = slots.at[jnp.arange(len(token)), place, 0, 0].set(
    token.astype(jnp.float32)
  )

  def look_up(slots, place):
    rows = [tuple(map(int, r[: p + 1])) for r, p in zip(slots, place)]  # noqa: B905
    return np.array([TABLE[row] for row in rows], np.float32)

  logits = jax.pure_callback(
    look_up,
    jax.ShapeDtypeStruct((len(token), VOCAB), jnp.float32),
    slots[:, :, 0, 0],
    place,
  )
  return logits, [{"key": slots}]


def search(beam, prompts=((2, 3), (3,)), options=None, eos_id=EOS):
  history = np.zeros((2, 2 + NEW), np.int32)
  for row, prompt in zip(history, prompts, strict=True):
    row[: len(prompt)] = prompt
  slots = history[:, :, None, None].astype(np.float32)
  logits = np.array([TABLE[prompt] for prompt in prompts], np.float32)
  return jax.jit(
    lambda logits, slots, history, lengths: beams.search(
      decode_step,
      logits,
      [{"key": slots}],
      history,
      lengths,
      max_new_tokens=NEW,
      eos_id=jnp.int32(eos_id),
      options=options or Options(),
      beam=beam,
    )
  )(*map(jnp.asarray, (logits, slots, history, np.array(LENGTHS, np.int32))))


def all_answers(prompt, length_penalty):
  """Every answer with its score, best first."""
  answers = []
  for length in range(1, NEW + 1):
    for answer in itertools.product(range(VOCAB), repeat=length):
      ends = answer[-1] == EOS or length == NEW
      if not ends or EOS in answer[:-1]:
        continue
      log_prob = sum(
        TABLE[(*prompt, *answer[:i])][token] for i, token in enumerate(answer)
      )
      answers.append((log_prob / length**length_penalty, answer))
  return sorted(answers, reverse=True)


@pytest.mark.parametrize("length_penalty", [1.0, 0.0, 2.5])
def test_with_room_for_all_answers_the_best_are_found(length_penalty):
  beam = BeamOptions(
    VOCAB**NEW, length_penalty, early_stopping="never", num_results=3
  )
  tokens, lengths, log_probs, scores = map(np.asarray, search(beam))
  for i, prompt in enumerate(((2, 3), (3,))):
    wanted = all_answers(prompt, length_penalty)[:3]
    rows = range(3 * i, 3 * i + 3)
    found = [tuple(tokens[row, : lengths[row]].tolist()) for row in rows]
    assert found == [answer for _, answer in wanted]
    np.testing.assert_allclose(
      scores[3 * i : 3 * i + 3], [score for score, _ in wanted], rtol=1e-5
    )
    own = log_probs[3 * i : 3 * i + 3].sum(1)
    np.testing.assert_allclose(
      own / lengths[3 * i : 3 * i + 3] ** length_penalty,
      scores[3 * i : 3 * i + 3],
      rtol=1e-5,
    )


def test_never_waits_for_what_a_longer_answer_may_be_worth():
  prompts = ((1, 2), (0,))
  soon, late = (
    search(BeamOptions(2, 2.0, early_stopping=when), prompts=prompts)
    for when in (False, "never")
  )
  assert np.asarray(soon[1]).tolist() == [2, 2]
  assert np.asarray(late[1]).tolist() == [3, 3]
  assert (np.asarray(late[3]) > np.asarray(soon[3])).all()


def test_few_beams_follow_their_own_rows():
  # Without a token that ends, two beams are easy to follow by hand.
  tokens = np.asarray(search(BeamOptions(2), eos_id=-1)[0])
  for prompt, found in zip(((2, 3), (3,)), tokens.tolist(), strict=True):
    live = [(0.0, ())]
    for _ in range(NEW):
      live = sorted(
        (
          (score + TABLE[prompt + answer][token], (*answer, token))
          for score, answer in live
          for token in range(VOCAB)
        ),
        reverse=True,
      )[:2]
    assert tuple(found) == live[0][1]


def test_the_rules_hold_in_every_beam():
  options = Options(no_repeat_ngram_size=1)
  tokens = np.asarray(
    search(BeamOptions(4, num_results=2), options=options, eos_id=-1)[0]
  )
  # Four tokens, one of them in the prompt: the second row says the others, in
  # two orders. The first row has no such answer: two were in its prompt.
  assert [sorted(row) for row in tokens[2:].tolist()] == [[0, 1, 2]] * 2
  assert tokens[2].tolist() != tokens[3].tolist()


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    ({"num_beams": 1}, "num_beams is 2 or more; got 1"),
    ({"num_beams": 3, "num_results": 4}, "1 to num_beams, 3; got 4"),
    ({"num_beams": 3, "early_stopping": "soon"}, "got 'soon'"),
  ],
)
def test_options_out_of_range(wrong, message):
  with pytest.raises(ValueError, match=message):
    BeamOptions(**wrong)

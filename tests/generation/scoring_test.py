"""Scores are those of each row alone, whatever it shares with others."""

import jax
import numpy as np
import pytest

from kosmos2_jax.generation import decode, prompting, scoring
from kosmos2_jax.generation.engine import Engine
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.generation.samples import small_model, small_sizes

TOKENIZER = Tokenizer.small(num_bins=4)
SIZES = small_sizes(TOKENIZER)
SIZE, LATENTS = 16, SIZES["resampler"]["num_latents"]
PAD_ID = TOKENIZER.vocab.pad_id
PICTURES = np.random.default_rng(0).integers(
  0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8
)
PREPARED = [prompting.prepare_image(pixels, SIZE) for pixels in PICTURES]
CHOICES = ["a red circle", "blue", "two", "left of a green square"]
PICTURE_END = 1 + LATENTS + 2


@pytest.fixture(scope="module")
def model():
  return small_model(SIZES)


def row(prompt, continuation, *pictures):
  """A row and the length of its continuation, as `Engine.score` makes them."""
  start = prompting.make_row(
    prompt,
    list(pictures),
    TOKENIZER,
    num_latents=LATENTS,
    image_size=SIZE,
    prepare=lambda picture, size: picture,
  )
  more = TOKENIZER.encode(continuation)
  joined = start._replace(
    tokens=start.tokens + more,
    image_mask=start.image_mask + [False] * len(more),
  )
  return joined, len(more)


def score(model, rows, batch_size=8):
  return scoring.score(*model, rows, pad_id=PAD_ID, batch_size=batch_size)


def alone(model, rows):
  """Each row without a cache, in a batch of its own."""
  found = []
  for each, count in rows:
    stacked = prompting.stack_rows([each], PAD_ID)
    latents = decode.encode(*model, jax.device_put(stacked.images))
    stacked = stacked._replace(images=latents)
    log_probs, is_best = scoring._next_tokens(*model, *stacked)
    where = slice(len(each.tokens) - 1 - count, len(each.tokens) - 1)
    found.append(
      (np.array(log_probs[0, where]), bool(np.all(is_best[0, where])))
    )
  return found


def same(scores, wanted):
  assert len(scores) == len(wanted)
  for found, (log_probs, is_greedy) in zip(scores, wanted, strict=True):
    # Sums over padded rows may be taken in another order: float32 rounding.
    np.testing.assert_allclose(found.log_probs, log_probs, atol=1e-5)
    np.testing.assert_allclose(found.log_prob, sum(found.log_probs))
    assert found.num_tokens == len(log_probs)
    assert found.is_greedy == is_greedy


def about(prompts, choices, pictures):
  """All choices of every prompt, each with its picture."""
  return [
    row(prompt, choice, *picture)
    for prompt, picture in zip(prompts, pictures, strict=True)
    for choice in choices
  ]


# Two of the three questions are about one picture; lengths differ.
QUESTIONS = about(
  ["what is it and where is it", "it is", "how many"],
  CHOICES[:2],
  [PREPARED[:1], PREPARED[:1], PREPARED[1:2]],
)


@pytest.fixture
def shapes(monkeypatch):
  """Shapes of all that was encoded once."""
  seen = []
  run = scoring._after_shared

  def remember(model, params, shared, tokens):
    images = None if shared.images is None else shared.images.shape[:2]
    seen.append((images, shared.tokens.shape, tokens.shape))
    return run(model, params, shared, tokens)

  monkeypatch.setattr(scoring, "_after_shared", remember)
  return seen


@pytest.mark.slow
def test_choices_share_their_prompt_and_questions_their_picture(model, shapes):
  found = score(model, QUESTIONS)
  same(found, alone(model, QUESTIONS))
  assert len({each.log_probs for each in found}) == 6
  # Two pictures; three prompts and one to fill up; six choices and two.
  [(images, beginnings, rest)] = shapes
  assert images == (2, 1)
  assert (beginnings[0], rest[0]) == (4, 8)
  longest = max(len(each.tokens) - count for each, count in QUESTIONS)
  assert beginnings[1] == -(-(longest - 1) // 16) * 16


@pytest.mark.slow
def test_one_picture_is_encoded_once_for_many_questions(model, shapes):
  rows = about(
    ["it is", "how many", "where", "who"], ["a star"], [PREPARED[:1]] * 4
  )
  same(score(model, rows), alone(model, rows))
  [(images, beginnings, _)] = shapes
  assert images == (1, 1)
  # Cut behind the picture: there is one beginning, not four.
  assert beginnings[0] == 1
  assert scoring.best_cuts(rows) == [PICTURE_END] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
  "rows",
  [
    about(["a red", "two blue squares and"], CHOICES, [[], []]),
    about(["a", "<image>a<image>", "it"], CHOICES, [[], PREPARED[:2], []]),
    about(["it is<image>"], CHOICES, [PREPARED[:1]]),
    about(["", ""], CHOICES[:3], [PREPARED[:1], PREPARED[1:2]]),
    about([""], CHOICES, [[]]),
  ],
  ids=["text", "mixed", "picture last", "no words", "nothing"],
)
def test_a_score_is_that_of_its_row(model, rows):
  same(score(model, rows), alone(model, rows))


@pytest.mark.slow
def test_scores_do_not_depend_on_the_batch(model):
  together = score(model, QUESTIONS, 8)
  for size in (1, 2, 4):
    for each, other in zip(
      score(model, QUESTIONS, size), together, strict=True
    ):
      assert each.num_tokens == other.num_tokens
      assert each.is_greedy == other.is_greedy
      np.testing.assert_allclose(each.log_probs, other.log_probs, atol=1e-5)


def test_what_shares_nothing_is_not_cut():
  rows = [row("it is", "red"), row("how many", "two"), row("where", "left")]
  assert scoring.best_cuts(rows) == [0, 0, 0]
  assert scoring.best_cuts(rows[:1]) == [0]
  # Padding alone is no reason: 16 and 4 tokens are fewer than 32.
  several = [
    (prompting.Row([0, first, *range(9, 25)], [False] * 18, []), 2)
    for first in (5, 6, 7)
  ]
  assert scoring.best_cuts(several) == [0, 0, 0]
  # Nothing is before the continuation but <s>.
  assert scoring.best_cuts([row("", "red")] * 4) == [0] * 4


def test_a_prompt_is_cut_before_the_token_that_predicts():
  rows = about(["a blue square is"], CHOICES, [[]])
  [cut] = set(scoring.best_cuts(rows))
  each, count = rows[0]
  assert (
    cut
    == len(each.tokens) - count - 1
    == len(TOKENIZER.encode("a blue square is"))
  )
  shared, rest = scoring.share([each for each, _ in rows], [cut] * 4, PAD_ID)
  assert shared.tokens.shape == (1, 16)
  assert shared.rows.tolist() == [0] * 4
  assert shared.images is None
  assert shared.image_mask is None
  assert rest.tokens[0, : count + 1].tolist() == each.tokens[cut:]


def test_beginnings_that_fill_up_repeat_the_first():
  rows = [each for each, _ in QUESTIONS]
  cuts = scoring.best_cuts(QUESTIONS)
  shared, rest = scoring.share(rows, cuts, PAD_ID)
  assert shared.rows.tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
  assert shared.pictures.tolist() == [0, 0, 1, 0]
  assert shared.starts.tolist() == [*cuts, cuts[0], cuts[0]]
  np.testing.assert_array_equal(shared.images[:, 0], PREPARED[:2])
  np.testing.assert_array_equal(shared.tokens[3], shared.tokens[0])
  np.testing.assert_array_equal(shared.image_mask[3], shared.image_mask[0])
  assert shared.image_mask.sum(axis=1).tolist() == [LATENTS] * 4
  for i, each in enumerate(rows):
    beginning = shared.tokens[shared.rows[i], : cuts[i]].tolist()
    size = len(each.tokens) - cuts[i]
    assert [*beginning, *rest.tokens[i, :size].tolist()] == each.tokens


@pytest.mark.slow
def test_ids_are_scored_as_the_text_they_are_of(model):
  engine = Engine(*model, TOKENIZER)
  prompts, images = ["it is"] * 4, [PICTURES[0]] * 4
  by_text = engine.score(prompts, CHOICES, images)
  by_ids = engine.score(
    [TOKENIZER.encode(text) for text in prompts],
    [TOKENIZER.encode(text) for text in CHOICES],
    images,
  )
  assert by_text == by_ids
  # Ids that no text has: the second piece of a word alone.
  pieces = TOKENIZER.encode("xylophone")
  assert len(pieces) > 1
  [whole] = engine.score(["it is"], ["xylophone"])
  [rest] = engine.score([TOKENIZER.encode("it is") + pieces[:1]], [pieces[1:]])
  np.testing.assert_allclose(rest.log_probs, whole.log_probs[1:], atol=1e-5)
  with pytest.raises(ValueError, match=r"the continuation \[\] has no tokens"):
    engine.score(["it is"], [[]])

"""Replayed answers pass where they are equal and fail where they are not."""

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.convert import replay
from kosmos2_jax.convert.golden import GOLDEN
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.grounded import Box, Phrase
from tests.convert.samples import golden_of_tiny

PICTURE = Image.new("RGB", (20, 30), (10, 200, 30))


@pytest.fixture(scope="module")
def tiny():
  return golden_of_tiny(PICTURE)


def failed(checks):
  return {check.name: check.found for check in checks if not check.passed}


@pytest.mark.slow
def test_a_model_repeats_its_own_answer(tiny):
  predictor, golden = tiny
  checks = list(replay.replay(predictor, PICTURE, golden))
  assert [check.name for check in checks] == [
    f"tiny: {part}"
    for part in ("prompt ids", "answer ids", "text", "entities", "scores")
  ]
  assert not failed(checks)
  assert float(checks[-1].found.split()[2].rstrip(",")) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
  ("part", "words"),
  [
    ("prompt ids", "the first 7 equal, then found {}, expected {}"),
    ("answer ids", "the first 1 equal, then found"),
    ("text", "expected 'another'"),
    ("entities", "found none, expected a (0, 1) [(0.1, 0.2, 0.3, 0.4)]"),
    ("scores", "limit 1.0e-02"),
  ],
)
def test_what_differs_is_named(tiny, part, words):
  predictor, golden = tiny
  if part == "prompt ids":
    ids = list(golden.prompt_ids)
    ids[7] += 1
    golden = golden._replace(prompt_ids=tuple(ids))
    words = words.format(ids[7] - 1, ids[7])
  elif part == "answer ids":
    ids = list(golden.answer_ids)
    # Its scores are then those of other tokens, too.
    ids[1] = 5 if ids[1] != 5 else 6
    golden = golden._replace(answer_ids=tuple(ids))
  elif part == "text":
    golden = golden._replace(text="another")
  elif part == "entities":
    phrase = Phrase("a", (0, 1), (Box((0.1, 0.2, 0.3, 0.4)),))
    golden = golden._replace(phrases=(phrase,))
  else:
    rows = np.array(golden.scores)
    rows[2, 1] += 0.02
    golden = golden._replace(scores=tuple(map(tuple, rows.tolist())))
  found = failed(replay.replay(predictor, PICTURE, golden))
  assert words in found.pop(f"tiny: {part}")
  assert not set(found) - {"tiny: scores"}
  assert part == "answer ids" or not found


@pytest.mark.slow
def test_an_answer_that_goes_on_or_ends_early_fails(tiny):
  predictor, golden = tiny
  longer = golden._replace(answer_ids=(*golden.answer_ids, 9))
  shorter = golden._replace(answer_ids=golden.answer_ids[:-1])
  count = len(golden.answer_ids)
  for other, words in (
    (longer, f"the first {count} equal, then found the end, expected 9"),
    (shorter, f"{count - 1} equal, then found 2, expected the end"),
  ):
    found = failed(replay.replay(predictor, PICTURE, other))
    assert words in found["tiny: answer ids"]


@pytest.mark.slow
def test_half_precision_has_a_wider_limit(tiny):
  predictor, golden = tiny
  rows = np.array(golden.scores) + 0.02
  golden = golden._replace(scores=tuple(map(tuple, rows.tolist())))
  assert failed(replay.replay(predictor, PICTURE, golden))
  assert not failed(replay.replay(predictor, PICTURE, golden, 0.1))


class Scripted(Predictor):
  """Says what is published, with the released tokenizer and no weights."""

  def generate(self, prompts, images=None, **options):
    [self.golden] = [g for g in GOLDEN if [g.prompt] == list(prompts)]
    assert options["no_repeat_ngram_size"] == 3
    ids = self.golden.answer_ids[:-1]
    return [Generation("", ids, (0.0,) * len(ids), True)]

  def logits(self, tokens, images=None, image_mask=None):
    logits = np.zeros((*tokens.shape, 3), np.float32)
    [row] = tokens.tolist()
    assert row == [*self.golden.prompt_ids, *self.golden.answer_ids]
    assert image_mask.sum() == 64
    second = len(self.golden.prompt_ids) + 1
    for i, scores in enumerate(self.golden.scores):
      logits[0, second + i - 1] = scores  # where that token is predicted
    return logits


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_the_published_answers_pass(golden, real_tokenizer):
  sizes = presets.preset("tiny") | {"vocab_size": 65037, "num_bins": 32}
  sizes["resampler"]["num_latents"] = 64
  predictor = Scripted(presets.build(sizes), {}, real_tokenizer)
  checks = list(replay.replay(predictor, PICTURE, golden))
  assert len(checks) == 5
  assert not failed(checks)
  assert f"all {len(golden.phrases)} equal: a" in checks[3].found


def test_a_picture_goes_through_jpeg_once(tmp_path):
  rng = np.random.default_rng(0)
  picture = Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8))
  picture.save(tmp_path / "a.png")
  picture.save(tmp_path / "a.jpg")
  wanted = np.asarray(Image.open(tmp_path / "a.jpg"))
  assert (wanted != np.asarray(picture)).any()
  for name in ("a.png", "a.jpg"):
    found = replay.read_picture(str(tmp_path / name))
    np.testing.assert_array_equal(np.asarray(found), wanted)
  with pytest.raises(FileNotFoundError, match="there is no image file"):
    replay.read_picture(str(tmp_path / "b.png"))


def test_only_the_released_sizes_are_released():
  sizes = presets.preset("kosmos2")
  replay.check_released(sizes)
  sizes["decoder"]["dropout_rate"] = 0.0
  replay.check_released(sizes)
  sizes["vision"]["stem"] = "conv"
  with pytest.raises(ValueError, match="vision.stem is conv, not patch"):
    replay.check_released(sizes)
  sizes = presets.preset("kosmos2")
  sizes["decoder"]["depth"] = 23
  with pytest.raises(ValueError, match=r"decoder\.depth is 23, not 24"):
    replay.check_released(sizes)

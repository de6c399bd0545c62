"""The front door: batching, prompts, boxes, restoring, and plain errors."""

import contextlib
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.generation import decode, requests
from kosmos2_jax.generation.constraints import BoxGrammar
from kosmos2_jax.generation.prompting import prepare_image
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.models import presets, stacking
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import markup
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training.checkpoint import Checkpointer

TOKENIZER = Tokenizer.small(num_bins=4)
SIZES = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}
SIZE = SIZES["vision"]["image_size"]
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
NEW = 6


@pytest.fixture(scope="module")
def predictor():
  model = presets.build(SIZES)
  params = state_lib.init_params(model, jax.random.key(0))
  return Predictor(model, params, TOKENIZER)


def teach(monkeypatch, predictor, *answers):
  """Makes a predictor whose decoding gives these ids whatever is asked."""
  taught = Predictor(predictor.model, predictor.params, TOKENIZER)

  def decode(rows, max_new_tokens, eos_id, options, beam=None, seeds=()):
    del rows, max_new_tokens, eos_id, options, beam, seeds
    return [
      [requests.Answer(list(ids), [-0.5] * len(ids), -0.5 * len(ids))]
      for ids in answers
    ]

  monkeypatch.setattr(taught, "_generate", decode)
  return taught


@contextlib.contextmanager
def _no_compilation():
  """Fails if jax compiles anything inside."""
  compiled = []

  def listen(event, duration, **_):
    del duration
    if "backend_compile" in event:
      compiled.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield
  assert not compiled


def same(answers, others):
  assert [a.tokens for a in answers] == [b.tokens for b in others]
  assert [a.text for a in answers] == [b.text for b in others]
  assert [a.finished for a in answers] == [b.finished for b in others]
  for answer, other in zip(answers, others, strict=True):
    # Sums over padded rows may be taken in another order: float32 rounding.
    np.testing.assert_allclose(answer.log_probs, other.log_probs, atol=1e-5)


@pytest.mark.slow
def test_a_batch_answers_as_one_by_one(predictor):
  prompts = [
    "<grounding>An image of",
    "a",
    "two red circles above a blue square and a green star",
    "<grounding><phrase>the red circle</phrase>",
    "text alone",
  ]
  images = [PICTURES[0], [PICTURES[1], PICTURES[2]], PICTURES[3], [], None]
  together = predictor.generate(prompts, images, max_new_tokens=NEW)
  alone = [
    predictor.generate([prompt], [image], max_new_tokens=NEW)[0]
    for prompt, image in zip(prompts, images, strict=True)
  ]
  same(together, alone)
  assert all(answer.tokens for answer in together)
  # Not all alike, or the comparison would say nothing.
  assert len({answer.tokens for answer in together}) > 1


def test_answers_depend_on_the_pictures_and_their_order(predictor):
  first, second = PICTURES[0], PICTURES[1]
  answers = predictor.generate(
    ["An image of"] * 4,
    [[first, second], [second, first], [first], None],
    max_new_tokens=NEW,
  )
  assert len({answer.log_probs for answer in answers}) == 4


def test_rows_about_one_picture_share_it(predictor, monkeypatch):
  one, other = PICTURES[0], PICTURES[1]
  images = [one, other, one, other, one]
  prompts = ["a red", "the", "two", "a blue square and a green", "above"]
  alone = [
    predictor.generate([prompt], [image], max_new_tokens=NEW)[0]
    for prompt, image in zip(prompts, images, strict=True)
  ]
  seen = []
  encode = decode.encode
  monkeypatch.setattr(
    decode,
    "encode",
    lambda model, params, images: (
      seen.append(None if images is None else (images.shape[:2], images.ndim)),
      encode(model, params, images),
    )[1],
  )
  jax.clear_caches()
  together = predictor.generate(prompts, images, max_new_tokens=NEW)
  same(together, alone)
  # Once for the pixels of the two pictures; then there are their latents, and
  # nothing for what follows them.
  assert seen == [((2, 1), 5), ((2, 1), 4), None]
  assert len({answer.log_probs for answer in together}) == 5


def test_beams_give_alternatives(predictor):
  prompts, images = ["a red", "the"], [PICTURES[0], None]
  [first, second] = predictor.generate(
    prompts, images, max_new_tokens=NEW, num_beams=3, num_results=3
  )
  for answer in (first, second):
    assert len(answer.alternatives) == 2
    scores = [answer.score, *(other.score for other in answer.alternatives)]
    assert scores == sorted(scores, reverse=True)
    texts = {answer.tokens, *(other.tokens for other in answer.alternatives)}
    assert len(texts) == 3
    # No end was reached, so every answer has the same length.
    assert not answer.finished
    assert answer.score == pytest.approx(sum(answer.log_probs) / NEW, rel=1e-5)
  [alone] = predictor.generate(
    prompts[1:], max_new_tokens=NEW, num_beams=3, num_results=3
  )
  same([second], [alone])
  same(second.alternatives, alone.alternatives)
  [greedy] = predictor.generate(prompts[1:], max_new_tokens=NEW)
  assert alone.score >= greedy.score / NEW - 1e-6
  with pytest.raises(ValueError, match="1 to num_beams, 1|2 or more; got 1"):
    predictor.generate(["a"], num_results=2)
  with pytest.raises(ValueError, match="draws no tokens"):
    predictor.generate(["a"], num_beams=2, temperature=1.0)


@pytest.mark.slow
def test_more_prompts_than_the_batch_size_are_cut_up(predictor):
  small = Predictor(predictor.model, predictor.params, TOKENIZER, batch_size=2)
  prompts = ["a red", "a", "blue", "two", "above"]
  images = [*PICTURES, PICTURES[0]]
  same(
    small.generate(prompts, images, max_new_tokens=NEW),
    predictor.generate(prompts, images, max_new_tokens=NEW),
  )


def test_prompts_without_any_picture(predictor):
  answers = predictor.generate(["a red", "the"], max_new_tokens=NEW)
  assert len(answers) == 2
  assert predictor.generate([]) == []


def test_results_are_plain_python(predictor):
  [answer] = predictor.generate(["a"], [PICTURES[0]], max_new_tokens=NEW)
  assert {type(token) for token in answer.tokens} == {int}
  assert {type(value) for value in answer.log_probs} == {float}
  assert type(answer.text) is str
  assert type(answer.finished) is bool
  assert all(value <= 0 for value in answer.log_probs)


def test_log_probs_are_those_of_the_whole_model(predictor):
  [answer] = predictor.generate(
    ["<grounding>a"], [PICTURES[0]], max_new_tokens=NEW
  )
  latents = SIZES["resampler"]["num_latents"]
  prefix, mask = TOKENIZER.image_prefix(latents)
  ids = [*prefix, *TOKENIZER.encode("<grounding>a")]
  row = [*ids, *answer.tokens]
  mask += [False] * (len(row) - len(mask))
  logits = predictor.model.apply(
    {"params": predictor.params},
    jnp.array([row]),
    jnp.array(prepare_image(PICTURES[0], SIZE))[None, None],
    jnp.array([mask]),
  )
  log_probs = jax.nn.log_softmax(logits[0, len(ids) - 1 : -1])
  expected = [log_probs[i, token] for i, token in enumerate(answer.tokens)]
  assert list(answer.tokens) == log_probs.argmax(-1).tolist()
  np.testing.assert_allclose(answer.log_probs, expected, atol=1e-4)


def test_generation_ends_at_the_end_mark(predictor, monkeypatch):
  words = TOKENIZER.encode("a red circle")
  end = TOKENIZER.vocab.eos_id
  taught = teach(monkeypatch, predictor, [*words, end], words)
  finished, cut = taught.generate(["a", "b"])
  assert finished.tokens == cut.tokens == tuple(words)
  assert (finished.finished, cut.finished) == (True, False)
  assert len(finished.log_probs) == len(words)
  assert finished.text == "a red circle"


def test_ground_joins_prompt_and_answer(predictor, monkeypatch):
  caption = "a red circle left of a square"
  box = markup.Box((0.0, 0.0, 0.6, 0.6))
  phrase = markup.Phrase("a red circle", (0, 12), (box,))
  ids = markup.build(caption, [phrase], TOKENIZER, grounding=False)
  taught = teach(monkeypatch, predictor, [*ids, TOKENIZER.vocab.eos_id])
  text = taught.ground(PICTURES[0])
  assert text.text == f"An image of {caption}"
  [found] = text.phrases
  assert (found.text, found.span) == ("a red circle", (12, 24))
  assert text.text[slice(*found.span)] == found.text
  assert found.boxes[0].xyxy == (0.125, 0.125, 0.625, 0.625)


def test_locate_gives_best_first_and_the_batch_as_written(
  predictor, monkeypatch
):
  vocab = TOKENIZER.vocab
  ids = [*map(vocab.location_id, (0, 5))]
  ids += [vocab.delimiter_id, *map(vocab.location_id, (10, 15))]
  ids += [vocab.object_end_id]
  taught = Predictor(predictor.model, predictor.params, TOKENIZER)
  asked, sizes = [], []

  log_probs = [-2.0, -3.0, 0.0, -0.5, -0.25, 0.0]

  def answer(rows, max_new_tokens, eos_id, options):
    del max_new_tokens
    rows = list(rows)
    asked.extend(rows)
    sizes.append(options.no_repeat_ngram_size)
    assert eos_id == vocab.object_end_id
    if options.boxes is not None:
      return [[requests.Answer(ids, log_probs, 0.0)] for _ in rows]
    free = requests.Answer([vocab.object_id, *ids], [-1.0, *log_probs], 0.0)
    return [[free] for _ in rows]

  monkeypatch.setattr(taught, "_generate", answer)
  [written] = taught.locate_batch([PICTURES[0]], ["the red circle"])
  assert [box.score for box in written] == [np.exp(-5.0), np.exp(-0.75)]
  assert taught.locate(PICTURES[0], "the red circle") == written[::-1]
  [free] = taught.locate_batch(
    [PICTURES[0]], ["the red circle"], constrained=False
  )
  assert free == written
  question = [
    vocab.grounding_id,
    vocab.phrase_id,
    *TOKENIZER.encode("the red circle"),
    vocab.phrase_end_id,
  ]
  assert asked[0].tokens[-len(question) - 1 :] == [*question, vocab.object_id]
  assert asked[2].tokens[-len(question) :] == question
  # A prompt that is one already.
  prompt = "<grounding>a circle and <phrase>a square</phrase>"
  [again] = taught.locate_batch(
    [PICTURES[0]], [prompt], as_prompts=True, no_repeat_ngram_size=3
  )
  assert again == written
  ids = TOKENIZER.encode(f"{prompt}<object>")
  assert asked[3].tokens[-len(ids) :] == ids
  assert sizes == [0, 0, 0, 3]


def test_locate_without_a_readable_answer_is_empty(predictor, monkeypatch):
  vocab = TOKENIZER.vocab
  taught = teach(monkeypatch, predictor, [vocab.object_id, vocab.eos_id])
  assert taught.locate(PICTURES[0], "it", constrained=False) == []


@pytest.mark.slow
def test_locate_gives_well_formed_boxes_whatever_the_weights(predictor):
  expressions = ["it", "a red", "the two", "blue circle", "x"]
  found = predictor.locate_batch(
    [*PICTURES, PICTURES[0]], expressions, max_new_tokens=300
  )
  assert any(found)
  for box in (box for boxes in found for box in boxes):
    x1, y1, x2, y2 = box.xyxy
    assert 0 <= x1 < x2 <= 1
    assert 0 <= y1 < y2 <= 1
    assert 0 < box.score < 1
  free = predictor.locate_batch(
    list(PICTURES), ["it"] * 4, constrained=False, max_new_tokens=NEW
  )
  assert len(free) == 4


@pytest.mark.slow
def test_the_score_of_a_box_is_the_probability_of_its_tokens(predictor):
  boxes = predictor.locate(PICTURES[0], "it")
  if not boxes:
    boxes = predictor.locate_batch([PICTURES[0]], ["it"], max_new_tokens=3)[0]
  vocab = TOKENIZER.vocab
  prompt = "<grounding><phrase>it</phrase><object>"
  encoded = predictor.encode(prompt, PICTURES[0])
  logits = predictor.logits(**_named(encoded))
  first = jax.nn.softmax(logits[0, -1])
  # The most probable of the locations, though others may be more probable.
  start = vocab.first_location_id
  best = start + int(np.argmax(first[start:]))
  tokens = np.append(encoded["tokens"], [[best]], axis=1)
  mask = np.append(encoded["image_mask"], [[False]], axis=1)
  second = jax.nn.softmax(
    predictor.logits(tokens, encoded["images"], mask)[0, -1]
  )
  row, column = divmod(vocab.bin_of(best), vocab.num_bins)
  places = [
    vocab.location_id(r * vocab.num_bins + c)
    for r in range(row, vocab.num_bins)
    for c in range(column, vocab.num_bins)
  ]
  lower_right = max(places, key=lambda token: second[token])
  expected = float(first[best] * second[lower_right])
  options = Options(boxes=BoxGrammar(vocab))
  [[answer]] = predictor._generate(
    predictor._rows([prompt], [PICTURES[0]], 2), 2, vocab.eos_id, options
  )
  assert answer.tokens == [best, lower_right]
  np.testing.assert_allclose(np.exp(sum(answer.log_probs)), expected, rtol=1e-4)


def _named(encoded):
  return {
    "tokens": encoded["tokens"],
    "images": encoded.get("images"),
    "image_mask": encoded["image_mask"],
  }


@pytest.mark.slow
def test_score_is_the_sum_of_the_models_log_probs(predictor):
  prompts = ["a red", "<grounding>An image of", "text alone"]
  continuations = ["circle", "two blue squares and a star", "x"]
  images = [PICTURES[0], [PICTURES[1], PICTURES[2]], None]
  together = predictor.score(prompts, continuations, images)
  for prompt, text, picture, found in zip(
    prompts, continuations, images, together, strict=True
  ):
    encoded = predictor.encode(prompt, picture)
    count = len(TOKENIZER.encode(text))
    tokens = np.append(encoded["tokens"], [TOKENIZER.encode(text)], axis=1)
    mask = np.pad(encoded["image_mask"], ((0, 0), (0, count)))
    logits = predictor.logits(tokens, encoded.get("images"), mask)
    log_probs = np.array(jax.nn.log_softmax(logits[0, -count - 1 : -1]))
    wanted = sum(log_probs[i, t] for i, t in enumerate(tokens[0, -count:]))
    np.testing.assert_allclose(found.log_prob, wanted, rtol=1e-5)
    assert found.num_tokens == count
    best = log_probs.argmax(-1).tolist() == tokens[0, -count:].tolist()
    assert found.is_greedy == best
  with pytest.raises(ValueError, match="has no tokens"):
    predictor.score(["a"], [""])
  with pytest.raises(ValueError, match="1 prompts and 2 continuations"):
    predictor.score(["a"], ["b", "c"])


def test_what_the_model_says_itself_scores_as_greedy(predictor):
  [answer] = predictor.generate(["a red"], [PICTURES[0]], max_new_tokens=NEW)
  text = TOKENIZER.decode(answer.tokens)
  if tuple(TOKENIZER.encode(text)) == answer.tokens:
    [score] = predictor.score(["a red"], [text], [PICTURES[0]])
    assert score.is_greedy


def test_boxes_go_into_prompts(predictor):
  vocab = TOKENIZER.vocab
  text = "<phrase>a</phrase> and<phrase>two</phrase> or<phrase>b</phrase>"
  boxes = [None, [(0, 0, 0.3, 0.3), (0.5, 0.5, 1, 1)], (0, 0, 1, 1)]
  tokens = predictor.encode(text, boxes=boxes)["tokens"][0].tolist()
  found = markup.parse(tokens, TOKENIZER)
  assert [len(phrase.boxes) for phrase in found.phrases] == [2, 1]
  assert found.phrases[1].boxes[0].xyxy == (0.125, 0.125, 0.875, 0.875)
  assert tokens.count(vocab.object_id) == 2
  for wrong, message in (
    ([None], "3 phrases and there are 1 entries"),
    ([(1, 0, 0, 1), None, None], "x1 <= x2"),
  ):
    with pytest.raises(ValueError, match=message):
      predictor.encode(text, boxes=wrong)
  with pytest.raises(ValueError, match="boxes in the text already"):
    predictor.encode("<phrase>a</phrase><object>", boxes=[(0, 0, 1, 1)])


def test_describe_and_answer_give_words(predictor, monkeypatch):
  words = TOKENIZER.encode("a red circle")
  taught = teach(monkeypatch, predictor, [*words, TOKENIZER.vocab.eos_id])
  assert taught.describe(PICTURES[0], (0.1, 0.1, 0.5, 0.5)) == "a red circle"
  assert taught.answer(PICTURES[0], "What is it?") == "a red circle"
  assert taught.answer(None, "What is it?") == "a red circle"
  with pytest.raises(ValueError, match="x1 <= x2"):
    taught.describe(PICTURES[0], (0.5, 0.1, 0.1, 0.5))


def test_solved_examples_come_first(predictor, monkeypatch):
  """With their pictures; a further example by the model itself is cut off."""
  vocab = TOKENIZER.vocab
  words = TOKENIZER.encode("a red circle")
  taught = teach(
    monkeypatch,
    predictor,
    [*words, vocab.image_id, *TOKENIZER.encode("two"), vocab.eos_id],
  )
  rows = []
  decode = taught._generate

  def remember(given, *rest, **named):
    rows.extend(given)
    return decode(rows, *rest, **named)

  monkeypatch.setattr(taught, "_generate", remember)
  examples = [
    (PICTURES[1], "a blue star", (0.0, 0.0, 0.5, 0.5)),
    (PICTURES[2], "a cross", (0.5, 0.5, 1.0, 1.0)),
  ]
  box = (0.0, 0.0, 1.0, 1.0)
  said = taught.describe(PICTURES[0], box, examples=examples)
  assert said == "a red circle"
  assert taught.locate(PICTURES[0], "a dog", examples=examples) == []
  pictures = [prepare_image(PICTURES[i], SIZE) for i in (1, 2, 0)]
  for row in rows:
    assert len(row.images) == 3
    for found, wanted in zip(row.images, pictures, strict=True):
      np.testing.assert_array_equal(found, wanted)
    # Each `<image>` of a text is followed by the slots of one picture.
    assert row.tokens.count(vocab.image_end_id) == 3
    assert row.tokens.count(vocab.grounding_id) == 3
  asked = TOKENIZER.decode(rows[1].tokens).rsplit("</image>", 1)[1]
  assert asked == "<grounding><phrase> a dog</phrase><object>"


def test_chat_reads_boxes_and_counts_tokens(predictor, monkeypatch):
  vocab = TOKENIZER.vocab
  answer = TOKENIZER.encode(
    "<phrase>a cat</phrase><object><patch_index_0000><patch_index_0005>"
    "</object> sits"
  )
  taught = teach(monkeypatch, predictor, [*answer, vocab.eos_id])
  messages = [{"role": "user", "content": [PICTURES[0], "What is it?"]}]
  found = taught.chat(messages)
  assert found.text == "a cat sits"
  [phrase] = found.phrases
  assert phrase.text == "a cat"
  assert phrase.boxes[0].xyxy == pytest.approx((0, 0, 0.5, 0.5), abs=0.13)
  # The answer goes on as it is.
  messages += [
    {"role": "assistant", "content": found},
    {"role": "user", "content": "Why?"},
  ]
  prompt = taught.chat_prompt(messages)
  assert vocab.object_id in prompt.tokens
  used = 1 + len(prompt.tokens) + predictor.model.resampler.num_latents + 1
  short = Predictor(
    predictor.model, predictor.params, TOKENIZER, max_length=used + 3
  )
  short.chat(messages, max_new_tokens=3)
  with pytest.raises(ValueError, match=f"has {used} tokens.*{used + 3} of"):
    short.chat(messages, max_new_tokens=4)


def test_one_question_is_answered_alike_by_chat(predictor):
  asked = "What is it?"
  messages = [{"role": "user", "content": [PICTURES[0], asked]}]
  said = predictor.chat(messages, grounded=False, max_new_tokens=NEW)
  assert said.text == predictor.answer(PICTURES[0], asked, max_new_tokens=NEW)


def test_boxes_of_prompts_are_rounded_as_asked(predictor, monkeypatch):
  vocab, box = TOKENIZER.vocab, (0.0, 0.0, 0.5, 0.5)
  asked = []
  taught = teach(monkeypatch, predictor, [vocab.eos_id])
  decode = taught._generate

  def remember(rows, *rest, **named):
    asked.extend(row.tokens for row in rows)
    return decode(rows, *rest, **named)

  monkeypatch.setattr(taught, "_generate", remember)
  for options, cell in (
    ({}, 10),
    ({"rounding": "floor"}, 10),
    ({"rounding": "ceil"}, 5),
  ):
    taught.describe(PICTURES[0], box, **options)
    encoded = taught.encode("<phrase>a</phrase>", boxes=[box], **options)
    for tokens in (asked[-1], encoded["tokens"][0].tolist()):
      start = tokens.index(vocab.object_id)
      assert tokens[start + 1 : start + 3] == [
        vocab.location_id(0),
        vocab.location_id(cell),
      ]
  with pytest.raises(ValueError, match="got 'up'"):
    taught.describe(PICTURES[0], box, rounding="up")
  with pytest.raises(ValueError, match="got 'up'"):
    taught.encode("<phrase>a</phrase>", boxes=[box], rounding="up")


@pytest.mark.slow
def test_drawing_depends_on_prompt_and_seed_alone(predictor):
  prompts = ["a red", "blue", "two", "a red"]
  options = {"temperature": 1.0, "max_new_tokens": NEW}
  images = [*PICTURES[:3], PICTURES[0]]
  together = predictor.generate(prompts, images, seed=[5, 6, 7, 5], **options)
  assert together[0] == together[3]
  for i, seed in enumerate((5, 6, 7)):
    [alone] = predictor.generate(
      [prompts[i]], [images[i]], seed=seed, **options
    )
    assert alone.tokens == together[i].tokens
  [other] = predictor.generate(["a red"], [PICTURES[0]], seed=6, **options)
  assert other.tokens != together[0].tokens
  with pytest.raises(ValueError, match="4 prompts and 1 seeds"):
    predictor.generate(prompts, images, seed=[1], **options)


@pytest.mark.slow
def test_no_ngram_is_said_twice(predictor):
  [free] = predictor.generate(["a red"], [PICTURES[0]], max_new_tokens=40)
  [ruled] = predictor.generate(
    ["a red"], [PICTURES[0]], max_new_tokens=40, no_repeat_ngram_size=2
  )

  def pairs(answer):
    return list(zip(answer.tokens, answer.tokens[1:], strict=False))

  assert len(set(pairs(ruled))) == len(pairs(ruled))
  # The untrained model repeats itself, so the rule did something.
  assert len(set(pairs(free))) < len(pairs(free))


@pytest.mark.slow
def test_a_second_call_of_the_same_shape_compiles_nothing(predictor):
  ask = [
    lambda: predictor.locate_batch(list(PICTURES), ["it"] * 4),
    lambda: predictor.generate(["a"], [PICTURES[0]], max_new_tokens=NEW),
    lambda: predictor.score(["a"], ["b"], [PICTURES[0]]),
  ]
  for call in ask:
    call()
  with _no_compilation():
    for call in ask:
      call()


@pytest.mark.parametrize(
  ("prompts", "images", "message"),
  [
    (["a", "b"], [PICTURES[0]], "2 prompts but 1 entries of images"),
    (["a" * 4000], None, "more than the 2048 of the context"),
    (["a<image>"], None, "1 places for pictures and got 0 pictures"),
    (["a"], [np.zeros((4, 4))], "uint8"),
  ],
)
def test_mistakes_are_sentences(predictor, prompts, images, message):
  with pytest.raises(ValueError, match=message):
    predictor.generate(prompts, images)


def test_the_answer_counts_for_the_context_too(predictor):
  short = Predictor(predictor.model, predictor.params, TOKENIZER, max_length=12)
  used = 1 + len(TOKENIZER.encode("a red"))
  short.generate(["a red"], max_new_tokens=12 - used)
  with pytest.raises(ValueError, match=f"prompt has {used} tokens"):
    short.generate(["a red"], max_new_tokens=13 - used)


def test_a_tokenizer_of_another_size_is_refused(predictor):
  with pytest.raises(ValueError, match="trained with"):
    Predictor(predictor.model, predictor.params, Tokenizer.small(num_bins=8))


@pytest.fixture(scope="module")
def workdir(predictor, tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  (folder / "model.json").write_text(
    json.dumps({"sizes": SIZES, "dtype": "float32"})
  )
  (folder / "sentencepiece.bpe.model").write_bytes(TOKENIZER.model_bytes)
  state = state_lib.TrainState(
    step=jnp.int32(7),
    params=predictor.params,
    opt_state={"count": jnp.zeros(1)},
  )
  with Checkpointer(folder) as checkpointer:
    checkpointer.save(state, 7, None)
  return folder


def test_from_pretrained_gives_the_same_predictor(predictor, workdir):
  restored = Predictor.from_pretrained(workdir)
  assert restored.step == 7
  # On a CPU every layer has its own arrays.
  jax.tree.map(
    np.testing.assert_array_equal,
    restored.params,
    stacking.separate(jax.tree.map(np.asarray, predictor.params)),
  )
  prompt, image = "<grounding>An image of", PICTURES[0]
  [one], [other] = (
    each.generate([prompt], [image], max_new_tokens=NEW)
    for each in (restored, predictor)
  )
  assert one.tokens == other.tokens
  np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-5)


def test_from_pretrained_takes_averages_or_leaves_them(
  predictor, workdir, tmp_path
):
  for name in ("model.json", "sentencepiece.bpe.model"):
    (tmp_path / name).write_bytes((workdir / name).read_bytes())
  resampler = predictor.params["resampler"]
  state = state_lib.TrainState(
    step=jnp.int32(7),
    params=predictor.params,
    opt_state={"count": jnp.zeros(1)},
    ema_params={"resampler": jax.tree.map(jnp.zeros_like, resampler)},
  )
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(state, 7, None)
  mean, raw = (
    Predictor.from_pretrained(tmp_path, use_ema=use_ema).params
    for use_ema in (True, False)
  )
  np.testing.assert_array_equal(
    raw["resampler"]["latents"], resampler["latents"]
  )
  np.testing.assert_array_equal(mean["resampler"]["latents"], 0.0)


def test_from_pretrained_says_what_is_missing(tmp_path, workdir):
  with pytest.raises(FileNotFoundError, match="there is no 'nowhere'; give"):
    Predictor.from_pretrained("nowhere")
  with pytest.raises(FileNotFoundError, match=r"not a workdir.*model.json"):
    Predictor.from_pretrained(tmp_path)
  for name in ("model.json", "sentencepiece.bpe.model"):
    (tmp_path / name).write_bytes((workdir / name).read_bytes())
  with pytest.raises(FileNotFoundError, match="no 'checkpoints'"):
    Predictor.from_pretrained(tmp_path)
  (tmp_path / "checkpoints").mkdir()
  with pytest.raises(FileNotFoundError, match="no checkpoint of any step"):
    Predictor.from_pretrained(tmp_path)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda model: model["sizes"]["decoder"].update(mlp_dim=48), "mlp"),
    (lambda model: model["sizes"].update(num_bins=8), "bins a side"),
    (lambda model: model["sizes"].pop("vision"), "model sizes need exactly"),
    (lambda model: model.pop("dtype"), "should say 'sizes' and 'dtype'"),
  ],
)
def test_a_checkpoint_of_another_size_is_refused(
  tmp_path, workdir, change, message
):
  model = json.loads((workdir / "model.json").read_text())
  change(model)
  (tmp_path / "model.json").write_text(json.dumps(model))
  for name in ("sentencepiece.bpe.model", "checkpoints"):
    (tmp_path / name).symlink_to(workdir / name)
  with pytest.raises(ValueError, match=message):
    Predictor.from_pretrained(tmp_path)


@pytest.mark.slow
def test_using_a_checkpoint_loads_neither_tensorflow_nor_torch(
  workdir, tmp_path
):
  picture = tmp_path / "picture.png"
  Image.fromarray(PICTURES[0]).save(picture)
  script = f"""
import sys
from kosmos2_jax import Predictor, evals
predictor = Predictor.from_pretrained({str(workdir)!r})
predictor.locate({str(picture)!r}, "the red circle")
predictor.generate(["a"], [{str(picture)!r}], max_new_tokens=2)
try:
  predictor.locate(3, "it")
except TypeError as error:  # Here, where no test hook checks types first.
  assert "PIL image, a uint8 array or a path; got int" in str(error)
heavy = {{"tensorflow", "torch", "ml_collections"}} & set(sys.modules)
assert not heavy, heavy
"""
  subprocess.run([sys.executable, "-c", script], check=True, timeout=300)

"""The front door: batching, prompts, boxes, restoring, and plain errors."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.generation.prompting import prepare_image
from kosmos2_jax.models import presets
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

  def decode(rows, max_new_tokens, eos_id):
    del rows, max_new_tokens, eos_id
    return [(list(ids), [-0.5] * len(ids)) for ids in answers]

  monkeypatch.setattr(taught, "_decode", decode)
  return taught


def same(answers, others):
  assert [a.tokens for a in answers] == [b.tokens for b in others]
  assert [a.text for a in answers] == [b.text for b in others]
  assert [a.finished for a in answers] == [b.finished for b in others]
  for answer, other in zip(answers, others, strict=True):
    # Sums over padded rows may be taken in another order: float32 rounding.
    np.testing.assert_allclose(answer.log_probs, other.log_probs, atol=1e-5)


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
  ids = [vocab.object_id, *map(vocab.location_id, (0, 5))]
  ids += [vocab.delimiter_id, *map(vocab.location_id, (10, 15))]
  ids += [vocab.object_end_id]
  taught = Predictor(predictor.model, predictor.params, TOKENIZER)
  asked = []

  def decode(rows, max_new_tokens, eos_id):
    asked.extend(rows)
    assert eos_id == vocab.object_end_id
    return [(ids, [-1.0, -2.0, -3.0, 0.0, -0.5, -0.25, 0.0]) for _ in rows]

  monkeypatch.setattr(taught, "_decode", decode)
  [written] = taught.locate_batch([PICTURES[0]], ["the red circle"])
  assert [box.score for box in written] == [np.exp(-5.0), np.exp(-0.75)]
  assert taught.locate(PICTURES[0], "the red circle") == written[::-1]
  text = asked[0].tokens[-len(TOKENIZER.encode("the red circle")) - 3 :]
  assert text == [
    vocab.grounding_id,
    vocab.phrase_id,
    *TOKENIZER.encode("the red circle"),
    vocab.phrase_end_id,
  ]


def test_locate_without_a_readable_answer_is_empty(predictor, monkeypatch):
  vocab = TOKENIZER.vocab
  taught = teach(monkeypatch, predictor, [vocab.object_id, vocab.eos_id])
  assert taught.locate(PICTURES[0], "it") == []


def test_locate_with_a_real_model_gives_boxes_or_nothing(predictor):
  for boxes in predictor.locate_batch(
    [*PICTURES, PICTURES[0]], ["it"] * 5, max_new_tokens=NEW
  ):
    assert all(0 < box.score <= 1 for box in boxes)


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
  jax.tree.map(np.testing.assert_array_equal, restored.params, predictor.params)
  prompt, image = "<grounding>An image of", PICTURES[0]
  assert restored.generate(
    [prompt], [image], max_new_tokens=NEW
  ) == predictor.generate([prompt], [image], max_new_tokens=NEW)


def test_from_pretrained_says_what_is_missing(tmp_path, workdir):
  with pytest.raises(FileNotFoundError, match="there is no folder 'nowhere'"):
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

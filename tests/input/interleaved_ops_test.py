"""Documents of words and pictures."""

import collections

import pytest

from kosmos2_jax.input import recipes, text_ops
from tests.input import golden

NAMES = [b"A", b"B", b"C", b"D", b"E", b"F", b"G"]


@pytest.fixture
def context(small_tokenizer):
  return text_ops.Context(small_tokenizer, 16, "crop", 300, 2)


def example_of(*parts):
  """Strings are words, numbers pictures."""
  return {
    "images": NAMES,
    "parts": [
      {"text": "", "image": part}
      if isinstance(part, int)
      else {"text": part, "image": -1}
      for part in parts
    ],
  }


def shown(example, context, key=0, **options):
  """Words as they are, pictures in brackets, `.` at the end of all."""
  recipe = recipes.interleaved(**options)
  result = golden.run(recipe, example, context, key)
  document, vocab = result["document"], context.tokenizer.vocab
  assert len(document.ids) <= context.max_ids
  pictures, text, run = iter(document.pictures), "", []
  for token_id, counts in zip(document.ids, document.predicted, strict=True):
    is_word = token_id not in (vocab.bos_id, vocab.image_id, vocab.image_end_id)
    assert counts == is_word
    if is_word and token_id != vocab.eos_id:
      run.append(token_id)
      continue
    text += context.tokenizer.decode(run)
    run = []
    if token_id == vocab.image_end_id:
      text += f"({next(pictures).decode()})"
    text += "|" if token_id == vocab.eos_id else ""
  assert next(pictures, None) is None
  return text + context.tokenizer.decode(run), result["reasons"]


def test_sentences_near_the_first_and_the_last_picture(context):
  middle = "No. Yes. No. Yes."
  parts = ("One. Two. Three.", "Four.", 0, middle, 1, "Up. Up? Up! Up. Up.")
  found, reasons = shown(example_of(*parts), context)
  assert found == f"Two. Three. Four.(A){middle}(B)Up. Up? Up!|"
  assert reasons == ["sentence_left_out"]
  parts = ("One. Two. Three.", 0, 1, "红。的。猫。")
  found, reasons = shown(example_of(*parts), context)
  assert (found, reasons) == ("One. Two. Three.(A)(B)红。的。猫。|", [])


def test_a_part_of_words_is_a_line(context):
  parts = ("a title", "a b", "c d", "e f", 0, 1)
  assert shown(example_of(*parts), context)[0] == "a b c d e f(A)(B)|"


def test_at_most_five_pictures(context):
  parts = [0, "So.", 1, 2, 3, 4, "One. Two.", " ", "Three. Four.", 5, "No.", 6]
  found, reasons = shown(example_of(*parts), context)
  assert found == "(A)So.(B)(C)(D)(E)One. Two. Three.|"
  assert reasons == ["picture_left_out"] * 2 + ["sentence_left_out"]
  found, reasons = shown(example_of(*parts), context, max_pictures=1)
  assert (found, reasons) == ("(A)So.|", ["picture_left_out"] * 6)


def test_half_of_the_only_pictures_are_kept(context):
  example = example_of("One. Two. Three. Four.", 0, "Five.")
  found = collections.Counter()
  for key in range(400):
    text, reasons = shown(example, context, key)
    found[text, *reasons] += 1
  kept = found["Two. Three. Four.(A)Five.|", "sentence_left_out"]
  assert found["One. Two. Three. Four. Five.|", "single_picture"] == 400 - kept
  # 200 expected, standard deviation 10.
  assert 160 < kept < 240
  for probability, expected in (
    (0.0, "One. Two. Three. Four. Five.|"),
    (1.0, "Two. Three. Four.(A)Five.|"),
  ):
    options = {"keep_single_image_probability": probability}
    assert shown(example, context, **options)[0] == expected


def test_an_only_picture_without_words(context):
  options = {"keep_single_image_probability": 0.0}
  found = shown(example_of(0), context, **options)
  assert found == ("|", ["single_picture", "no_text"])


def test_words_alone(context):
  text = "One. Two. Three. Four. Five."
  assert shown(example_of(text), context) == (text + "|", [])


@pytest.mark.parametrize(("parts", "text"), [((), "|"), ((0, 1), "(A)(B)|")])
def test_without_words_there_is_an_end(parts, text, context):
  assert shown(example_of(*parts), context) == (text, ["no_text"])


def test_tags_are_text(context):
  text, _ = shown(example_of("<image> a", 0, 1, "</s>"), context)
  assert text == "<image> a(A)(B)</s>|"


def test_what_is_too_long_is_cut(context):
  example = example_of("a dog", 0, "red circle", 1, "the cat")
  whole, _ = shown(example, context)
  result = golden.run(recipes.interleaved(), example, context)
  length = len(result["document"].ids)
  for max_ids in range(7, length):
    # A document has room for <s>, a picture, and two ids behind it.
    short = text_ops.Context(context.tokenizer, 16, "crop", max_ids - 5, 2)
    text, reasons = shown(example, short)
    assert whole.startswith(text) and not text.endswith("|")
    assert reasons[0] == "text_cut"
    left = 2 - text.count("(")
    assert reasons[1:] == ["picture_left_out"] * left
    # No picture without a word behind it, if the document has one there.
    assert not text.endswith(")")
  fitting = text_ops.Context(context.tokenizer, 16, "crop", length - 5, 2)
  assert shown(example, fitting) == (whole, [])


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"max_pictures": 0}, "max_pictures is 1 or more, found 0"),
    ({"keep_single_image_probability": 1.5}, r"is 0\.\.1, found 1\.5"),
  ],
)
def test_wrong_options(options, message):
  with pytest.raises(ValueError, match=message):
    recipes.interleaved(**options)

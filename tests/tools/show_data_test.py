"""The picture of what the model is fed, and the command's mistakes."""

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax import visualize
from kosmos2_jax.tools import show_data

pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"  # ml_collections
)


@pytest.fixture
def batch(small_tokenizer):
  """One row: a picture, "a dog" with a box, padding behind it."""
  vocab = small_tokenizer.vocab
  prefix, slots = small_tokenizer.image_prefix(4)
  box = [vocab.location_id(0), vocab.location_id(27)]
  text = small_tokenizer.encode("<grounding><phrase>a dog</phrase>")
  ids = [*prefix, *text, vocab.object_id, *box, vocab.object_end_id, 2]
  length, room = len(ids) - 1, 40
  row = {
    "tokens": np.full((1, room), vocab.pad_id, np.int32),
    "targets": np.full((1, room), vocab.pad_id, np.int32),
    "loss_mask": np.zeros((1, room), bool),
    "image_mask": np.zeros((1, room), bool),
    "segment_ids": np.zeros((1, room), np.int32),
    "images": np.zeros((1, 1, 16, 16, 3), np.float32),
    "example_index": np.zeros(1, np.int64),
  }
  row["tokens"][0, :length] = ids[:-1]
  row["targets"][0, :length] = ids[1:]
  row["loss_mask"][0, len(prefix) - 1 : length] = True
  row["image_mask"][0, : len(prefix)] = slots
  row["segment_ids"][0, :length] = 1
  return row


def test_tokens_are_coloured_by_whether_they_are_predicted(
  batch, small_tokenizer, monkeypatch
):
  drawn = {}

  def draw_grounding(image, grounded, lines):
    drawn.update(grounded=grounded, lines=lines)
    return Image.fromarray(image)

  monkeypatch.setattr(visualize, "draw_grounding", draw_grounding)
  show_data.draw_row(batch, 0, small_tokenizer, "title")
  title, runs = drawn["lines"]
  assert title == "title"
  words = [(text, color) for text, color in runs if text != " "]
  grey = [text for text, color in words if color == visualize.GRAY]
  dark = [text for text, color in words if color == visualize.BLACK]
  assert grey == ["<s>", "<image>", "4 slots", "</image>"]
  assert dark[:2] == ["<grounding>", "<phrase>"]
  assert dark[-1] == "</s>"
  assert "<patch_index_0027>" in dark
  [phrase] = drawn["grounded"].phrases
  assert phrase.text == "a dog"
  assert len(phrase.boxes) == 1


def test_a_row_becomes_a_picture(batch, small_tokenizer):
  picture = show_data.draw_row(batch, 0, small_tokenizer, "title")
  assert isinstance(picture, Image.Image)
  assert min(picture.size) >= 256


@pytest.mark.parametrize(
  ("arguments", "sentence"),
  [
    (["--config=configs/shapes.py"], "output"),
    (["--output=x.png"], "config"),
    (["--config=configs/shapes.py", "--output=x.png", "--rows=3"], "rows"),
    (
      ["--config=configs/shapes.py", "--output=x.png", "--config.data.x=3"],
      "x",
    ),
  ],
)
def test_mistakes_end_with_a_sentence(arguments, sentence, capsys):
  assert show_data.main(["show_data", *arguments]) == 2
  printed = capsys.readouterr().err
  assert sentence in printed
  assert len(printed.splitlines()) == 1

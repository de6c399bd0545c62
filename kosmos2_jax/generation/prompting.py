"""From prompts and pictures to the padded arrays that decoding takes.

A prompt becomes the row it would have been in training: `<s>`, then
`<image>` slots `</image>` for each picture, then the text. Plain numpy: no
array here lives on a device.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from kosmos2_jax.batch import IMAGE_MEAN, IMAGE_STDDEV
from kosmos2_jax.generation.pictures import ImageLike, read_image
from kosmos2_jax.text import location
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.text.vocab import (
  DELIMITER,
  OBJECT,
  OBJECT_END,
  PHRASE_END,
  location_text,
)

LENGTH_MULTIPLE = 16

# A text as words, or as the ids of its tokens.
Text = str | Sequence[int]

# The boxes of one phrase: none, one, or several; each four numbers.
PhraseBoxes = None | Sequence[float | int] | Sequence[Sequence[float | int]]


class Row(NamedTuple):
  """One prompt as ids, the slots among them, and its prepared pictures."""

  tokens: list[int]
  image_mask: list[bool]
  images: list[np.ndarray]


class Rows(NamedTuple):
  """Several rows, padded on the right to one length."""

  tokens: Int[np.ndarray, "B T"]
  lengths: Int[np.ndarray, " B"]
  images: Float[np.ndarray, "B M height width 3"] | None
  image_mask: Bool[np.ndarray, "B T"] | None


def prepare_image(
  image: ImageLike, size: int
) -> Float[np.ndarray, "size size 3"]:
  """Returns what the vision encoder takes: squashed to a square, normalised.

  The squash (bicubic, antialiased, no crop) is the original's evaluation
  transform: normalised boxes stay true for the whole picture. A picture that
  has the right size is not resampled at all.

  Args:
    image: see `pictures.read_image`.
    size: height and width of the result.

  Raises:
    FileNotFoundError, TypeError, ValueError: see `pictures.read_image`.
  """
  picture = read_image(image)
  if picture.size != (size, size):
    picture = picture.resize((size, size), Image.Resampling.BICUBIC)
  # The arithmetic of the input's normalisation, operation by operation: a
  # picture of the model's size gives the very floats it was trained on.
  mean = np.float32(IMAGE_MEAN) * np.float32(255)
  scale = np.float32(1) / (np.float32(IMAGE_STDDEV) * np.float32(255))
  return (np.asarray(picture, np.float32) - mean) * scale


def token_ids(text: Text, tokenizer: Tokenizer) -> list[int]:
  """Returns the ids of a text, which may be ids already."""
  return tokenizer.encode(text) if isinstance(text, str) else list(text)


def make_row(
  prompt: Text,
  pictures: ImageLike | Sequence[ImageLike] | None,
  tokenizer: Tokenizer,
  *,
  num_latents: int,
  image_size: int,
  prepare: Callable[[ImageLike, int], np.ndarray] = prepare_image,
) -> Row:
  """Lays out one prompt with the slots of its pictures.

  Args:
    prompt: text after `<s>`, or its ids; special tokens may be written out.
      Pictures come before it, in order, unless it says where with one
      `<image>` for each.
    pictures: None, one picture or several.
    tokenizer: text to ids.
    num_latents: slots a picture takes.
    image_size: height and width that pictures are brought to.
    prepare: `prepare_image`, or that with a memory.

  Raises:
    FileNotFoundError, TypeError: for a picture that cannot be read.
    ValueError: for a picture that cannot be read, or if the number of
      `<image>` is neither 0 nor that of the pictures.
  """
  if pictures is None:
    pictures = []
  elif not isinstance(pictures, list | tuple):
    pictures = [pictures]
  image_id = tokenizer.vocab.image_id
  text = token_ids(prompt, tokenizer)
  places = text.count(image_id)
  if places not in (0, len(pictures)):
    raise ValueError(
      f"the prompt {prompt!r} has {places} places for pictures and got"
      f" {len(pictures)} pictures; write one <image> for each, or none to put"
      " them all in front."
    )
  if not places:
    text = [image_id] * len(pictures) + text
  block, block_mask = (x[1:] for x in tokenizer.image_prefix(num_latents))
  # What stands in a slot is never read; but the rule against repeated n-grams
  # sees it, and these are the ids that the original and Hugging Face put there.
  first = tokenizer.vocab.first_piece_id
  block[1:-1] = range(first, first + num_latents)
  tokens, image_mask = [tokenizer.vocab.bos_id], [False]
  for token in text:
    is_place = token == image_id
    tokens += block if is_place else [token]
    image_mask += block_mask if is_place else [False]
  return Row(tokens, image_mask, [prepare(p, image_size) for p in pictures])


def insert_boxes(
  text: str,
  boxes: Sequence[PhraseBoxes],
  num_bins: int,
  rounding: str = "floor",
) -> str:
  """Writes boxes behind the phrases of a prompt.

  Args:
    text: with `<phrase>…</phrase>`.
    boxes: for each phrase None, a box, or several.
    num_bins: cells per side of the location grid.
    rounding: see `location.box_to_bins`.

  Raises:
    ValueError: if there are more or fewer entries than phrases, boxes for a
      phrase that has some already, or a box that is none.
  """
  parts = text.split(PHRASE_END)
  if len(parts) - 1 != len(boxes):
    raise ValueError(
      f"the prompt {text!r} has {len(parts) - 1} phrases and there are"
      f" {len(boxes)} entries of boxes; give one (None, a box or several) for"
      " each."
    )
  result = parts[0]
  for entry, rest in zip(boxes, parts[1:], strict=True):
    result += PHRASE_END
    if entry is not None:
      if rest.startswith(OBJECT):
        raise ValueError(
          f"a phrase of {text!r} has boxes in the text already; give None for"
          " it."
        )
      several = [entry] if np.ndim(entry) == 1 else entry
      pairs = [_location_texts(box, num_bins, rounding) for box in several]
      result += f"{OBJECT}{DELIMITER.join(pairs)}{OBJECT_END}"
    result += rest
  return result


def _location_texts(
  box_xyxy: location.BoxLike, num_bins: int, rounding: str
) -> str:
  cells = location.box_to_bins(checked_box(box_xyxy), num_bins, rounding)
  return "".join(location_text(cell) for cell in cells)


def checked_box(box_xyxy: location.BoxLike) -> location.BoxLike:
  """Returns the box; raises ValueError if its corners are the wrong way."""
  x1, y1, x2, y2 = box_xyxy
  if not (x1 <= x2 and y1 <= y2):
    raise ValueError(
      "a box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, normalised to 0..1;"
      f" got {tuple(box_xyxy)}."
    )
  return box_xyxy


def common_prefixes(
  rows: Sequence[Row], is_tag: Callable[[int], bool]
) -> tuple[list[Row], list[int], list[Row]] | None:
  """Splits rows that ask about the same pictures behind those pictures.

  Pictures are the same if they are the same arrays. The split is where the
  last picture ends, or behind the tags that all texts begin with, but not
  where their words begin to differ: one length serves many batches, and
  functions of the parts compile once.

  Args:
    rows: at least one.
    is_tag: tells tags from words.

  Returns:
    The different beginnings, which of them each row has, and what follows it
    in each row; or None where that is not worth it: not all rows have
    pictures, their pictures end at different places, or fewer than half of
    the beginnings would be saved.
  """
  ends = {
    len(row.image_mask) - row.image_mask[::-1].index(True) + 1
    if row.images
    else 0
    for row in rows
  }
  end = ends.pop()
  if ends or not end or any(len(row.tokens) <= end for row in rows):
    return None
  while all(len(row.tokens) > end + 1 for row in rows):
    following = {row.tokens[end] for row in rows}
    if len(following) > 1 or not is_tag(following.pop()):
      break
    end += 1
  prefixes: dict[tuple[int, ...], tuple[int, Row]] = {}
  which = []
  for row in rows:
    key = (*map(id, row.images), *row.tokens[:end])
    beginning = Row(row.tokens[:end], row.image_mask[:end], row.images)
    which.append(prefixes.setdefault(key, (len(prefixes), beginning))[0])
  if 2 * len(prefixes) > len(rows):
    return None
  rest = [Row(row.tokens[end:], row.image_mask[end:], []) for row in rows]
  return [row for _, row in prefixes.values()], which, rest


def stack_rows(
  rows: Sequence[Row],
  pad_id: int,
  multiple: int = LENGTH_MULTIPLE,
  *,
  num_parts: int = 1,
  with_pixels: bool = True,
) -> Rows:
  """Pads rows to one array each, in few different shapes.

  The length is rounded up to a multiple and the number of rows to a power of
  two, so that functions of them compile once for many batches. The rows that
  are added repeat the first one.

  Args:
    rows: at least one.
    pad_id: fills `tokens` behind a row's end.
    multiple: of the length.
    num_parts: the number of rows is a multiple of it, too.
    with_pixels: False leaves `images` None.

  Returns:
    The arrays; `images` and `image_mask` are None if no row has a picture.
    Rows with fewer pictures than others get black ones, which no slot reads.
  """
  count = 1 << (len(rows) - 1).bit_length()
  count = -(-count // num_parts) * num_parts
  rows = [*rows, *[rows[0]] * (count - len(rows))]
  longest = max(len(row.tokens) for row in rows)
  length = -(-longest // multiple) * multiple
  tokens = np.full((count, length), pad_id, np.int32)
  image_mask = np.zeros((count, length), bool)
  lengths = np.array([len(row.tokens) for row in rows], np.int32)
  for i, row in enumerate(rows):
    tokens[i, : lengths[i]] = row.tokens
    image_mask[i, : lengths[i]] = row.image_mask
  num_images = max(len(row.images) for row in rows)
  if not num_images:
    return Rows(tokens, lengths, None, None)
  if not with_pixels:
    return Rows(tokens, lengths, None, image_mask)
  size = next(row.images[0] for row in rows if row.images).shape
  images = np.zeros((count, num_images, *size), np.float32)
  for i, row in enumerate(rows):
    if row.images:
      images[i, : len(row.images)] = row.images
  return Rows(tokens, lengths, images, image_mask)

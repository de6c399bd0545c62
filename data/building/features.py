"""The features of records: one family for each kind of data.

Each function gives a dict for `tfds.features.FeaturesDict`. A builder may add
features of its own to a family. Pictures are stored as they come, JPEG or PNG;
boxes are `x1, y1, x2, y2`, float32, normalised, origin top left.
"""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

Features = dict[str, Any]


def grounded() -> Features:
  """A picture, its caption, and phrases of the caption with boxes.

  `start` and `end` are code points of the caption, end exclusive; a phrase
  with several boxes appears once for each.
  """
  phrases = {
    "start": np.int32,
    "end": np.int32,
    "box_xyxy": _box(),
    "score": np.float32,
  }
  return {
    **captioned(),
    "noun_chunks": tfds.features.Sequence(dict(phrases)),
    "ref_exps": tfds.features.Sequence(dict(phrases)),
  }


def captioned() -> Features:
  """A picture and its caption."""
  return {
    "id": tfds.features.Text(),
    "image": _image(),
    "caption": tfds.features.Text(),
  }


def expressions() -> Features:
  """A picture and texts that each mean one box of it."""
  return {
    "id": tfds.features.Text(),
    "image": _image(),
    "expressions": tfds.features.Sequence(
      {"text": tfds.features.Text(), "box_xyxy": _box()}
    ),
  }


def question() -> Features:
  """A picture, a question about it and the answers people gave."""
  return {
    "id": tfds.features.Text(),
    "image": _image(),
    "question": tfds.features.Text(),
    "answers": tfds.features.Sequence(tfds.features.Text()),
  }


def conversation() -> Features:
  """Turns of "user", "assistant" or "system" about any number of pictures.

  A `text` holds "<image>" where a picture stands, in the order of `images`.
  """
  return {
    "id": tfds.features.Text(),
    "images": tfds.features.Sequence(_image()),
    "messages": tfds.features.Sequence(
      {"role": tfds.features.Text(), "text": tfds.features.Text()}
    ),
  }


def document() -> Features:
  """Texts and pictures in the order of a page.

  A part is a picture where `image` is its place in `images`, and a text where
  `image` is -1.
  """
  return {
    "id": tfds.features.Text(),
    "images": tfds.features.Sequence(_image()),
    "parts": tfds.features.Sequence(
      {"text": tfds.features.Text(), "image": np.int32}
    ),
  }


def text() -> Features:
  """A text alone."""
  return {"id": tfds.features.Text(), "text": tfds.features.Text()}


def _image() -> tfds.features.Image:
  # Bytes are stored as they come.
  return tfds.features.Image(shape=(None, None, 3))


def _box() -> tfds.features.Tensor:
  return tfds.features.Tensor(shape=(4,), dtype=np.float32)

"""Examples for the tests of the input."""

import io

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.input.sources import ListSource

COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "grey")


def encode(pixels, file_format="PNG"):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, file_format)
  return buffer.getvalue()


def make_example(number):
  """A picture of noise in one of several sizes, with three boxes."""
  rng = np.random.default_rng(number)
  height, width = 16 + number % 3 * 5, 16 + number % 4 * 7
  color = COLORS[number % len(COLORS)]
  caption = f"a {color} circle left of two squares"
  starts = (caption.index("a "), caption.index("two"), caption.index("two"))
  ends = (caption.index(" left"), len(caption), len(caption))
  boxes = ((0.4, 0.2, 0.5, 0.6), (0.5, 0.1, 0.6, 0.3), (0.5, 0.6, 0.6, 0.9))
  chunks = [
    {"start": start, "end": end, "box_xyxy": box, "score": 1.0}
    for start, end, box in zip(starts, ends, boxes, strict=True)
  ]
  texts = (f"the {color} circle", "the upper square", "the lower square")
  return {
    "id": f"example-{number}",
    "image": encode(rng.integers(0, 256, (height, width, 3), np.uint8)),
    "caption": caption,
    "noun_chunks": chunks,
    "ref_exps": chunks[:1],
    "expressions": [
      {"text": text, "box_xyxy": box}
      for text, box in zip(texts, boxes, strict=True)
    ],
  }


@pytest.fixture
def examples():
  """Thirteen examples; a test may change them."""
  return [make_example(number) for number in range(13)]


@pytest.fixture
def source(examples):
  """The examples as a source."""
  return ListSource(examples, name="toy")


@pytest.fixture
def wire_hanger():
  """The record of GrIT that the original documents, picture left out."""
  boxes = [
    (0.0196440695, 0.3105400403, 0.9622142866, 0.9603442351),
    (0.0194223579, 0.0276341612, 0.9593302409, 0.9694675605),
  ]
  scores = (0.79298526, 0.67520964)

  def items(spans):
    return [
      {"start": start, "end": end, "box_xyxy": box, "score": score}
      for (start, end), box, score in zip(spans, boxes, scores, strict=True)
    ]

  return {
    "id": "wire hanger",
    "image_shape": (693, 1024),
    "caption": (
      "a wire hanger with a paper cover that reads we heart our customers"
    ),
    "noun_chunks": items([(19, 32), (0, 13)]),
    "ref_exps": items([(19, 66), (0, 66)]),
  }

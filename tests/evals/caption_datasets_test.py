"""Captions and expressions from files in their true form to scores."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import data
from kosmos2_jax.evals.captioning import Caption
from kosmos2_jax.evals.expression_generation import ExpressionGeneration
from kosmos2_jax.evals.scoring import captions, meteor
from kosmos2_jax.evals.scoring.java import JavaTrouble
from kosmos2_jax.input.sources import eval_examples
from tests.evals.asking import FakePredictor, ask

pytestmark = pytest.mark.slow  # builders prepare TFDS data

CAPTIONS = {
  "1007129816.jpg": [
    "The man with pierced ears is wearing glasses and an orange hat.",
    "A man with glasses is wearing a beer can crocheted hat.",
    "A man with gauges and glasses is wearing a Blitz hat.",
    "A man in an orange hat starring at something.",
    "A man wears an orange hat and glasses.",
  ],
  "1009434119.jpg": [
    "A black and white dog is running in a grassy garden.",
    "A Boston Terrier is running on lush green grass.",
  ],
}
# Picture, box as x, y, width, height, expressions.
VAL = [
  (131, [12, 10, 24, 20], ["the man in red", "man on the left"]),
  (131, [30, 4, 10, 30], ["woman with a hat", "the woman"]),
  (277, [0, 0, 48, 40], ["a big dog", "dog"]),
]
TRAIN = [
  (581, [0, 0, 20, 20], ["a kite"]),
  (582, [4, 4, 20, 20], ["the cup"]),
  (583, [8, 8, 20, 20], ["the boat"]),
]


@pytest.fixture(autouse=True)
def no_meteor(monkeypatch):
  """METEOR takes seconds to start; it has tests of its own."""

  def score(*args):
    raise JavaTrouble("not in this test.")

  monkeypatch.setattr(meteor, "score", score)


def write_picture(path, value):
  """A picture of one colour, by which it is known again."""
  buffer = io.BytesIO()
  Image.new("RGB", (48, 40), (value, 0, 0)).save(buffer, "JPEG")
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(buffer.getvalue())


def color(image):
  """About the value of `write_picture`."""
  return round(int(np.median(image[..., 0])) / 20)


def file_name(number):
  return f"COCO_train2014_{number:012d}.jpg"


def write_mdetr(path, references):
  """A `finetune_refcocog_*.json`: a picture and a box for each expression."""
  images, annotations = [], []
  for number, box, texts in references:
    for text in texts:
      images.append(
        {
          "file_name": file_name(number),
          "height": 40,
          "width": 48,
          "id": len(images),
          "original_id": number,
          "caption": text,
          "dataset_name": "refcocog",
          "tokens_negative": [[0, len(text)]],
        }
      )
      annotations.append(
        {
          "area": box[2] * box[3],
          "iscrowd": 0,
          "image_id": images[-1]["id"],
          "category_id": 1,
          "id": images[-1]["id"],
          "bbox": box,
          "original_id": number,
          "tokens_positive": [[0, len(text)]],
        }
      )
  categories = [{"supercategory": "person", "id": 1, "name": "person"}]
  content = {"info": [], "licenses": [], "images": images}
  content |= {"annotations": annotations, "categories": categories}
  path.write_text(json.dumps(content))


def test_flickr30k_from_karpathys_file(tmp_path):
  images = []
  for number, (name, texts) in enumerate(CAPTIONS.items()):
    write_picture(tmp_path / "flickr30k-images" / name, 20 + 20 * number)
    images.append(
      {
        "sentids": list(range(len(texts))),
        "imgid": number,
        "sentences": [
          {
            "tokens": text.lower().rstrip(".").split(),
            "raw": text,
            "imgid": number,
            "sentid": i,
          }
          for i, text in enumerate(texts)
        ],
        "split": "test",
        "filename": name,
      }
    )
  path = tmp_path / "dataset_flickr30k.json"
  path.write_text(json.dumps({"images": images, "dataset": "flickr30k"}))
  source = data.load_source(
    "flickr30k",
    "test",
    tmp_path / "tfds",
    captions=str(path),
    pictures=str(tmp_path / "flickr30k-images"),
    splits="test",
  )
  said = {1: "a man with an orange hat", 2: "a dog running on grass"}
  predictor = FakePredictor(lambda prompt, images: said[color(images[0])])
  records = ask(Caption(), predictor, eval_examples(source))
  assert {r.id: r.truth for r in records} == {
    name.removesuffix(".jpg"): texts for name, texts in CAPTIONS.items()
  }
  scores = Caption().score(records)
  expected = captions.score(
    list(CAPTIONS.values()), list(said.values()), ["cider"]
  )
  assert scores.metrics["cider"].value == expected.metrics["cider"].value > 0


def test_refcocog_from_mdetrs_files(tmp_path):
  numbers = sorted({number for number, _, _ in (*VAL, *TRAIN)})
  for place, number in enumerate(numbers, 1):
    write_picture(tmp_path / "train2014" / file_name(number), 20 * place)
  for split, references in (("val", VAL), ("train", TRAIN)):
    path = tmp_path / f"finetune_refcocog_{split}.json"
    write_mdetr(path, references)

  def source(split):
    return data.load_source(
      "refcoco",
      split,
      tmp_path / "tfds",
      dataset="refcocog",
      annotations=str(tmp_path),
      pictures=str(tmp_path / "train2014"),
    )

  task = ExpressionGeneration(shots=2).with_support(
    eval_examples(source("train"))
  )
  predictor = FakePredictor(lambda prompt, images: " the man in red.")
  records = ask(task, predictor, eval_examples(source("val")))
  # Prepared records come in an order of their own; each thing is asked once.
  by_text = {record.truth["expressions"][0]: record for record in records}
  assert {text: r.truth["expressions"] for text, r in by_text.items()} == {
    texts[0]: texts for _, _, texts in VAL
  }
  assert {text: record.group for text, record in by_text.items()} == {
    texts[0]: file_name(number) for number, _, texts in VAL
  }
  np.testing.assert_allclose(
    by_text["the man in red"].truth["box"],
    [12 / 48, 10 / 40, 36 / 48, 30 / 40],
  )
  # Two pictures of the training split, then the one that is asked about.
  asked = sorted(color(images[-1]) for images in predictor.images)
  assert asked == [1, 1, 2]
  for images in predictor.images:
    assert len({color(image) for image in images[:2]} & {3, 4, 5}) == 2
  scores = task.score(records)
  assert (scores.n, scores.counts["references"]) == (3, 6)
  expected = captions.score(
    [texts for _, _, texts in VAL], ["the man in red"] * 3, ["cider"]
  )
  assert scores.metrics["cider"].value == expected.metrics["cider"].value > 0

"""Sources: prepared data sets read back as they were written."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import data
from data.shapes import shapes_builder
from kosmos2_jax.input import sources
from tests.input.conftest import make_example


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def shapes(data_dir):
  return data.load_source("shapes", "train", data_dir, config="tiny")


@pytest.mark.slow
def test_reads_what_tfds_reads(shapes, data_dir):
  theirs = shapes_builder.prepare(data_dir, "tiny").as_data_source("train")
  assert len(shapes) == len(theirs) == 64
  indices = [5, 0, 63, 5]
  for example, i in zip(shapes.__getitems__(indices), indices, strict=True):
    expected = theirs[i]
    assert set(example) == set(expected)
    assert example["id"] == expected["id"].decode()
    assert example["caption"] == expected["caption"].decode()
    for key in ("noun_chunks", "ref_exps", "expressions"):
      items = expected[key]
      assert len(example[key]) == len(items["box_xyxy"])
      for row, item in enumerate(example[key]):
        assert set(item) == set(items)
        assert item["box_xyxy"] == tuple(items["box_xyxy"][row].tolist())
        if key == "expressions":
          assert item["text"] == items["text"][row].decode()
        else:
          for field in ("start", "end", "score"):
            assert item[field] == items[field][row]
    (decoded,) = sources.eval_examples(sources.ListSource([example]))
    np.testing.assert_array_equal(decoded["image"], expected["image"])


def test_examples_that_have_a_field():
  picture = tf.io.encode_png(np.zeros([2, 3, 3], np.uint8)).numpy()
  examples = [
    {"id": str(i), "image": picture, "expressions": [i] * (i % 3)}
    for i in range(200)
  ]
  source = sources.ListSource(examples)
  found = [e["id"] for e in sources.eval_examples(source, -1, "expressions")]
  assert found == [str(i) for i in range(200) if i % 3]
  some = [e["id"] for e in sources.eval_examples(source, 70, "expressions")]
  assert some == found[:70]
  assert len(list(sources.eval_examples(source, 70))) == 70


@pytest.mark.slow
def test_parts_of_a_split(data_dir, shapes):
  part = data.load_source("shapes", "train[10:13]", data_dir, config="tiny")
  found = part.__getitems__([0, 1, 2])
  assert found == shapes.__getitems__([10, 11, 12])


@pytest.mark.slow
def test_grit_photographs(data_dir):
  photos = data.load_source(
    "grit", "train", data_dir, shards="data/grit/photos/*.tar"
  )
  examples = list(sources.eval_examples(photos))
  assert len(examples) == len(photos) == 10
  assert all(e["image"].dtype == np.uint8 for e in examples)
  assert all(e["noun_chunks"] for e in examples)
  assert "expressions" not in examples[0]


@pytest.mark.slow
def test_missing_splits_and_data_sets(data_dir, shapes):
  with pytest.raises(ValueError, match="no split 'trian'; it has .*train"):
    data.load_source("shapes", "trian", data_dir, config="tiny")
  with pytest.raises(ValueError, match=r"'train\[:0\]'.* has no examples"):
    data.load_source("shapes", "train[:0]", data_dir, config="tiny")
  with pytest.raises(
    FileNotFoundError,
    match=r"'shapes' in .*no such folder; .*python -m data\.shapes\.shapes_b",
  ):
    data.load_source("shapes", "train", data_dir / "other", prepare=False)
  assert not (data_dir / "other").exists()
  with pytest.raises(
    FileNotFoundError, match=r"'grit' in .*python -m data\.grit\.grit_builder"
  ):
    data.load_source(
      "grit",
      "train",
      data_dir / "other",
      prepare=False,
      shards="data/grit/photos/00000.tar",
    )


def test_unknown_names_and_options(tmp_path):
  with pytest.raises(ValueError, match="one of .*grit, .*shapes"):
    data.load_source("coco", "train", tmp_path)
  with pytest.raises(ValueError, match=r"'shapes' does not take .*num_trian"):
    data.load_source("shapes", "train", tmp_path, num_trian=5)
  with pytest.raises(ValueError, match=r"'grit' does not take .*shard.*README"):
    data.load_source("grit", "train", tmp_path, shard="x.tar")


def test_default_folder(monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", "/somewhere")
  assert data.default_data_dir() == "/somewhere"
  monkeypatch.delenv("TFDS_DATA_DIR")
  assert data.default_data_dir() == "~/tensorflow_datasets"


def _read_back(features, example):
  features = tfds.features.FeaturesDict(features)
  record = features.serialize_example(features.encode_example(example))
  return sources._make_parser(features)(record)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_sequences_are_lists(count):
  """Of values, or of dicts where they have several features."""
  one = tfds.features
  example = {
    "id": "a page",
    "images": [make_example(n)["image"] for n in range(count)],
    "answers": ["two", "zwei", "δύο"][:count],
    "scores": [0.5, 0.25, 0.0][:count],
    "parts": [{"text": f"part {n}", "image": n - 1} for n in range(count)],
    "boxes": [(0.0, 0.25, 0.5, 1.0)] * count,
  }
  found = _read_back(
    {
      "id": one.Text(),
      "images": one.Sequence(one.Image(shape=(None, None, 3))),
      "answers": one.Sequence(one.Text()),
      "scores": one.Sequence(np.float32),
      "parts": one.Sequence({"text": one.Text(), "image": np.int32}),
      "boxes": one.Sequence(one.Tensor(shape=(4,), dtype=np.float32)),
    },
    example,
  )
  # TFDS encodes pictures given as bytes as they are.
  assert found == example
  assert all(type(found[key]) is list for key in found if key != "id")


def test_what_a_record_has_no_value_for():
  features = tfds.features.FeaturesDict(
    {"image": tfds.features.Image(), "caption": tfds.features.Text()}
  )
  record = tf.train.Example()
  record.features.feature["caption"].bytes_list.value.append(b"a dog")
  parse = sources._make_parser(features)
  assert parse(record.SerializeToString()) == {
    "image": None,
    "caption": "a dog",
  }


def test_features_that_are_not_understood():
  features = tfds.features.FeaturesDict(
    {"volume": tfds.features.Tensor(shape=(2, 2), dtype=np.float32)}
  )
  with pytest.raises(TypeError, match="feature 'volume' is text, an image"):
    sources._make_parser(features)
  nested = tfds.features.Sequence(tfds.features.Sequence(np.int32))
  features = tfds.features.FeaturesDict({"lists": nested})
  with pytest.raises(TypeError, match="feature 'lists' is text, an image"):
    sources._make_parser(features)


def test_eval_examples_in_order_and_limited():
  source = sources.ListSource([make_example(n) for n in range(70)], "toy")
  for limit, count in ((-1, 70), (0, 0), (66, 66), (200, 70)):
    found = list(sources.eval_examples(source, limit))
    assert [e["id"] for e in found] == [f"example-{n}" for n in range(count)]
  assert found[0]["image"].shape == (16, 16, 3)
  assert found[0]["caption"] == make_example(0)["caption"]


class Watched(sources.ListSource):
  """Remembers which examples were read."""

  def __init__(self, examples):
    super().__init__(examples, "watched")
    self.read = []

  def __getitems__(self, indices):
    self.read += indices
    return super().__getitems__(indices)


def _scattered(count, key):
  """Examples about seven pictures, in an order as a hash gives."""
  pictures = [make_example(n)["image"] for n in range(7)]
  order = np.random.default_rng(0).integers(7, size=count)
  for number, picture in enumerate(order):
    example = {"id": str(number), "image": pictures[picture]}
    if key == "image_file":
      # The bytes say nothing where there is a name.
      example |= {"image": pictures[number % 7], key: f"{picture}.jpg"}
    elif key == "images":
      example = {"id": str(number), "images": [pictures[picture]]}
    yield int(picture), example


@pytest.mark.parametrize("key", ["image", "images", "image_file"])
@pytest.mark.parametrize("limit", [-1, 0, 1, 50, 1000])
def test_examples_about_one_picture_follow_each_other(key, limit):
  of, examples = zip(*_scattered(200, key), strict=True)
  order = sources.picture_order(sources.ListSource(examples), limit)
  # The first ones, whatever their order.
  count = 200 if limit < 0 else min(limit, 200)
  assert sorted(order) == list(range(count))
  changes = [of[i] for n, i in enumerate(order) if of[i] != of[order[n - 1]]]
  if count > 20:
    assert sorted(changes) == list(range(7))
  # Pictures as they first came, and within one as they came.
  firsts = list(dict.fromkeys(of[:count]))
  assert order == sorted(range(count), key=lambda i: (firsts.index(of[i]), i))


def test_a_picture_is_decoded_once(monkeypatch):
  decoded = []
  decode = sources.image_ops.decode_or_raise

  def watched(encoded, name):
    decoded.append(name)
    return decode(encoded, name)

  monkeypatch.setattr(sources.image_ops, "decode_or_raise", watched)
  examples = [example for _, example in _scattered(100, "image")]
  found = list(sources.eval_examples(sources.ListSource(examples)))
  assert len(decoded) == 7
  assert len({id(example["image"]) for example in found}) == 7
  for example in found:
    wanted = decode(examples[int(example["id"])]["image"], "")
    np.testing.assert_array_equal(example["image"], wanted)


def test_only_the_wanted_examples_are_read():
  source = Watched([example for _, example in _scattered(200, "image")])
  order = sources.picture_order(source, 70)
  assert source.read == list(range(70))
  source.read.clear()
  iterator = sources.eval_examples(source, 70)
  next(iterator)
  assert source.read == [*range(70), *order[: sources._READ_AHEAD]]


def test_an_image_that_is_no_image_is_named():
  examples = [make_example(0), {**make_example(1), "image": b"gone"}]
  source = sources.ListSource(examples, "toy")
  with pytest.raises(ValueError, match="^example 'example-1' of toy: the ima"):
    list(sources.eval_examples(source))

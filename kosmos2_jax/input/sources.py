"""Random access to prepared examples.

A source is a sequence of examples: plain dicts, pictures still encoded. Text
is `str`, picture bytes are `bytes`. A TFDS Sequence is a list: of dicts where
it has several features, else of values. What a record has no value for is
None. A grounded example of `data/`:

    {"id": "42", "image": b"...", "caption": "a red circle",
     "noun_chunks": [{"start": 0, "end": 12, "box_xyxy": (x1, y1, x2, y2),
                      "score": 1.0}, ...],
     "ref_exps": [...], "expressions": [{"text": ..., "box_xyxy": ...}, ...]}

and one with words and pictures in any order:

    {"id": "43", "images": [b"...", b"..."],
     "parts": [{"text": "Two dogs:", "image": -1}, {"text": "", "image": 0},
               {"text": "", "image": 1}]}
"""

import abc
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import decode as tfds_decode

from kosmos2_jax.input import image_ops

Example = dict[str, Any]

# Examples read at once where they are asked for one by one.
_READ_AHEAD = 64


class Source(abc.ABC):
  """Examples by number.

  Attributes:
    name: what errors call it.
  """

  name: str

  @abc.abstractmethod
  def __len__(self) -> int:
    """How many examples there are."""

  @abc.abstractmethod
  def __getitems__(self, indices: Sequence[int]) -> list[Example]:
    """The examples of these numbers, in this order."""


class ListSource(Source):
  """Examples held in memory."""

  def __init__(self, examples: Sequence[Example], name: str = "list"):
    """Takes the examples as they are."""
    self.name = name
    self._examples = list(examples)

  def __len__(self) -> int:
    """How many examples there are."""
    return len(self._examples)

  def __getitems__(self, indices: Sequence[int]) -> list[Example]:
    """The examples of these numbers, in this order."""
    return [self._examples[i] for i in indices]


class TfdsSource(Source):
  """A split of a prepared TFDS builder in a random-access file format."""

  def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
    """Opens a split.

    Args:
      builder: prepared, with `file_format="array_record"`.
      split: its name, or a part such as "train[:100]".

    Raises:
      ValueError: there is no such split, or it is empty.
    """
    self.name = f"{builder.info.full_name}:{split}"
    splits = builder.info.splits
    if split.partition("[")[0] not in splits:
      raise ValueError(
        f"data set {builder.info.full_name} in {builder.data_dir} has no split "
        f"{split!r}; it has {', '.join(sorted(splits)) or 'none'}"
      )
    if not splits[split].num_examples:
      raise ValueError(
        f"split {split!r} of data set {builder.info.full_name} in "
        f"{builder.data_dir} has no examples"
      )
    self._records = builder.as_data_source(
      split, deserialize_method=tfds_decode.DeserializeMethod.RAW_BYTES
    )
    self._parse = _make_parser(builder.info.features)

  def __len__(self) -> int:
    """How many examples there are."""
    return len(self._records)

  def __getitems__(self, indices: Sequence[int]) -> list[Example]:
    """The examples of these numbers, in this order."""
    return [self._parse(r) for r in self._records.__getitems__(list(indices))]


def task_examples(
  tasks: Mapping[str, Any], load: Callable[[str, str], Source]
) -> dict[str, Callable[[int], Iterator[Example]]]:
  """For each task of an evaluation its `eval_examples`, from how many.

  Args:
    tasks: have `dataset`, `split` and `where`.
    load: from data set and split to a source.
  """
  return {
    name: functools.partial(
      eval_examples, load(task.dataset, task.split), where=task.where
    )
    for name, task in tasks.items()
  }


def eval_examples(
  source: Source, limit: int = -1, where: str = ""
) -> Iterator[Example]:
  """Examples for the evaluators: in order, pictures decoded.

  Args:
    source: where they come from.
    limit: how many at most; negative: all.
    where: a field; only examples that have it, and not empty, are taken.

  Yields:
    Examples as above, with `image` as uint8 [height, width, 3]; it is the only
    one of `images` where an example has those.

  Raises:
    ValueError: an example has no picture, or several, or one that cannot be
      decoded; names the example.
  """
  wanted = len(source) if limit < 0 else min(limit, len(source))
  start = 0
  while wanted and start < len(source):
    # Of a part of the examples it is not known where they are.
    stop = start + (_READ_AHEAD if where else min(_READ_AHEAD, wanted))
    indices = range(start, min(stop, len(source)))
    start = indices.stop
    for example in source.__getitems__(indices):
      if not wanted or (where and not example.get(where)):
        continue
      wanted -= 1
      name = f"example {example.get('id')!r} of {source.name}"
      image = image_ops.decode_or_raise(_only_picture(example, name), name)
      yield {**example, "image": image}


def _only_picture(example: Example, name: str) -> bytes:
  if example.get("image") is not None:
    return example["image"]
  images = example.get("images", ())
  if len(images) != 1:
    raise ValueError(
      f"{name}: expected one picture to ask about, found {len(images)}; choose"
      " other examples with the task's `where`, or another split"
    )
  return images[0]


def _make_parser(
  features: tfds.features.FeaturesDict,
) -> Callable[[bytes], Example]:
  """Reads TFDS's records without TensorFlow's graph.

  TFDS's own decoder costs several hundred microseconds an example, ten times
  what reading the protocol buffer does.
  """
  readers = {name: _reader(name, feature) for name, feature in features.items()}

  def parse(record: bytes) -> Example:
    fields = tf.train.Example.FromString(record).features.feature
    return {name: read(fields) for name, read in readers.items()}

  return parse


def _reader(name: str, feature: Any) -> Callable[[Mapping], Any]:
  """A function from a record's fields to the value of one feature."""
  if isinstance(feature, tfds.features.Sequence) and isinstance(
    feature.feature, tfds.features.FeaturesDict
  ):
    columns = {
      key: _column(f"{name}/{key}", inner)
      for key, inner in feature.feature.items()
    }
    keys = tuple(columns)

    def read_items(fields: Mapping) -> list[dict[str, Any]]:
      values = [column(fields) for column in columns.values()]
      rows = zip(*values, strict=True)
      return [dict(zip(keys, row, strict=True)) for row in rows]

    return read_items
  if isinstance(feature, tfds.features.Sequence):
    values = _column(name, feature.feature)
    return lambda fields: list(values(fields))
  column = _column(name, feature)

  def read_value(fields: Mapping) -> Any:
    values = column(fields)
    return values[0] if values else None

  return read_value


def _column(name: str, feature: Any) -> Callable[[Mapping], list]:
  """A function from a record's fields to a list of values of one feature."""
  if isinstance(feature, tfds.features.Image):
    return lambda fields: fields[name].bytes_list.value
  if isinstance(feature, tfds.features.Text):
    return lambda fields: [v.decode() for v in fields[name].bytes_list.value]
  dtype, shape = np.dtype(feature.np_dtype), feature.shape
  if dtype.kind not in "iuf" or len(shape) > 1 or None in shape:
    raise TypeError(
      f"feature {name!r} is text, an image, a number or a vector of fixed "
      f"length, alone or in a Sequence; found {feature!r}"
    )
  kind = "float_list" if dtype.kind == "f" else "int64_list"
  if not shape:
    return lambda fields: getattr(fields[name], kind).value
  step = shape[0]

  def read_vectors(fields: Mapping) -> list[tuple]:
    values = tuple(getattr(fields[name], kind).value)
    return [values[i : i + step] for i in range(0, len(values), step)]

  return read_vectors

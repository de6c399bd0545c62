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
import hashlib
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
    tasks: have `dataset`, `split`, `where` and `evaluator`; those whose
      evaluator reads no examples are left out.
    load: from data set and split to a source.
  """
  return {
    name: functools.partial(
      eval_examples, load(task.dataset, task.split), where=task.where
    )
    for name, task in tasks.items()
    if task.evaluator.reads_examples
  }


def available_sources(
  tasks: Mapping[str, Any], load: Callable[[str, str], Source]
) -> tuple[dict[str, Source], dict[str, Exception]]:
  """The sources of those tasks whose data are there.

  Args:
    tasks: see `task_examples`.
    load: from data set and split to a source.

  Returns:
    A source for each task that reads examples, and for each whose data cannot
    be had why.
  """
  sources: dict[str, Source] = {}
  missing: dict[str, Exception] = {}
  for name, task in tasks.items():
    if not task.evaluator.reads_examples:
      continue
    try:
      sources[name] = load(task.dataset, task.split)
    except (ValueError, OSError) as error:
      missing[name] = error
  return sources, missing


def eval_examples(
  source: Source, limit: int = -1, where: str = ""
) -> Iterator[Example]:
  """Examples for the evaluators, pictures decoded.

  In the order of `picture_order`: those about one picture follow each other,
  and have the very same array.

  Args:
    source: where they come from.
    limit: how many at most, the first ones; negative: all.
    where: a field; only examples that have it, and not empty, are taken.

  Yields:
    Examples as above, with `image` as uint8 [height, width, 3]; it is the only
    one of `images` where an example has those.

  Raises:
    ValueError: an example has no picture, or several, or one that cannot be
      decoded; names the example.
  """
  last, image = b"", None
  for _, example in _read(source, picture_order(source, limit, where)):
    name = f"example {example.get('id')!r} of {source.name}"
    encoded = _only_picture(example, name)
    if image is None or encoded != last:
      last, image = encoded, image_ops.decode_or_raise(encoded, name)
    yield {**example, "image": image}


def picture_order(
  source: Source, limit: int = -1, where: str = ""
) -> list[int]:
  """Numbers of examples, those about one picture one after the other.

  Pictures come in the order of their first example. They are told apart by
  `image_file`, where examples have it, else by their encoded bytes; none is
  decoded.

  Args:
    source: is read once.
    limit: how many at most, the first ones; negative: all.
    where: a field; only examples that have it, and not empty, are taken.
  """
  wanted = len(source) if limit < 0 else min(limit, len(source))
  groups: dict[Any, list[int]] = {}
  if not wanted:
    return []
  # Of a part of the examples it is not known where they are.
  among = range(len(source) if where else wanted)
  for index, example in _read(source, among):
    if where and not example.get(where):
      continue
    groups.setdefault(_picture_key(index, example), []).append(index)
    wanted -= 1
    if not wanted:
      break
  return [index for group in groups.values() for index in group]


def _read(
  source: Source, indices: Sequence[int]
) -> Iterator[tuple[int, Example]]:
  """Examples with their numbers, several read at once."""
  for start in range(0, len(indices), _READ_AHEAD):
    some = indices[start : start + _READ_AHEAD]
    yield from zip(some, source.__getitems__(some), strict=True)


def _picture_key(index: int, example: Example) -> Any:
  if example.get("image_file"):
    return example["image_file"]
  image = example.get("image")
  several = example.get("images") or () if image is None else (image,)
  if not several:
    return index
  return tuple(hashlib.blake2b(one, digest_size=16).digest() for one in several)


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

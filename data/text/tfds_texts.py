"""Texts of any data set of TFDS that lies prepared on a disk."""

import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf
import tensorflow_datasets as tfds

from data.building import files
from data.building.drops import Drop, Dropped, DropReport
from data.text import documents
from data.text.documents import Text

# TFDS's own formats of shards that only have random access.
_AT_RANDOM = ("array_record",)


def find_shards(
  name: str,
  split: str,
  field: str,
  *,
  data_dir: str = "",
  download: bool = False,
) -> list[pathlib.Path]:
  """The files of a split.

  Args:
    name: of the data set, with its config: "lm1b", "c4/en".
    split: a whole one, such as "train".
    field: the feature with the text.
    data_dir: where TFDS keeps prepared data sets; "" is its own default.
    download: let TFDS download and prepare it where that is not done.

  Raises:
    FileNotFoundError: not prepared, and not to be downloaded.
    ValueError: no such data set, split or text feature.
  """
  place = os.path.expanduser(data_dir) if data_dir else None
  try:
    builder = tfds.builder(name, data_dir=place)
  except tfds.core.registered.DatasetNotFoundError as error:
    raise ValueError(
      f"expected tfds_name to be a data set of TFDS or one that lies in"
      f" {place or 'its own folder'}, found {name!r}"
    ) from error
  if not builder.is_prepared():
    if not download:
      raise FileNotFoundError(
        f"expected the TFDS data set {name!r} in {builder.data_path}, found"
        " nothing prepared there: set tfds_data_dir to where it lies, or"
        " tfds_download to let TFDS fetch it"
      )
    builder.download_and_prepare()
  if split not in builder.info.splits:
    raise ValueError(
      f"expected tfds_split to be a split of {name!r}, one of"
      f" {', '.join(builder.info.splits)}; found {split!r} (max_examples takes"
      " a part of one)"
    )
  texts = [
    key
    for key, feature in builder.info.features.items()
    if isinstance(feature, tfds.features.Text)
  ]
  if field not in texts:
    raise ValueError(
      f"expected tfds_field to be a text feature of {name!r}, one of"
      f" {', '.join(texts) or 'none'}; found {field!r}"
    )
  paths = builder.info.splits[split].filepaths
  return [pathlib.Path(os.fspath(path)) for path in paths]


def read_texts(
  path: pathlib.Path,
  report: DropReport,
  *,
  split: str,
  field: str,
  max_chars: int = 100_000,
) -> Iterator[Text]:
  """Yields the good texts of one file that `find_shards` gave, in its order."""
  report.files_read += 1
  name = files.printable(path.name)
  builder = tfds.builder_from_directory(path.parent)
  names = [
    os.path.basename(other) for other in builder.info.splits[split].filepaths
  ]
  at = names.index(path.name)
  part = f"{split}[{at}shard:{at + 1}shard]"
  if builder.info.file_format.value in _AT_RANDOM:
    texts = _read_at_random(builder, part, field)
  else:
    texts = _read_in_order(builder, part, field)
  number = 0
  while True:
    try:
      raw = next(texts, None)
    except tf.errors.OpError:
      broken = Drop.TRUNCATED_FILE if number else Drop.UNREADABLE_FILE
      report.add(broken, name)
      return
    if raw is None:
      return
    number += 1
    report.records_read += 1
    where = f"{name}:{number}"
    try:
      text = documents.check_text(raw)
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    yield from documents.split(where, text, report, max_chars)


def _read_in_order(
  builder: tfds.core.DatasetBuilder, split: str, field: str
) -> Iterator[bytes]:
  """The field of all examples; pictures beside it are not decoded."""
  decoders = tfds.decode.PartialDecoding({field: True})
  dataset = builder.as_dataset(split=split, decoders=decoders)
  return (example[field] for example in tfds.as_numpy(dataset))


def _read_at_random(
  builder: tfds.core.DatasetBuilder, split: str, field: str
) -> Iterator[bytes]:
  """The same; a data source cannot decode some features and others not."""
  records = builder.as_data_source(
    split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )
  for record in records:
    features = tf.train.Example.FromString(record).features.feature
    yield features[field].bytes_list.value[0]

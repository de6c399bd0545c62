"""What the base does for every builder, on one that reads lines of text."""

import json
import pathlib

import pytest
import tensorflow_datasets as tfds

from data.building import arguments as argument_rules
from data.building import builder as building
from data.building import features
from data.building.builder import FilesBuilder, Record, Unit
from data.building.drops import Drop, DropReport


class Lines(FilesBuilder):
  """A line is a record, "id words"; the words are its items."""

  NAME, TITLE = "lines", "lines"
  ARGUMENTS = {  # noqa: RUF012
    "files": "text files",
    "upper": "whether to write in capitals",
    "min_length": "characters below which a line is dropped",
    "words": "numbers for words",
  }
  PATHS = ("files",)

  @classmethod
  def find(cls, files, upper=False, min_length=1):
    """The split is the file's name up to a dash."""
    if not isinstance(files, list | tuple):
      files = [files]
    paths = [pathlib.Path(file) for file in files]
    return [Unit(path.name.split("-")[0], path) for path in paths]

  @classmethod
  def make_features(cls):
    """A text."""
    return features.text()

  @classmethod
  def read(cls, unit, report, arguments):
    """Yields the lines that are long enough."""
    for i, line in enumerate(unit.path.read_text().splitlines()):
      name, _, text = line.partition(" ")
      if len(text) < arguments["min_length"]:
        report.add(Drop.EMPTY_CAPTION, f"{unit.path.name}:{i + 1}")
        continue
      report.items_read += len(text.split())
      report.items_kept += len(text.split())
      text = text.upper() if arguments["upper"] else text
      yield Record(name, {"id": name, "text": text})


class Careless(Lines):
  """Loses lines without a word."""

  NAME = "careless"

  @classmethod
  def read(cls, unit, report, arguments):
    """Counts one more than it yields."""
    report.records_read += 1
    for record in super().read(unit, report, arguments):
      report.records_read += 1
      yield record


@pytest.fixture
def write(tmp_path):
  def write(name, *lines):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path

  return write


@pytest.fixture
def prepare(tmp_path):
  def prepare(*files, builder_class=Lines, **options):
    return building.prepare(
      builder_class, tmp_path / "data", files=list(files), **options
    )

  return prepare


def texts(builder, split="train"):
  examples = builder.as_data_source(split=split)
  return {e["id"].decode(): e["text"].decode() for e in examples}


def manifest(builder):
  return json.loads((builder.data_path / "manifest.json").read_text())


def test_splits_and_manifest(write, prepare, capsys):
  train = write("train-0", "a one two", "b", "c three"), write("train-1", "a x")
  builder = prepare(*train, write("test-0", "a four"))
  assert texts(builder) == {"a": "one two", "c": "three"}
  assert texts(builder, "test") == {"a": "four"}  # Ids are of a split.
  assert list(manifest(builder).items()) == [
    ("dataset", "lines"),
    ("reader_version", 1),
    ("arguments", {"min_length": 1, "upper": False}),
    ("max_examples", None),
    (
      "files",
      [
        {"name": "train-0", "bytes": 20},
        {"name": "train-1", "bytes": 4},
        {"name": "test-0", "bytes": 7},
      ],
    ),
    (
      "splits",
      {
        "train": {
          "examples": 2,
          "records_read": 4,
          "dropped": {"duplicate_id": 1, "empty_caption": 1},
        },
        "test": {"examples": 1, "records_read": 1, "dropped": {}},
      },
    ),
    *builder.report.as_dict().items(),
  ]
  report = builder.report
  assert (report.files_read, report.records_read, report.records_kept) == (
    3,
    5,
    3,
  )
  assert (report.items_read, report.items_kept) == (4, 4)
  assert report.examples == {
    Drop.EMPTY_CAPTION: ["train-0:2"],
    Drop.DUPLICATE_ID: ["train-1:a"],
  }
  out = capsys.readouterr().out
  assert out.startswith("lines: 3 file(s), 3 of 5 records and 4 of 4 items")


def test_manifest_is_the_same_byte_for_byte(write, tmp_path):
  path = write("train-0", "a one", "b")
  told = [
    (
      building.prepare(Lines, tmp_path / name, files=str(path)).data_path
      / "manifest.json"
    ).read_bytes()
    for name in ("one", "two")
  ]
  assert told[0] == told[1]
  assert str(tmp_path).encode() not in told[0]


def test_the_same_again_reads_nothing(write, prepare, monkeypatch):
  path = write("train-0", "a one")
  first = prepare(path)
  monkeypatch.setattr(Lines, "read", lambda *a: pytest.fail("reads again"))
  assert prepare(str(path), upper=False).data_path == first.data_path


def test_identity(write, prepare, monkeypatch):
  path = write("train-0", "a one")
  folders = [prepare(path).data_path]
  folders.append(prepare(path, upper=True).data_path)
  folders.append(prepare(path, max_examples=1).data_path)
  monkeypatch.setattr(Lines, "READER_VERSION", 2)
  folders.append(prepare(path).data_path)
  extra = write("words", "1")
  monkeypatch.setattr(Lines, "files", classmethod(lambda *a: [extra]))
  folders.append(prepare(path).data_path)
  write("words", "2")
  folders.append(prepare(path).data_path)
  write("train-0", "a two")
  folders.append(prepare(path).data_path)
  assert len(set(folders)) == len(folders)


def test_files_of_a_folder_are_its_identity(tmp_path, write):
  def name():
    return Lines.make_config(files=tmp_path).name

  names = []
  for line in ("a one", "a two"):
    write("train-0", line)
    names.append(name())
  (tmp_path / "train-0").rename(tmp_path / "train-1")
  names.append(name())
  assert len(set(names)) == 3


def test_max_examples_of_each_split(write, prepare):
  builder = prepare(
    write("train-0", "a one", "", "b two", "c three"),
    write("train-1", "d four"),
    write("test-0", "a one", "b two"),
    max_examples=2,
  )
  assert texts(builder).keys() == texts(builder, "test").keys() == {"a", "b"}
  # What was not read is not counted.
  assert (builder.report.files_read, builder.report.records_read) == (2, 5)
  assert manifest(builder)["max_examples"] == 2


def test_max_examples_that_is_none(write, prepare):
  with pytest.raises(ValueError, match="max_examples is at least 1.*found 0"):
    prepare(write("train-0", "a one"), max_examples=0)


def test_split_without_records(write, prepare, tmp_path):
  files = write("train-0", "a one"), write("test-0", "b"), write("test-1", "c")
  with pytest.raises(
    ValueError, match="lines record for the split 'test', found none in test-0 "
  ) as error:
    prepare(*files)
  assert "and 1 more" in str(error.value)
  assert "empty_caption" in str(error.value)
  assert not list((tmp_path / "data").glob("lines/*/1.0.0"))


def test_a_reader_that_loses_records_is_found_out(write, prepare):
  path = write("train-0", "a one", "b two")
  with pytest.raises(RuntimeError, match=r"3 read, 2 kept and 0 dropped"):
    prepare(path, builder_class=Careless)


def test_arguments(write):
  with pytest.raises(TypeError, match="Lines has no argument file; it has fi"):
    Lines.make_config(file="a")
  with pytest.raises(ValueError, match="Lines needs files: expected text fil"):
    Lines.make_config()
  path = write("train-0", "a one")
  config = Lines.make_config(files=path, upper=None)
  assert config.arguments == {"files": path, "upper": False, "min_length": 1}


def test_defaults_of_pictures():
  class Pictures(Lines):
    NAME = "pictures"
    ARGUMENTS = dict.fromkeys(
      ("files", "min_side", "shorter_side", "max_words"), ""
    )
    DEFAULTS = {"min_side": 64, "max_words": 5}  # noqa: RUF012

  arguments = argument_rules.defaults(Pictures)
  assert arguments == {"min_side": 64, "shorter_side": 0, "max_words": 5}


def test_names_are_not_registered_with_tfds(write, prepare):
  assert "lines" not in tfds.list_builders(with_community_datasets=False)
  builder = prepare(write("train-0", "a one"))
  assert builder.name == "lines"
  assert builder.info.full_name.startswith("lines/files_")


def test_command_line(write, tmp_path, capsys):
  paths = [write("train-0", "a one", "b two"), write("train-1", "c three")]
  flags = [f"--data_dir={tmp_path / 'data'}", "--files"]
  building.main(Lines, [*flags, *map(str, paths), "--upper=true"])
  table, folder = capsys.readouterr().out.splitlines()
  assert table.startswith("lines: 2 file(s), 3 of 3")
  builder = tfds.builder_from_directory(folder)
  assert texts(builder) == {"a": "ONE", "b": "TWO", "c": "THREE"}
  with pytest.raises(SystemExit, match="2"):
    building.main(Lines, [*flags, str(paths[0]), "--min_length=4"])
  said = capsys.readouterr().err
  assert "error: expected at least one good lines record" in said
  with pytest.raises(SystemExit):
    building.main(Lines, [*flags, str(paths[0]), "--upper=maybe"])
  assert "expected true or false, found 'maybe'" in capsys.readouterr().err


def test_command_line_of_one_path(write, tmp_path, monkeypatch):
  found = []
  monkeypatch.setattr(
    building, "prepare", lambda *a, **k: found.append(k) or Lines
  )
  monkeypatch.setattr(Lines, "data_dir", "", raising=False)
  path = str(write("train-0", "a one"))
  building.main(Lines, ["--data_dir=x", "--files", path, "--max_examples=3"])
  assert found == [
    {
      "data_dir": "x",
      "max_examples": 3,
      "beam_workers": 0,
      "beam_options": None,
      "files": path,
      "upper": None,
      "min_length": None,
      "words": None,
    }
  ]


def test_report_from_its_dict():
  report = DropReport(title="x", files_read=1, records_read=9, records_kept=4)
  report.items_read, report.items_kept = 7, 6
  report.add(Drop.DUPLICATE_ID, "a", 5)
  report.add(Drop.BOX_EMPTY, "b")
  report.add(Drop.BOX_CLIPPED, "c", 2)
  told = json.loads(json.dumps(report.as_dict()))
  assert DropReport.from_dict(told, "x") == report

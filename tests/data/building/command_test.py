"""The command lines of all builders: what they say of themselves, and of us."""

import pytest

import data
from data.building import arguments as argument_rules
from data.building import command

every_builder = pytest.mark.parametrize("name", sorted(data.BUILDERS))
COMMON = ("data_dir", "max_examples", "beam_workers", "beam_options")


def run(name, *flags):
  def prepare(*_, **flags):
    raise AssertionError(f"prepared with {flags}")

  command.run(data.builder_class(name), prepare, flags)


def refused(capsys, name, *flags, prepare=None):
  """What is said of a wrong command, which nothing else is."""
  with pytest.raises(SystemExit) as exit:
    if prepare is None:
      run(name, *flags)
    else:
      command.run(data.builder_class(name), prepare, flags)
  captured = capsys.readouterr()
  assert exit.value.code == 2
  assert captured.out == ""
  [line] = captured.err.splitlines()
  assert line.startswith("error: ")
  return line


@pytest.fixture
def flags(tmp_path):
  """Of a builder: every path it must have, none of which is there."""

  def flags(name, path=tmp_path / "gone"):
    builder_class = data.builder_class(name)
    names = argument_rules.required(builder_class)
    if name == "text":
      names = ["files"]
    assert names
    given = [
      # What is no path is the name of a data set.
      f"--{n}={path if n in builder_class.PATHS else name}"
      for n in names
    ]
    return [*given, f"--data_dir={tmp_path / 'data'}"]

  return flags


@every_builder
def test_help_has_every_argument(name, capsys):
  with pytest.raises(SystemExit) as exit:
    run(name, "--help")
  assert exit.value.code == 0
  builder_class = data.builder_class(name)
  said = capsys.readouterr().out
  described = " ".join(said.split())
  assert f"python -m {builder_class.__module__} " in described
  for argument, meaning in builder_class.ARGUMENTS.items():
    assert f"--{argument} " in said
    assert meaning.replace("'", "") in described.replace("'", "")
  for argument in COMMON:
    assert f"--{argument} " in said


@every_builder
def test_wrong_flags(name, flags, capsys):
  said = refused(capsys, name, *flags(name), "--colour=red")
  assert "--colour=red" in said and "--help" in said
  said = refused(capsys, name, *flags(name), "--max_examples=few")
  assert "'few'" in said
  if name != "text":
    said = refused(capsys, name)
    assert "--data_dir" in said
    for required in argument_rules.required(data.builder_class(name)):
      assert f"--{required}" in said


@every_builder
@pytest.mark.parametrize("path", ["gone", "gone/*", ""])
def test_paths_that_are_not_there(name, path, flags, tmp_path, capsys):
  place = path and tmp_path / path
  from data.building.builder import prepare

  said = refused(capsys, name, *flags(name, place), prepare=prepare)
  assert str(place) in said
  assert not (tmp_path / "data").exists()


def test_sides_below_zero(maker, tmp_path, capsys):
  from data.building.builder import prepare

  path = maker.tar(maker.sample())
  flags = [f"--shards={path}", f"--data_dir={tmp_path / 'data'}"]
  said = refused(capsys, "grit", *flags, "--shorter_side=-1", prepare=prepare)
  assert "expected shorter_side in pixels, 0 or more; found -1" in said


def test_a_folder_that_is_a_file(maker, tmp_path, capsys):
  from data.building.builder import prepare

  path = maker.tar(maker.sample())
  flags = [f"--shards={path}", f"--data_dir={path}"]
  assert str(path) in refused(capsys, "grit", *flags, prepare=prepare)

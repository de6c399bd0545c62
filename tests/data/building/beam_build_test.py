"""Reading with Apache Beam gives the same data and the same account."""

import importlib.util
import sys
import warnings

import pytest
import tensorflow_datasets as tfds

from data.building import preparing
from data.building.drops import Drop
from data.grit.grit_builder import Grit, main, prepare

needs_beam = pytest.mark.skipif(
  importlib.util.find_spec("apache_beam") is None,
  reason="needs the extra `beam`",
)


@pytest.fixture
def beam_build():
  with warnings.catch_warnings():
    # Beam's dependencies warn when they are imported.
    warnings.simplefilter("ignore")
    from data.building import beam_build

    yield beam_build


@pytest.fixture
def damaged_shards(maker):
  """Four shards: good, with repeated ids, cut in half, no tar at all."""
  numbers = iter(range(99))

  def samples(count, **changes):
    return [
      maker.sample(f"{next(numbers):03d}", **changes) for _ in range(count)
    ]

  maker.tar(*samples(3), *samples(1, caption=" "), name="0.tar")
  maker.tar(
    *samples(2, id=5, caption="a dog on grass, too"),
    *samples(1, id=0, noun_chunks=[[0, 5, 0, 0, 2, 2, 1]]),
    *samples(2, picture=maker.jpeg()[:300]),
    name="1.tar",
  )
  cut = maker.tar(*samples(4), *samples(1, id=5), name="2.tar")
  cut.write_bytes(cut.read_bytes()[:-5000])
  (maker.folder / "3.tar").write_bytes(b"<html>")
  maker.tar(*samples(1, id=5), *samples(5, id=1), name="4.tar")
  return maker.folder


def stored(builder):
  """Everything in the records, by id."""
  source = builder.as_data_source(
    split="train", decoders={"image": tfds.decode.SkipDecoding()}
  )
  return {example["id"]: repr(example) for example in source}


def manifest(builder):
  return (builder.data_path / "manifest.json").read_text()


@needs_beam
@pytest.mark.slow
@pytest.mark.parametrize(
  "options",
  [{"beam_workers": 2}, {"beam_options": "--runner=DirectRunner"}],
  ids=["two processes", "options"],
)
def test_the_same_as_without(
  damaged_shards, tmp_path, beam_build, options, capsys
):
  alone = prepare(damaged_shards, tmp_path / "alone")
  table = capsys.readouterr().out
  beam = prepare(damaged_shards, tmp_path / "beam", **options)
  assert stored(beam) == stored(alone)
  assert len(stored(beam)) == 8
  assert manifest(beam) == manifest(alone)
  assert capsys.readouterr().out == table
  assert beam.data_path.name == alone.data_path.name
  assert alone.report.counts[Drop.DUPLICATE_ID] == 8
  assert alone.report.counts[Drop.TRUNCATED_FILE] == 1
  names = {path.name for path in beam.data_path.iterdir()}
  assert names - {p.name for p in alone.data_path.iterdir()} <= {
    name for name in names if "array_record" in name
  }


@needs_beam
def test_nothing_good_leaves_nothing(maker, tmp_path, beam_build):
  path = maker.tar(maker.sample(caption=" "))
  # Beam stops where TFDS counts, before the reasons are collected.
  with pytest.raises(ValueError, match="generated examples is 0 for split tra"):
    prepare(path, tmp_path / "data", beam_options="--runner=DirectRunner")
  assert not list((tmp_path / "data").glob("grit/*/*"))


@needs_beam
def test_options(beam_build):
  found = beam_build.make_config(0, "--runner=FlinkRunner --flink_master=a:1")
  assert found["beam_runner"] == "FlinkRunner"
  assert "--flink_master=a:1" in found["beam_options"]._flags
  local = beam_build.make_config(3, None)
  options = local["beam_options"].get_all_options()
  assert options["direct_num_workers"] == 3
  assert options["direct_running_mode"] == "multi_processing"
  # Not by its name: Beam would download another.
  assert type(local["beam_runner"]).__name__ == "FnApiRunner"
  with pytest.raises(ValueError, match="found both: 2 workers"):
    beam_build.make_config(2, "--runner=FlinkRunner")
  with pytest.raises(ValueError, match="at least 1 of beam_workers, found -1"):
    beam_build.make_config(-1, None)


def test_max_examples_reads_in_order(maker, tmp_path):
  path = maker.tar(maker.sample())
  with pytest.raises(ValueError, match="found max_examples=5 with Beam: leave"):
    prepare(path, tmp_path / "data", max_examples=5, beam_workers=2)
  assert not (tmp_path / "data").exists()


def test_without_beam(maker, tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  monkeypatch.delitem(sys.modules, "data.building.beam_build", raising=False)
  monkeypatch.delattr("data.building.beam_build", raising=False)
  path = str(maker.tar(maker.sample()))
  flags = ["--shards", path, f"--data_dir={tmp_path / 'data'}"]
  with pytest.raises(SystemExit, match="2"):
    main([*flags, "--beam_workers=2"])
  assert "pip install 'kosmos2_jax[beam]'" in capsys.readouterr().err
  main(flags)


def test_the_command_passes_them_on(maker, tmp_path, monkeypatch):
  asked = []
  monkeypatch.setattr(
    preparing, "_beam_config", lambda *a: asked.append(a) or {}
  )
  path = str(maker.tar(maker.sample()))
  for i, flag in enumerate(("--beam_workers=2", "--beam_options=--runner=x")):
    main(["--shards", path, f"--data_dir={tmp_path / str(i)}", flag])
  assert asked == [(None, 2, None), (None, 0, "--runner=x")]
  assert Grit.ARGUMENTS.keys().isdisjoint({"beam_workers", "beam_options"})

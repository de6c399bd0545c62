"""Prepared once, read back exactly, never half there, never online."""

import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from data.building import preparing
from data.shapes import rendering, scenes, shapes_builder

_ROOT = pathlib.Path(__file__).parents[3]
_COUNTS = {
  "train": 64,
  "validation": 16,
  "test": 16,
  "test_unseen_pairs": 16,
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  def refuse(*args, **kwargs):
    raise AssertionError(f"Tried to reach the network: {args}")

  folder = tmp_path_factory.mktemp("datasets") / "new"
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(socket, "getaddrinfo", refuse)
    patch.setattr(socket.socket, "connect", refuse)
    shapes_builder.prepare(folder, "tiny")
  return folder


@pytest.mark.parametrize("split", _COUNTS)
def test_round_trip(data_dir, split):
  builder = shapes_builder.prepare(data_dir, "tiny")
  source = builder.as_data_source(split)
  assert len(source) == _COUNTS[split]
  for index in range(len(source)):
    record = source[index]
    scene = scenes.sample_scene(0, index, split=split)
    assert record["id"].decode() == f"{split}_{index:07d}"
    assert record["caption"].decode() == scene.caption
    np.testing.assert_array_equal(record["image"], scene.image)
    for name in ("noun_chunks", "ref_exps"):
      spans, expected = record[name], getattr(scene, name)
      assert [int(start) for start in spans["start"]] == [
        span.start for span in expected
      ]
      assert [int(end) for end in spans["end"]] == [
        span.end for span in expected
      ]
      assert [float(score) for score in spans["score"]] == [
        span.score for span in expected
      ]
      np.testing.assert_array_equal(
        spans["box_xyxy"],
        np.array([span.box_xyxy for span in expected], np.float32),
      )
    expressions = record["expressions"]
    assert [text.decode() for text in expressions["text"]] == [
      expression.text for expression in scene.expressions
    ]
    np.testing.assert_array_equal(
      expressions["box_xyxy"],
      np.array([e.box_xyxy for e in scene.expressions], np.float32),
    )


def test_manifest_counts(data_dir):
  builder = shapes_builder.prepare(data_dir, "tiny")
  path = pathlib.Path(builder.data_dir) / "manifest.json"
  manifest = json.loads(path.read_text())
  assert manifest["dataset"] == "shapes"
  assert len(manifest["held_out_pairs"]) == 6
  for split, count in _COUNTS.items():
    made = [scenes.sample_scene(0, i, split=split) for i in range(count)]
    assert manifest["splits"][split] == {
      "examples": count,
      "boxes": sum(len(scene.objects) for scene in made),
      "expressions": sum(len(scene.expressions) for scene in made),
      "dropped": {},
    }


def test_second_call_writes_nothing(data_dir):
  def state():
    return {
      path: (path.stat().st_mtime_ns, path.stat().st_size)
      for path in data_dir.rglob("*")
    }

  before = state()
  shapes_builder.prepare(data_dir, "tiny")
  assert state() == before
  assert not [path for path in before if "incomplete" in path.name]


def test_an_interrupted_preparation_starts_afresh(tmp_path, monkeypatch):
  complete = rendering.render_all

  def interrupted(request, count):
    yield from complete(request, count - 1)
    raise KeyboardInterrupt

  leftover = tmp_path / "shapes" / "tiny" / "incomplete.ABCDEF_1.0.0"
  leftover.mkdir(parents=True)
  (leftover / "manifest.json").write_text("{}")
  with monkeypatch.context() as patch:
    patch.setattr(rendering, "render_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
      shapes_builder.prepare(tmp_path, "tiny")
  assert not (tmp_path / "shapes" / "tiny" / "1.0.0").exists()
  builder = shapes_builder.prepare(tmp_path, "tiny")
  assert len(builder.as_data_source("train")) == _COUNTS["train"]
  assert not leftover.exists()


def test_two_at_once_prepare_once(tmp_path, monkeypatch):
  prepared = []
  write = preparing.write
  monkeypatch.setattr(
    preparing, "write", lambda b: (prepared.append(b), write(b))
  )
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    builders = list(
      pool.map(lambda _: shapes_builder.prepare(tmp_path, "tiny"), range(2))
    )
  assert len(prepared) == 1
  for builder in builders:
    assert len(builder.as_data_source("test")) == _COUNTS["test"]


@pytest.mark.slow
def test_killed_while_preparing(tmp_path):
  program = (
    "from data.shapes import shapes_builder as s; import sys;"
    "config = s.ShapesConfig(name='some', num_train=6_000, num_test=8,"
    " num_validation=8, num_test_unseen_pairs=8);"
    "print(len(s.prepare(sys.argv[1], config).as_data_source('train')))"
  )
  command = [sys.executable, "-c", program, str(tmp_path)]
  environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
  process = subprocess.Popen(command, cwd=_ROOT, env=environment)
  folder = tmp_path / "shapes" / "some"
  deadline = time.monotonic() + 120
  while not list(folder.glob("incomplete.*")):
    assert process.poll() is None
    assert time.monotonic() < deadline
    time.sleep(0.05)
  time.sleep(0.5)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert list(folder.glob("incomplete.*"))
  assert not (folder / "1.0.0").exists()
  output = subprocess.check_output(
    command, cwd=_ROOT, env=environment, text=True
  )
  assert output.split() == ["6000"]
  assert [path.name for path in folder.iterdir() if path.is_dir()] == ["1.0.0"]


def test_other_numbers_under_the_same_name_are_refused(tmp_path):
  def config(num_train):
    return shapes_builder.ShapesConfig(
      name="mine",
      num_train=num_train,
      num_validation=2,
      num_test=2,
      num_test_unseen_pairs=0,
    )

  builder = shapes_builder.prepare(tmp_path, config(4))
  assert sorted(builder.info.splits) == ["test", "train", "validation"]
  with pytest.raises(ValueError, match=r"num_train.*delete that folder"):
    shapes_builder.prepare(tmp_path, config(5))


def test_unknown_config_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"'default', 'tiny'.*'huge'"):
    shapes_builder.prepare(tmp_path, "huge")

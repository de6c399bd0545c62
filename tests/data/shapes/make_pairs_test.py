"""Pairs of scenes: captions without boxes, and the truth apart from them."""

import json
import tarfile

import pytest

from data.building.drops import DropReport
from data.grit import shards
from data.image_text import pairs
from data.shapes import make_pairs, scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("pairs")
  make_pairs.write(folder, count=5, seed=3, num_workers=0)
  return folder


def test_captions_come_without_boxes(folder):
  shard = folder / "captions" / "00000.tar"
  with tarfile.open(shard) as tar:
    names = [name for name in tar.getnames() if name.endswith(".json")]
    fields = [json.load(tar.extractfile(name)) for name in names]
  assert len(fields) == 5
  assert not any(
    "boxes" in key or "exps" in key or "chunks" in key
    for each in fields
    for key in each
  )
  report = DropReport()
  found = list(pairs.read_pairs(shard, report, min_side=1))
  assert not report.counts
  scene = scenes.sample_scene(3, 4)
  assert (found[4].id, found[4].caption) == ("shapes_3_0000004", scene.caption)


def test_the_truth_is_that_of_the_scenes(folder):
  report = DropReport()
  found = list(shards.read_shards([folder / "truth" / "00000.tar"], report))
  assert not report.counts
  for number, record in enumerate(found):
    scene = scenes.sample_scene(3, number)
    assert record.caption == scene.caption
    for name in make_pairs.LISTS:
      assert [
        (item.start, item.end, item.score) for item in getattr(record, name)
      ] == [(s.start, s.end, s.score) for s in getattr(scene, name)]
      for item, span in zip(
        getattr(record, name), getattr(scene, name), strict=True
      ):
        assert item.box_xyxy == pytest.approx(span.box_xyxy, abs=1e-7)


def test_shards_of_a_thousand(tmp_path, monkeypatch):
  monkeypatch.setattr(make_pairs, "SHARD_SIZE", 2)
  make_pairs.write(tmp_path, count=3, seed=0, num_workers=0)
  names = sorted(path.name for path in (tmp_path / "truth").iterdir())
  assert names == ["00000.tar", "00001.tar"]
  [record] = shards.read_shards([tmp_path / "truth" / names[1]], DropReport())
  assert record.id == "shapes_0_0000002"


def test_nothing_is_overwritten(folder, capsys):
  with pytest.raises(SystemExit) as stopped:
    make_pairs.main([f"--output={folder}", "--count=1"])
  assert stopped.value.code == 2
  assert "captions is there; name another folder" in capsys.readouterr().err


def test_no_scene(tmp_path, capsys):
  with pytest.raises(SystemExit) as stopped:
    make_pairs.main([f"--output={tmp_path}", "--count=0"])
  assert stopped.value.code == 2
  assert "expected a count of 1 or more, found 0" in capsys.readouterr().err

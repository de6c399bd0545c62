"""Pictures of cut-outs over photographs: boxes of masks, nothing seen twice."""

import json
import random

import numpy as np
import pytest
from PIL import Image

from data.jsonl import files as reading
from data.jsonl import make_stamps

# Longer than wide, with a border that is not there.
SIZE, MARGIN = (30, 20), 7


@pytest.fixture
def stamps(tmp_path, monkeypatch):
  """Eight cut-outs of each kind, each of one colour of its own."""
  folder = tmp_path / "stamps"
  for number, places in enumerate(make_stamps.KINDS.values()):
    place = folder / places[0]
    place.mkdir(parents=True)
    for index in range(8):
      width, height = SIZE
      pixels = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN, 4), np.uint8)
      # What is hardly to be seen is no part of it.
      pixels[..., 3] = make_stamps.OPAQUE // 2
      inside = (slice(MARGIN, -MARGIN),) * 2
      pixels[inside] = (50 * number + 40, 30 * index, 255, 255)
      Image.fromarray(pixels).save(place / f"{index}.png")
    Image.new("RGBA", (9, 9)).save(place / "0_mirror.png")
  monkeypatch.setattr(make_stamps, "STAMPS", folder)
  return folder


def _color(cutout):
  return cutout.getpixel((cutout.width // 2, cutout.height // 2))[:3]


def test_cut_outs_are_cropped_and_divided(stamps):
  seen, unseen = make_stamps.read_cutouts(stamps)
  for kind in make_stamps.KINDS:
    assert (len(seen[kind]), len(unseen[kind])) == (6, 2)
    every = seen[kind] + unseen[kind]
    assert {cutout.size for cutout in every} == {SIZE}
    assert len({_color(cutout) for cutout in every}) == 8


def test_a_box_is_where_the_thing_is(stamps):
  seen, _ = make_stamps.read_cutouts(stamps)
  grey = Image.new("RGB", (200, 150), (128, 128, 128))
  for number in range(20):
    draws = random.Random(number)
    picture, placed = make_stamps.make_picture(seen, [grey], draws)
    assert 2 <= len(placed) <= 3
    assert len({kind for kind, _ in placed}) == len(placed)
    changed = np.any(np.asarray(picture) != 128, axis=-1)
    for _, (x1, y1, x2, y2) in placed:
      assert changed[y1:y2, x1:x2].all()
      longer = max(x2 - x1, y2 - y1) / make_stamps.SIDE
      assert make_stamps.SMALLEST - 0.01 < longer < make_stamps.LARGEST + 0.01
      changed[y1:y2, x1:x2] = False
    assert not changed.any()


def test_files_are_lines_that_can_be_trained_on(stamps, tmp_path):
  counts = {"train": 4, "validation": 2, "test": 3}
  for name in ("one", "two"):
    assert make_stamps.write(tmp_path / name, counts, seed=3) == 9
  file = tmp_path / "one" / "stamps.jsonl"
  assert file.read_bytes() == (tmp_path / "two/stamps.jsonl").read_bytes()
  lines = [json.loads(line) for line in file.read_text().splitlines()]
  splits = [line["split"] for line in lines]
  assert splits == ["train"] * 4 + ["validation"] * 2 + ["test"] * 3
  assert reading.splits_of(file)
  for line in lines:
    with Image.open(tmp_path / "one" / line["image"]) as picture:
      assert picture.size == (make_stamps.SIDE,) * 2
    assert len(line["expressions"]) >= 2
  # Fewer lines are the first of more.
  make_stamps.write(tmp_path / "few", {**counts, "train": 2}, seed=3)
  few = (tmp_path / "few/stamps.jsonl").read_text().splitlines()
  assert few[:2] == file.read_text().splitlines()[:2]


def test_without_the_package_it_says_what_to_install(tmp_path, capsys):
  with pytest.raises(FileNotFoundError, match="apt-get install tuxpaint"):
    make_stamps.read_cutouts(tmp_path)
  assert make_stamps.main(["make_stamps", "--target=x", "--lines=0"]) == 2
  assert "make_stamps: " in capsys.readouterr().err

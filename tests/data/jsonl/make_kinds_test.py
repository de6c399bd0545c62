"""Scenes of new kinds and colours: boxes of masks, pairs that are held out."""

import json

import numpy as np
import pytest

from data.jsonl import files as reading
from data.jsonl import make_kinds
from data.shapes import world
from data.shapes.draws import Draws


def test_nothing_is_known_from_before():
  assert not set(make_kinds.COLORS) & set(world.COLORS)
  assert not set(make_kinds.KINDS) & set(world.KINDS)
  colors, kinds = zip(*make_kinds.HELD_OUT, strict=True)
  assert set(colors) == set(make_kinds.COLORS)
  assert len(set(kinds)) == len(kinds)
  assert set(kinds) < set(make_kinds.KINDS)


@pytest.mark.parametrize("kind", make_kinds.KINDS)
def test_a_mask_is_a_thing(kind):
  covered = make_kinds.mask(kind, 20)
  assert covered.shape == (20, 20)
  assert (covered.min(), covered.max()) == (0, 1)
  # From one side to the other at least: the box is about as large as said.
  assert max((covered.max(axis) >= 0.5).sum() for axis in (0, 1)) >= 19
  assert 0.2 < covered.mean() < 0.8


def test_another_kind_is_told():
  with pytest.raises(ValueError, match="found 'circle'"):
    make_kinds.mask("circle", 20)


@pytest.mark.parametrize("split", make_kinds.SPLITS)
def test_pairs_of_a_split(split):
  seen = []
  for number in range(60):
    draws = Draws(0, make_kinds.SPLITS.index(split), number)
    pixels, placed = make_kinds.make_scene(split, draws)
    assert pixels.shape == (64, 64, 3)
    pairs = [thing[:2] for thing in placed]
    assert len(set(pairs)) == len(pairs)
    held_out = [pair in make_kinds.HELD_OUT for pair in pairs]
    assert held_out == [split == "test", *[False] * (len(pairs) - 1)]
    for color, _, (x1, y1, x2, y2) in placed:
      assert 0 <= x1 < x2 <= 64
      assert 0 <= y1 < y2 <= 64
      # Its colour is on each side of its box, and far from it is not outside.
      wanted = np.array(make_kinds.COLORS[color])
      near = np.abs(pixels.astype(int) - wanted).max(axis=-1) < 70
      inside = near[y1:y2, x1:x2]
      assert inside.any()
    seen += pairs
  assert len({color for color, _ in seen}) == len(make_kinds.COLORS)


def test_files_are_lines_that_can_be_trained_on(tmp_path):
  counts = {"train": 3, "validation": 2, "test": 2}
  for name in ("one", "two"):
    assert make_kinds.write(tmp_path / name, counts, seed=5) == 7
  file = tmp_path / "one" / "kinds.jsonl"
  assert file.read_bytes() == (tmp_path / "two/kinds.jsonl").read_bytes()
  assert reading.splits_of(file)
  lines = [json.loads(line) for line in file.read_text().splitlines()]
  asked = [len(line["expressions"]) for line in lines]
  assert min(asked[:5]) >= 2
  assert asked[5:] == [1, 1]
  make_kinds.write(tmp_path / "few", {**counts, "train": 1}, seed=5)
  few = (tmp_path / "few/kinds.jsonl").read_text().splitlines()
  assert few[0] == file.read_text().splitlines()[0]


def test_mistakes_are_one_sentence(capsys):
  assert make_kinds.main(["make_kinds"]) == 2
  assert make_kinds.main(["make_kinds", "--target=x", "--lines=0"]) == 2
  assert capsys.readouterr().err.count("make_kinds: ") == 2

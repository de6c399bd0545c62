"""Makes a small domain of your own kind: real cut-outs over photographs.

  apt-get install tuxpaint-stamps-default
  python -m data.jsonl.make_stamps --target=raw/stamps --lines=300

Debian's package holds photographic cut-outs with exact masks, in folders that
say what they show. They are read where it puts them and copied nowhere but into
the pictures, which stay on your machine: the cut-outs are GPL-2.

Every picture has two or three things of different kinds over a part of a
photograph of `example/`, and its line has an expression for each, such as "the
bird", with the box of its mask. Three splits:

  train       cut-outs and photographs of their own
  validation  the same cut-outs over photographs that training has not
  test        cut-outs that are in neither of the others, over those photographs

so no pixel of a test picture was trained on. The same seed makes the same
files, and fewer lines are the first of more.
"""

import json
import pathlib
import random
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from absl import flags
from PIL import Image

STAMPS = pathlib.Path("/usr/share/tuxpaint/stamps")
PHOTOS = pathlib.Path(__file__).parent / "example"
# Folders of the package by what they show.
KINDS = {
  "bird": ("animals/birds",),
  "flower": ("plants/flowers",),
  "fruit": ("food/fruit",),
  "coin": (
    "symbols/money/euro/coins",
    "symbols/money/us/coins",
    "symbols/money/canadian/coins",
  ),
}
# Every so many-th cut-out of a kind is for the test alone.
EVERY = 4
HELD_OUT_PHOTOS = ("astronaut.jpg", "hubble_deep_field.jpg", "retina.jpg")
SPLITS = ("train", "validation", "test")
SIDE = 128  # of a picture, in pixels
# Longer side of a thing, as a part of that.
SMALLEST, LARGEST = 0.3, 0.5
# An alpha from which a pixel is of the thing.
OPAQUE = 128

Cutouts = Mapping[str, Sequence[Image.Image]]


def read_cutouts(
  folder: pathlib.Path,
) -> tuple[dict[str, list[Image.Image]], dict[str, list[Image.Image]]]:
  """The cut-outs of each kind, RGBA: those to train on, and those held out.

  Raises:
    FileNotFoundError: if a kind has too few.
  """
  seen, unseen = {}, {}
  for kind, places in KINDS.items():
    files = [
      file
      for place in places
      for file in sorted((folder / place).glob("*.png"))
      # Mirrored ones are the same thing once more.
      if not file.stem.endswith(("_mirror", "_flip"))
    ]
    if len(files) < EVERY:
      raise FileNotFoundError(
        f"expected pictures of a {kind} in {', '.join(places)} of"
        f" {str(folder)!r}, found {len(files)}: run apt-get install"
        " tuxpaint-stamps-default"
      )
    cut = [_crop(Image.open(file).convert("RGBA")) for file in files]
    unseen[kind] = cut[EVERY - 1 :: EVERY]
    seen[kind] = [
      one for place, one in enumerate(cut) if place % EVERY != EVERY - 1
    ]
  return seen, unseen


def make_picture(
  cutouts: Cutouts, photos: Sequence[Image.Image], draws: random.Random
) -> tuple[Image.Image, list[tuple[str, tuple[int, int, int, int]]]]:
  """A picture of `SIDE` pixels, and its kinds with the boxes of their masks.

  Things do not overlap; one that finds no room in a hundred tries is left out,
  and a picture that is left with one thing is drawn again.
  """
  placed = []
  while len(placed) < 2:
    picture, placed = _draw(cutouts, photos, draws)
  return picture, placed


def _draw(cutouts, photos, draws):
  """One try of `make_picture`."""
  photo = draws.choice(photos)
  part = draws.randint(min(photo.size) // 2, min(photo.size))
  left, top = (draws.randint(0, side - part) for side in photo.size)
  picture = photo.crop((left, top, left + part, top + part))
  picture = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
  placed = []
  for kind in draws.sample(sorted(cutouts), draws.choice((2, 3, 3))):
    thing = draws.choice(cutouts[kind])
    if draws.random() < 0.5:
      thing = thing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    longer = SIDE * draws.uniform(SMALLEST, LARGEST)
    sides = [max(8, round(s * longer / max(thing.size))) for s in thing.size]
    thing = _crop(thing.resize(sides, Image.Resampling.BICUBIC))
    for _ in range(100):
      x, y = (draws.randint(0, SIDE - side) for side in thing.size)
      box = (x, y, x + thing.width, y + thing.height)
      if not any(_overlap(box, other) for _, other in placed):
        picture.paste(thing, (x, y), thing)
        placed.append((kind, box))
        break
  return picture, placed


def write(folder: pathlib.Path, counts: Mapping[str, int], seed: int) -> int:
  """Writes `stamps.jsonl` and its pictures; returns the number of lines.

  Args:
    folder: made if it does not exist.
    counts: lines of each split.
    seed: another one gives other pictures.

  Raises:
    FileNotFoundError: without the cut-outs.
  """
  seen, unseen = read_cutouts(STAMPS)
  photos = {
    file.name: Image.open(file).convert("RGB")
    for file in sorted(PHOTOS.glob("*.jpg"))
  }
  held_out = [photos.pop(name) for name in HELD_OUT_PHOTOS]
  (folder / "pictures").mkdir(parents=True, exist_ok=True)
  lines = []
  for split in SPLITS:
    cutouts = unseen if split == "test" else seen
    over = list(photos.values()) if split == "train" else held_out
    for number in range(counts[split]):
      draws = random.Random(f"{seed}/{split}/{number}")
      picture, placed = make_picture(cutouts, over, draws)
      name = f"pictures/{split}_{number:05d}.png"
      picture.save(folder / name)
      fields = {
        "image": name,
        "split": split,
        "box_format": "pixels",
        "expressions": [
          {"text": f"the {kind}", "box": list(box)} for kind, box in placed
        ],
      }
      lines.append(json.dumps(fields))
  text = "".join(f"{line}\n" for line in lines)
  (folder / "stamps.jsonl").write_text(text, encoding="utf-8")
  return len(lines)


def _crop(thing: Image.Image) -> Image.Image:
  """What of a cut-out is opaque, to the pixel."""
  mask = np.asarray(thing.getchannel("A")) >= OPAQUE
  [rows], [columns] = (np.nonzero(mask.any(axis)) for axis in (1, 0))
  return thing.crop(
    (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
  )


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
  return all(
    one[axis] < other[axis + 2] and other[axis] < one[axis + 2]
    for axis in (0, 1)
  )


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_string("target", None, "Folder.", required=True, **define)
  for split, count in zip(SPLITS, (300, 200, 200), strict=True):
    name = "lines" if split == "train" else f"{split}_lines"
    flags.DEFINE_integer(
      name, count, f"Pictures of {split}.", lower_bound=1, **define
    )
  flags.DEFINE_integer("seed", 0, "Of the pictures.", **define)
  try:
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    read(list(argv))
    counts = {
      "train": read.lines,
      "validation": read.validation_lines,
      "test": read.test_lines,
    }
    target = pathlib.Path(read.target)
    number = write(target, counts, read.seed)
    print(f"wrote {number} lines: {target / 'stamps.jsonl'}")
    return 0
  except (flags.Error, OSError) as error:
    print(f"make_stamps: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
  sys.exit(main(sys.argv))

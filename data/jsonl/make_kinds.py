"""Makes a new domain for the shapes model: kinds and colours it never saw.

  python -m data.jsonl.make_kinds --target=raw/kinds --lines=300

Scenes of two to four things on the backgrounds of `data/shapes`, in a JSONL
file with an expression for each, such as "the pink heart", and the box of its
pixels. No kind and no colour is one of `data/shapes`. Three splits:

  train       all pairs of colour and kind but for `HELD_OUT`
  validation  other scenes of the same pairs
  test        in each scene one thing of a held-out pair, and its expression
              alone: the model has seen its colour and its kind, not together

The same seed makes the same files, and fewer lines are the first of more.
"""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from absl import flags
from PIL import Image, ImageDraw

from data.shapes import drawing
from data.shapes.draws import Draws

# Words that are one token of the small tokenizer each.
COLORS = {
  "pink": (255, 150, 190),
  "brown": (125, 66, 20),
  "black": (6, 6, 6),
  "mustard": (190, 150, 10),
}
KINDS = ("heart", "ring", "moon", "tree", "house", "hexagon")
# A pair of each colour, no kind twice.
HELD_OUT = (
  ("pink", "moon"),
  ("brown", "heart"),
  ("black", "tree"),
  ("mustard", "ring"),
)
SPLITS = ("train", "validation", "test")
SIDE = 64
SMALLEST, LARGEST = 14, 30  # of a thing, in pixels
_FINE = 8  # pixels are drawn so fine, and averaged

Placed = tuple[str, str, tuple[int, int, int, int]]


def mask(kind: str, side: int) -> np.ndarray:
  """How much of each pixel a thing covers, float32 [side, side] in 0..1.

  Raises:
    ValueError: for a kind that is none of `KINDS`.
  """
  n = side * _FINE
  image = Image.new("L", (n, n))
  draw = ImageDraw.Draw(image)

  def polygon(*points):
    draw.polygon([(x * (n - 1), y * (n - 1)) for x, y in points], fill=255)

  def disc(x, y, radius, fill=255):
    box = [(v - radius) * (n - 1) for v in (x, y)]
    box += [(v + radius) * (n - 1) for v in (x, y)]
    draw.ellipse(box, fill=fill)

  match kind:
    case "heart":
      disc(0.27, 0.3, 0.27)
      disc(0.73, 0.3, 0.27)
      polygon((0.05, 0.45), (0.95, 0.45), (0.5, 1.0))
    case "ring":
      disc(0.5, 0.5, 0.5)
      disc(0.5, 0.5, 0.27, fill=0)
    case "moon":
      disc(0.5, 0.5, 0.5)
      disc(0.8, 0.5, 0.45, fill=0)
    case "tree":
      polygon((0.5, 0), (1, 0.6), (0, 0.6))
      polygon((0.36, 0.6), (0.64, 0.6), (0.64, 1), (0.36, 1))
    case "house":
      polygon((0.5, 0), (1, 0.4), (0, 0.4))
      polygon((0.12, 0.4), (0.88, 0.4), (0.88, 1), (0.12, 1))
    case "hexagon":
      polygon((0.25, 0), (0.75, 0), (1, 0.5), (0.75, 1), (0.25, 1), (0, 0.5))
    case _:
      raise ValueError(f"expected a kind of {KINDS}, found {kind!r}")
  fine = np.asarray(image, np.float32) / 255
  return fine.reshape(side, _FINE, side, _FINE).mean(axis=(1, 3))


def make_scene(split: str, draws: Draws) -> tuple[np.ndarray, list[Placed]]:
  """A picture, uint8 [SIDE, SIDE, 3], and its things: colour, kind, box.

  Things do not overlap, and no two of them are of one pair. In the test the
  first one is of a held-out pair, and the others share its colour or its kind
  more often than not.
  """
  picture = drawing.background(draws.choice(drawing.BACKGROUNDS), draws, SIDE)
  pairs = [
    (color, kind)
    for color in COLORS
    for kind in KINDS
    if (color, kind) not in HELD_OUT
  ]
  placed: list[Placed] = []
  wanted = draws.integer(2, 4)
  for _ in range(200):
    if len(placed) == wanted:
      break
    color, kind = draws.choice(pairs)
    if split == "test" and not placed:
      color, kind = draws.choice(HELD_OUT)
    elif placed and draws.chance(0.5):
      # As in the scenes the model is from: one word alone is not enough.
      one = placed[0]
      like = [pair for pair in pairs if one[0] == pair[0] or one[1] == pair[1]]
      color, kind = draws.choice(like)
    covered = mask(kind, draws.integer(SMALLEST, LARGEST))
    rows, columns = (np.nonzero(covered.max(axis) >= 0.5)[0] for axis in (1, 0))
    covered = covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = covered.shape
    x, y = draws.integer(0, SIDE - width), draws.integer(0, SIDE - height)
    box = (x, y, x + width, y + height)
    if any(
      (color, kind) == other[:2] or _overlap(box, other[2]) for other in placed
    ):
      continue
    rgb = np.array(COLORS[color], np.float32) + [
      draws.uniform(-8.0, 8.0) for _ in range(3)
    ]
    patch = picture[:, y : y + height, x : x + width]
    patch += covered * (rgb.astype(np.float32)[:, None, None] - patch)
    placed.append((color, kind, box))
  pixels = np.clip(np.round(picture), 0, 255).astype(np.uint8)
  return np.ascontiguousarray(pixels.transpose(1, 2, 0)), placed


def write(folder: pathlib.Path, counts: Mapping[str, int], seed: int) -> int:
  """Writes `kinds.jsonl` and its pictures; returns the number of lines.

  Args:
    folder: made if it does not exist.
    counts: lines of each split.
    seed: another one gives other scenes.
  """
  (folder / "pictures").mkdir(parents=True, exist_ok=True)
  lines = []
  for stream, split in enumerate(SPLITS):
    for number in range(counts[split]):
      pixels, placed = make_scene(split, Draws(seed, stream, number))
      name = f"pictures/{split}_{number:05d}.png"
      Image.fromarray(pixels).save(folder / name)
      asked = placed[:1] if split == "test" else placed
      fields = {
        "image": name,
        "split": split,
        "box_format": "pixels",
        "expressions": [
          {"text": f"the {color} {kind}", "box": list(box)}
          for color, kind, box in asked
        ],
      }
      lines.append(json.dumps(fields))
  text = "".join(f"{line}\n" for line in lines)
  (folder / "kinds.jsonl").write_text(text, encoding="utf-8")
  return len(lines)


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
  """Whether boxes overlap, or are less than a pixel apart."""
  return all(
    one[axis] <= other[axis + 2] and other[axis] <= one[axis + 2]
    for axis in (0, 1)
  )


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_string("target", None, "Folder.", required=True, **define)
  for split, count in zip(SPLITS, (300, 100, 300), strict=True):
    name = "lines" if split == "train" else f"{split}_lines"
    flags.DEFINE_integer(
      name, count, f"Pictures of {split}.", lower_bound=1, **define
    )
  flags.DEFINE_integer("seed", 0, "Of the scenes.", lower_bound=0, **define)
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
    print(f"wrote {number} lines: {target / 'kinds.jsonl'}")
    return 0
  except (flags.Error, OSError) as error:
    print(f"make_kinds: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
  sys.exit(main(sys.argv))

"""Writes scenes as pictures with captions alone, and apart from them the truth.

  python -m data.shapes.make_pairs --output=pairs --count=20000 --seed=1

`pairs/captions` has shards as img2dataset writes them, without any box: what a
builder of grounded pairs is given. `pairs/truth` has the same records as GrIT's
shards, with the true boxes of every phrase: what its work is compared with, and
the training data of a model that is taught the truth. With another seed than
the data set's (0) the scenes are none that a model of `configs/shapes.py` saw.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from data.grit.build import writing
from data.shapes import rendering

SHARD_SIZE = 1000
FOLDERS = ("captions", "truth")
LISTS = ("noun_chunks", "ref_exps")


def items(spans: dict[str, list]) -> list[writing.Item]:
  """Columns of spans as GrIT's items, in their order."""
  columns = (spans[name] for name in ("start", "end", "box_xyxy", "score"))
  return [
    [start, end, *map(float, box), float(score)]
    for start, end, box, score in zip(*columns, strict=True)
  ]


def write(
  folder: pathlib.Path, *, count: int, seed: int, num_workers: int | None = None
) -> None:
  """Writes both sets of shards.

  Args:
    folder: gets the folders `captions` and `truth`, which must not be there.
    count: scenes.
    seed: of the scenes.
    num_workers: processes that render; see `rendering.render_all`.

  Raises:
    FileExistsError: one of the folders is there.
  """
  for name in FOLDERS:
    (folder / name).mkdir(parents=True, exist_ok=False)
  request = rendering.Request("train", seed, 1, 4, 64)
  records = rendering.render_all(request, count, num_workers=num_workers)
  for first in range(0, count, SHARD_SIZE):
    shard = f"{first // SHARD_SIZE:05d}.tar"
    with (
      writing.ShardWriter(folder / "captions" / shard) as captions,
      writing.ShardWriter(folder / "truth" / shard) as truth,
    ):
      for number in range(first, min(first + SHARD_SIZE, count)):
        record = next(records)
        key, fields = f"{number:09d}", _fields(record, number, seed)
        picture, caption = record["image"], record["caption"]
        captions.add(key, picture, "png", fields, caption)
        boxes = {name: items(record[name]) for name in LISTS}
        truth.add(key, picture, "png", fields | boxes, caption)


def _fields(record: dict[str, Any], number: int, seed: int) -> dict[str, Any]:
  return {
    "id": f"shapes_{seed}_{number:07d}",
    "url": "",
    "caption": record["caption"],
    "status": "success",
  }


def main(arguments: Sequence[str] | None = None) -> None:
  """Writes the shards and prints where they are."""
  parser = argparse.ArgumentParser(
    prog="python -m data.shapes.make_pairs",
    description="Scenes with captions alone, and apart from them the truth.",
  )
  parser.add_argument("--output", required=True, help="a folder")
  parser.add_argument("--count", type=int, default=20_000, help="scenes")
  parser.add_argument("--seed", type=int, default=1, help="of the scenes")
  flags = parser.parse_args(arguments)
  folder = pathlib.Path(flags.output).expanduser()
  if flags.count < 1:
    parser.exit(
      2, f"error: expected a count of 1 or more, found {flags.count}\n"
    )
  try:
    write(folder, count=flags.count, seed=flags.seed)
  except FileExistsError as error:
    parser.exit(2, f"error: {error.filename} is there; name another folder\n")
  for name in FOLDERS:
    print(folder / name)


if __name__ == "__main__":
  main()

"""The same few answers of every evaluation, to see a model learn.

samples/<step>.json           what was said, and what is true
samples/pictures/<hash>.png   what it was asked about, once for all steps
samples/first_batch.png       rows of the first batch of the last start

Which questions: the first of a fixed random order, as many of each task as an
evaluation shows random ones. The first evaluation chooses; all later ones
show the same, also the last one, which may ask more.
"""

import hashlib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8
from PIL import Image

from kosmos2_jax.evals import cases, html_cards
from kosmos2_jax.evals.protocol import Outcome, View
from kosmos2_jax.text.grounded import Box, Phrase
from kosmos2_jax.training import workdir

FOLDER = "samples"
FIRST_BATCH_FILE = "first_batch.png"
# Steps that are kept; the first and the last one always are.
MAX_STEPS = 12
# Longer sides are reduced.
MAX_SIDE = 320
MAX_BATCH_SIDE = 2400
# Characters of a line that are kept.
MAX_LINE = 1000


def spread(steps: Sequence[int], most: int = MAX_STEPS) -> list[int]:
  """Steps without those whose going leaves the smallest gaps.

  Args:
    steps: ascending.
    most: how many may be left, at least 2; first and last always are.
  """
  kept = list(steps)
  while len(kept) > most:
    inner = range(1, len(kept) - 1)
    del kept[min(inner, key=lambda i: kept[i + 1] - kept[i - 1])]
  return kept


class Samples:
  """The folder `samples` of a workdir.

  Args:
    folder: the workdir.
  """

  def __init__(self, folder: str | os.PathLike):
    self._folder = epath.Path(folder) / FOLDER

  def steps(self) -> list[int]:
    """Steps of which there are answers, ascending."""
    if not self._folder.is_dir():
      return []
    names = [path.name.removesuffix(".json") for path in self._folder.iterdir()]
    return sorted(int(name) for name in names if name.isdecimal())

  def read(self, step: int) -> list[dict[str, Any]]:
    """The answers of a step; see `_entry` for their fields.

    Raises:
      ValueError: if the file holds something else.
    """
    try:
      found = json.loads(self._path(step).read_text())["samples"]
      for entry in found:
        view_of(entry)
        if entry["picture"] is not None:
          entry["picture"]["file"], entry["picture"]["size"]
      return found
    except (KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f"{self._path(step).name} is no file of samples"
        f" ({type(error).__name__}: {error})"
      ) from error

  def picture(self, name: str) -> bytes:
    """An encoded picture; FileNotFoundError if it is gone."""
    return (self._folder / "pictures" / name).read_bytes()

  def first_batch(self) -> bytes | None:
    """Rows of a batch as PNG, if there are any."""
    path = self._folder / FIRST_BATCH_FILE
    return path.read_bytes() if path.exists() else None

  def write(self, step: int, outcomes: Mapping[str, Outcome]) -> None:
    """Keeps answers of an evaluation, and drops steps if they become many.

    Tasks that were evaluated after the same step before are replaced.
    """
    steps = self.steps()
    before = self.read(step) if step in steps else []
    # The newest first: a task's questions may have changed.
    known = [s for n in reversed(steps) for s in self.read(n)]
    found = [entry for entry in before if entry["task"] not in outcomes]
    for task, outcome in outcomes.items():
      ids = [s["id"] for s in known if s["task"] == task]
      for index in _chosen(outcome, dict.fromkeys(ids)):
        pictures = outcome.pictures.get(index, ())
        shown = self._keep(pictures[-1]) if pictures else None
        entry = _entry(task, outcome, index)
        for old in known:
          # Of a longer evaluation only other pictures are at hand.
          if not shown and (old["task"], old["id"]) == (task, entry["id"]):
            shown = old["picture"]
        found.append(entry | {"picture": shown})
    if not found:
      return
    self._folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"step": step, "samples": found}) + "\n"
    workdir.write_whole(self._path(step), content.encode())
    steps = sorted({*steps, step})
    for dropped in set(steps) - set(spread(steps)):
      self._path(dropped).unlink(missing_ok=True)

  def write_first_batch(
    self, sheet: UInt8[np.ndarray, "height width 3"]
  ) -> None:
    """Keeps a sheet of rows, see `drawing.draw_rows`."""
    image = Image.fromarray(sheet)
    image.thumbnail((MAX_BATCH_SIDE, MAX_BATCH_SIDE), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    # Few colours but for the pictures: a third of the bytes.
    image.quantize(256, dither=Image.Dither.NONE).save(encoded, "PNG")
    self._folder.mkdir(parents=True, exist_ok=True)
    workdir.write_whole(self._folder / FIRST_BATCH_FILE, encoded.getvalue())

  def cut(self, step: int) -> None:
    """Removes what is of later steps, which will be done again."""
    for late in self.steps():
      if late > step:
        self._path(late).unlink(missing_ok=True)

  def _path(self, step):
    return self._folder / f"{step}.json"

  def _keep(self, picture):
    """Writes a picture if it is not there; returns its name and size."""
    content, kind, size = html_cards.encode(picture, MAX_SIDE)
    name = f"{hashlib.sha256(content).hexdigest()[:16]}.{kind}"
    path = self._folder / "pictures" / name
    if not path.exists():
      path.parent.mkdir(parents=True, exist_ok=True)
      workdir.write_whole(path, content)
    is_small = max(picture.shape[:2]) <= html_cards.SMALL_SIDE
    return {"file": name, "size": list(size), "is_small": is_small}


def _chosen(outcome: Outcome, known: Mapping[str, Any]) -> Iterator[int]:
  """Indices of the records to keep, in the order in which they are shown."""
  places = {record.id: i for i, record in enumerate(outcome.records)}
  again = [places[name] for name in known if name in places]
  if again:
    return iter(again)
  count = max(map(len, outcome.cases.values()), default=0)
  return iter(cases.drawn_order(len(outcome.records))[:count])


def _entry(task: str, outcome: Outcome, index: int) -> dict[str, Any]:
  record, quality = outcome.records[index], outcome.scores.quality
  view = outcome.evaluator.view(record)
  value = None if quality is None else float(quality[index])
  return {
    "task": task,
    "id": record.id,
    "quality": value if value is not None and math.isfinite(value) else None,
    "predicted": _to_json(view.predicted),
    "annotated": _to_json(view.annotated),
    "lines": [
      line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} …"
      for line in view.lines
    ],
  }


def _to_json(phrases: Sequence[Phrase]) -> list[dict[str, Any]]:
  return [
    {
      "text": phrase.text,
      "boxes": [{"xyxy": b.xyxy, "score": b.score} for b in phrase.boxes],
    }
    for phrase in phrases
  ]


def view_of(entry: Mapping[str, Any]) -> View:
  """An answer as people see it; spans are not kept."""
  predicted, annotated = (
    tuple(
      Phrase(
        phrase["text"],
        (0, 0),
        [Box(box["xyxy"], box["score"]) for box in phrase["boxes"]],
      )
      for phrase in entry[kind]
    )
    for kind in ("predicted", "annotated")
  )
  return View(predicted, annotated, tuple(entry["lines"]))

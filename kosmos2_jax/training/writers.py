"""Writers of metrics that need nothing but this project."""

import json
import math
import os
import time
from collections.abc import Mapping

from clu import metric_writers
from etils import epath

FILE = "metrics.jsonl"  # below the workdir


class SilentWriter(metric_writers.MetricWriter):
  """Takes everything and writes nothing: a base for those that write a part."""

  def write_summaries(self, step, values, metadata=None) -> None:
    """Nothing."""

  def write_scalars(self, step, scalars) -> None:
    """Nothing."""

  def write_images(self, step, images) -> None:
    """Nothing."""

  def write_videos(self, step, videos) -> None:
    """Nothing."""

  def write_audios(self, step, audios, *, sample_rate) -> None:
    """Nothing."""

  def write_texts(self, step, texts) -> None:
    """Nothing."""

  def write_histograms(self, step, arrays, num_buckets=None) -> None:
    """Nothing."""

  def write_hparams(self, hparams) -> None:
    """Nothing."""

  def flush(self) -> None:
    """Nothing."""

  def close(self) -> None:
    """Nothing."""


class MetricsFile(SilentWriter):
  """`metrics.jsonl`: a line of JSON for each set of numbers.

  A line is `{"step": …, "time": …, NAME: value, …}`; `time` is seconds since
  1970, numbers that are not finite are null. A line is on its way to the disk
  before the call returns, so that a killed process loses none.

  Args:
    folder: the workdir.
  """

  def __init__(self, folder: str | os.PathLike):
    self._path = epath.Path(folder) / FILE

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Appends a line."""
    numbers = {name: float(value) for name, value in scalars.items()}
    row = {
      "step": step,
      "time": round(time.time(), 3),
      **{k: v if math.isfinite(v) else None for k, v in numbers.items()},
    }
    with self._path.open("a") as file:
      file.write(json.dumps(row) + "\n")

  def cut(self, step: int) -> int:
    """Removes what was written after a step, which will be done again.

    So is a last line that a killed process left unfinished.

    Returns:
      How many lines were removed.
    """
    if not self._path.exists():
      return 0
    lines = self._path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if _is_until(step, line)]
    if len(kept) < len(lines):
      write_whole(self._path, "".join(kept))
    return len(lines) - len(kept)


def write_whole(path: epath.Path, text: str) -> None:
  """Replaces a file's text, or leaves it, whenever the process is killed."""
  unfinished = path.with_name(path.name + ".tmp")
  unfinished.write_text(text)
  unfinished.replace(path)


def _is_until(step: int, line: str) -> bool:
  try:
    return line.endswith("\n") and json.loads(line)["step"] <= step
  except (ValueError, KeyError, TypeError):
    return False

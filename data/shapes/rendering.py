"""Renders scenes to records in several processes, in order.

The worker processes are started as `python -m data.shapes.rendering`, not by
`multiprocessing`: forking a process that holds TensorFlow or JAX threads can
deadlock, and spawning imports the caller's main module, with TensorFlow and
JAX, once more in every worker. These workers import neither.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data.shapes import language, scenes

_CHUNK = 128
# Below this many scenes starting processes costs more than it saves.
_WORTH_A_PROCESS = 512
# With no row filter: less than half of Pillow's time and no larger, as pictures
# have few colours. PNG rather than JPEG because it keeps pixels exact, decodes
# as fast, and is no larger here than JPEG of quality 95.
_ZLIB_LEVEL = 3
_ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Request:
  """Which scenes to render; the fields are arguments of `sample_scene`."""

  split: str
  seed: int
  min_shapes: int
  max_shapes: int
  image_size: int


def encode_png(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
  """Encodes an image, uint8 [height, width, 3], as a PNG file (RFC 2083)."""
  height, width, _ = image.shape
  rows = np.zeros((height, 1 + 3 * width), np.uint8)  # Column 0: no filter.
  rows[:, 1:] = image.reshape(height, 3 * width)
  chunks = [
    # 8 bits, RGB, deflate, standard filters, not interlaced.
    (b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)),
    (b"IDAT", zlib.compress(rows.tobytes(), _ZLIB_LEVEL)),
    (b"IEND", b""),
  ]
  encoded = b"\x89PNG\r\n\x1a\n"
  for name, data in chunks:
    checksum = zlib.crc32(name + data)
    encoded += struct.pack(">I", len(data)) + name + data
    encoded += struct.pack(">I", checksum)
  return encoded


def _columns(spans: Sequence[language.Span]) -> dict[str, list]:
  return {
    "start": [span.start for span in spans],
    "end": [span.end for span in spans],
    "box_xyxy": [span.box_xyxy for span in spans],
    "score": [span.score for span in spans],
  }


def render(request: Request, index: int) -> dict[str, Any]:
  """Scene `index` as a record of the dataset, its image encoded as PNG."""
  scene = scenes.sample_scene(
    request.seed,
    index,
    split=request.split,
    min_shapes=request.min_shapes,
    max_shapes=request.max_shapes,
    image_size=request.image_size,
  )
  return {
    "id": f"{request.split}_{index:07d}",
    "image": encode_png(scene.image),
    "caption": scene.caption,
    "noun_chunks": _columns(scene.noun_chunks),
    "ref_exps": _columns(scene.ref_exps),
    "expressions": {
      "text": [expression.text for expression in scene.expressions],
      "box_xyxy": [expression.box_xyxy for expression in scene.expressions],
    },
  }


def render_all(
  request: Request, count: int, *, num_workers: int | None = None
) -> Iterator[dict[str, Any]]:
  """Yields the records of scenes 0 .. count - 1, in this order.

  Args:
    request: which scenes.
    count: how many of them.
    num_workers: processes; as many as there are processors if None; with 0
      (and for few scenes) this process renders. The records do not depend
      on it.

  Raises:
    RuntimeError: a worker process ended early; its own message is on stderr.
  """
  if num_workers is None:
    few = count < _WORTH_A_PROCESS
    num_workers = 0 if few else len(os.sched_getaffinity(0))
  if num_workers == 0:
    for index in range(count):
      yield render(request, index)
    return
  with contextlib.ExitStack() as stack:
    workers = [
      stack.enter_context(_worker(request, count, number, num_workers))
      for number in range(num_workers)
    ]
    for number, start in enumerate(range(0, count, _CHUNK)):
      worker = workers[number % num_workers]
      try:
        records = pickle.load(worker.stdout)
      except (EOFError, pickle.UnpicklingError) as error:
        raise RuntimeError(
          f"A process that renders split {request.split!r} ended with code "
          f"{worker.wait()} before scene {start} of {count}; its message is "
          "above. Run the command again."
        ) from error
      yield from records


@contextlib.contextmanager
def _worker(
  request: Request, count: int, number: int, num_workers: int
) -> Iterator[subprocess.Popen]:
  """A process that writes each `num_workers`-th chunk to its stdout."""
  paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
  arguments = {
    **dataclasses.asdict(request),
    "count": count,
    "number": number,
    "num_workers": num_workers,
  }
  process = subprocess.Popen(
    [sys.executable, "-m", "data.shapes.rendering"]
    + [f"--{name}={value}" for name, value in arguments.items()],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    # Each worker is one of as many as there are processors.
    env={
      **os.environ,
      "PYTHONPATH": os.pathsep.join(filter(None, paths)),
      "OPENBLAS_NUM_THREADS": "1",
      "OMP_NUM_THREADS": "1",
    },
  )
  try:
    yield process
  finally:
    process.kill()
    process.stdout.close()
    process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
  """Writes chunks of records to stdout, as pickles."""
  parser = argparse.ArgumentParser(description=__doc__)
  for field in dataclasses.fields(Request):
    parser.add_argument(f"--{field.name}", type=field.type, required=True)
  for name in ("count", "number", "num_workers"):
    parser.add_argument(f"--{name}", type=int, required=True)
  flags = vars(parser.parse_args(arguments))
  count, number = flags.pop("count"), flags.pop("number")
  step = flags.pop("num_workers") * _CHUNK
  request = Request(**flags)
  # The reader is gone when it was interrupted; that needs no message.
  with contextlib.suppress(BrokenPipeError):
    for start in range(number * _CHUNK, count, step):
      chunk = range(start, min(start + _CHUNK, count))
      pickle.dump([render(request, i) for i in chunk], sys.stdout.buffer)
      sys.stdout.buffer.flush()


if __name__ == "__main__":
  main()

"""How long answering takes, here and in Hugging Face's implementation.

Both have the same weights and get the same ids, pixels and pictures, in one
process and by turns, so that a slow minute of the machine is slow for both.
Loading and memory are measured in a fresh process for each.
"""

import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kosmos2_jax.benchmarks import systems as systems_lib
from kosmos2_jax.benchmarks.systems import SYSTEMS
from kosmos2_jax.predictor import Predictor

CASES = ("load", "encode", "prefill", "decode", "locate")
WORDS = ("dog", "man in the red coat", "small white boat on the left", "tree")
TEXT_TOKENS = 12  # of a prompt


class Result(NamedTuple):
  """One line of the table.

  Attributes:
    case: what was measured.
    unit: "s" (less is better) or "tokens/s", "GB".
    ours: medians.
    theirs: the same of Hugging Face's; None without it.
    ratio: median of how many times better ours is, repetition by repetition.
    ratios: that of each repetition.
    same_tokens: whether both said the same, where that was compared.
  """

  case: str
  unit: str
  ours: float
  theirs: float | None
  ratio: float | None
  ratios: list[float]
  same_tokens: bool | None = None


def measure_inference(
  checkpoint: Path,
  *,
  cases: Sequence[str],
  repeats: int,
  new_tokens: int,
  num_pictures: int,
  batch_size: int,
  with_theirs: bool,
) -> Iterator[Result]:
  """Yields one result after the other.

  Args:
    checkpoint: a Hugging Face folder.
    cases: some of `CASES`.
    repeats: measurements of every case; `locate` takes one in five of them.
    new_tokens: decode steps that are timed.
    num_pictures: of `locate`; there are four expressions for each.
    batch_size: rows of `locate` that run at once here.
    with_theirs: compare.
  """
  if "load" in cases:
    yield from measure_loading(checkpoint, with_theirs)
  if set(cases) == {"load"}:
    return
  systems = {"ours": systems_lib.Ours(checkpoint, batch_size)}
  if with_theirs:
    systems["theirs"] = systems_lib.Theirs(checkpoint)
  rows = {size: make_row(systems["ours"].predictor, size) for size in (1, 8)}

  def timed(work: Callable) -> dict[str, Callable[[], float]]:
    return {
      name: lambda system=system: seconds(lambda: work(system))
      for name, system in systems.items()
    }

  if "encode" in cases:
    for size, row in rows.items():
      yield measure_case(
        f"encode {_count(size, 'picture')}",
        "s",
        timed(lambda system, row=row: system.encode(row["images"])),
        repeats,
      )
  if "prefill" in cases:
    for size, row in rows.items():
      yield measure_case(
        f"picture and prefill, {_count(size, 'row')} of"
        f" {row['tokens'].shape[1]} tokens",
        "s",
        timed(lambda system, row=row: system.generate(row, 1, 1)),
        repeats,
      )
  if "decode" in cases:
    for num_beams in (1, 4):
      for size, row in rows.items():
        yield _measure_decoding(
          systems, row, size, num_beams, repeats, new_tokens
        )
  if "locate" in cases:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (num_pictures, 240, 320, 3), dtype=np.uint8)
    pictures = [
      picture for picture in map(Image.fromarray, noise) for _ in WORDS
    ]
    expressions = [f"the {word}" for word in WORDS] * num_pictures
    yield measure_case(
      f"locate, {len(expressions)} pairs, {_count(num_pictures, 'picture')}",
      "s",
      timed(lambda system: system.locate(pictures, expressions)),
      max(repeats // 5, 1),
      warm_up=("ours",),  # theirs compiles nothing, and takes minutes
    )


def _measure_decoding(systems, row, size, num_beams, repeats, new_tokens):
  """Tokens per second behind the prefill: two runs of different lengths.

  Of texts alone: pictures would add much to both runs and nothing to what is
  between them.
  """
  row = without_picture(row)
  said = {}

  def rate(name):
    system = systems[name]
    short = seconds(lambda: system.generate(row, 1, num_beams))
    start = time.perf_counter()
    said[name] = system.generate(row, 1 + new_tokens, num_beams)
    steps = time.perf_counter() - start - short
    return size * new_tokens / max(steps, 1e-9)  # a tiny model's are noise

  name = f"beam {num_beams}" if num_beams > 1 else "greedy"
  result = measure_case(
    f"decode, batch {size}, {name}",
    "tokens/s",
    {name: functools.partial(rate, name) for name in systems},
    repeats,
  )
  same = [np.array_equal(said["ours"], tokens) for tokens in said.values()]
  return result._replace(same_tokens=all(same) if len(same) > 1 else None)


def _count(number: int, word: str) -> str:
  return f"{number} {word}{'s' if number != 1 else ''}"


def measure_loading(checkpoint: Path, with_theirs: bool) -> list[Result]:
  """Time to load, time to a first answer, and most memory of a process."""
  found = {}
  for name in SYSTEMS[: 1 + with_theirs]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
      found[name] = pool.apply(systems_lib.load_and_answer, (name, checkpoint))
  cases = (
    ("load", "s"),
    ("first answer, compilation included", "s"),
    ("peak memory: load and answer", "GB"),
  )
  results = []
  for i, (case, unit) in enumerate(cases):
    values = {name: [value[i]] for name, value in found.items()}
    results.append(compare(case, unit, values))
  return results


def measure_case(
  case: str,
  unit: str,
  runs: dict[str, Callable[[], float]],
  repeats: int,
  warm_up: Sequence[str] = SYSTEMS,
) -> Result:
  """Runs the systems by turns, the first one alternating; see `Result`.

  Args:
    case: what it is called.
    unit: of what `runs` return.
    runs: system -> one measurement.
    repeats: measurements of each.
    warm_up: systems that first run once without being measured.
  """
  values = {name: [] for name in runs}
  for name in runs:
    if name in warm_up:
      runs[name]()
  for repeat in range(repeats):
    for name in list(runs)[:: -1 if repeat % 2 else 1]:
      values[name].append(runs[name]())
  return compare(case, unit, values)


def seconds(work: Callable[[], Any]) -> float:
  """How long it takes."""
  start = time.perf_counter()
  work()
  return time.perf_counter() - start


def make_row(
  predictor: Predictor, batch_size: int
) -> dict[str, np.ndarray | None]:
  """Prompts of random ids behind a random picture; the same every time."""
  rng = np.random.default_rng(batch_size)
  vocab, model = predictor.tokenizer.vocab, predictor.model
  block, block_mask = predictor.tokenizer.image_prefix(
    model.resampler.num_latents
  )
  text = rng.integers(
    vocab.first_piece_id, vocab.image_id, (batch_size, TEXT_TOKENS)
  )
  size = model.vision.image_size
  return {
    "tokens": np.concatenate(
      [np.tile(block, (batch_size, 1)), text], axis=1
    ).astype(np.int32),
    "image_mask": np.tile(
      [*block_mask, *[False] * TEXT_TOKENS], (batch_size, 1)
    ),
    "images": rng.normal(size=(batch_size, 1, size, size, 3)).astype(
      np.float32
    ),
  }


def without_picture(
  row: dict[str, np.ndarray | None],
) -> dict[str, np.ndarray | None]:
  """The texts alone."""
  tokens = row["tokens"][:, -TEXT_TOKENS:].copy()
  tokens[:, 0] = row["tokens"][:, 0]
  return {"tokens": tokens, "image_mask": None, "images": None}


def compare(
  case: str, unit: str, values: Mapping[str, Sequence[float]]
) -> Result:
  """The medians, and those of the ratios; see `Result`.

  Args:
    case: what it is called.
    unit: of the values.
    values: system -> its measurements, in the order they were made.
  """
  ours, theirs = (values.get(name) for name in SYSTEMS)
  ratios = []
  if theirs:
    pairs = zip(ours, theirs, strict=True)
    more_is_better = unit == "tokens/s"
    ratios = [a / b if more_is_better else b / a for a, b in pairs]
  return Result(
    case,
    unit,
    statistics.median(ours),
    statistics.median(theirs) if theirs else None,
    statistics.median(ratios) if ratios else None,
    ratios,
  )

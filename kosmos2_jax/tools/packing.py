r"""How many rows a step's examples need when they are packed.

  python -m kosmos2_jax.tools.packing --config=configs/photos.py
  python -m kosmos2_jax.tools.packing --output=docs/images/packing.png

Reads some steps of the config's stream (no picture is decoded), prints the
tokens of each kind, and recommends `data.rows_per_step` and
`data.images_per_row`. Without a config: captions as long as GrIT's, with 64
latents a picture, in rows of 2,048. `--output` draws how full the rows are. A
mistake ends with one sentence and status 2.
"""

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import matplotlib.figure
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from data import loader
from kosmos2_jax.input import packing, planning
from kosmos2_jax.text.tokenizer import Tokenizer

# Kind, tokens and pictures of each example of a step.
Sizes = list[tuple[str, int, int]]

# The published step has so many grounded captions.
_GRIT_PER_STEP, _GRIT_SEQ_LEN, _LATENTS = 1117, 2048, 64


class Advice(NamedTuple):
  """What a config may set, and what comes of it.

  Attributes:
    rows_per_step: rows of the global batch.
    images_per_row: pictures a row has room for.
    filled: part of the rows' tokens that is used.
    left_out: part of the examples that finds no room.
  """

  rows_per_step: int
  images_per_row: int
  filled: float
  left_out: float


def advise(steps: Sequence[Sizes], seq_len: int, num_groups: int = 1) -> Advice:
  """Numbers for examples such as these steps have.

  The rows by mean and spread of the tokens a step; the pictures a row by
  packing these steps with more and more of them, until no more examples find
  a place.
  """
  totals = [sum(tokens for _, tokens, _ in step) for step in steps]
  rows = packing.rows_needed(
    float(np.mean(totals)), float(np.std(totals)), seq_len, num_groups
  )
  most = max(count for step in steps for *_, count in step)
  in_all = max(sum(count for *_, count in step) for step in steps)
  fewest = max(most, -(-in_all // rows))
  _, best = _packed(steps, seq_len, num_groups, rows, in_all)
  for images in range(fewest, in_all + 1):
    filled, left_out = _packed(steps, seq_len, num_groups, rows, images)
    if left_out <= best:  # at the latest with room for all of them
      break
  return Advice(rows, images, filled, left_out)


def _packed(
  steps: Sequence[Sizes],
  seq_len: int,
  num_groups: int,
  num_rows: int,
  images: int,
) -> tuple[float, float]:
  """Parts: of the tokens that are used, of the examples without a place."""
  used = placed = 0
  for step in steps:
    for group in range(num_groups):
      begin, end = (
        part * len(step) // num_groups for part in (group, group + 1)
      )
      _, tokens, pictures = zip(*step[begin:end], strict=True)
      rows = packing.pack(
        tokens, pictures, num_rows // num_groups, seq_len, images
      )
      used += sum(tokens[i] for row in rows for i in row)
      placed += sum(map(len, rows))
  room = len(steps) * num_rows * seq_len
  return used / room, 1 - placed / sum(map(len, steps))


def caption_sizes(count: int, rng: np.random.Generator) -> Sizes:
  """Captions of 5 to 60 tokens, most around 20, each with a picture."""
  words = np.clip(np.round(rng.lognormal(np.log(20), 0.6, count)), 5, 60)
  # <s>, <image>, slots, </image>; the last id is a target only.
  return [("grounded caption", _LATENTS + 2 + int(n), 1) for n in words]


def steps_of(config: ConfigDict, num_steps: int) -> list[Sizes]:
  """The sizes of the first steps of a config's stream."""
  data, model = config.data, config.model
  stream = planning.plan_stream(
    [kind.to_dict() for kind in data.kinds],
    # Before there is a number of rows: each example in its own.
    data.to_dict() | {"pack": False},
    loader(data.data_dir, data.builders),
    Tokenizer.load(data.tokenizer, model.num_bins),
    image_size=model.vision.image_size,
    num_latents=model.resampler.num_latents,
    seed=config.seed,
  ).open()
  return [
    [size for size in stream.sizes(step) if size[1] <= data.seq_len]
    for step in range(num_steps)
  ]


def report(steps: Sequence[Sizes], seq_len: int, advice: Advice) -> str:
  """Tokens by kind and of a whole step, and the advice."""
  lines = []
  for name in dict.fromkeys(name for step in steps for name, *_ in step):
    of_kind = [t for step in steps for kind, t, _ in step if kind == name]
    lines.append(
      f"{name}: {len(of_kind) / len(steps):.0f} examples a step, "
      f"{np.mean(of_kind):.1f} tokens (spread {np.std(of_kind):.1f})"
    )
  totals = [sum(tokens for _, tokens, _ in step) for step in steps]
  lines += [
    f"a step: {np.mean(totals):,.0f} tokens (spread {np.std(totals):,.0f})",
    f"recommended for rows of {seq_len:,}: --config.data.pack=true"
    f" --config.data.rows_per_step={advice.rows_per_step}"
    f" --config.data.images_per_row={advice.images_per_row}",
    f"these steps fill {advice.filled:.1%} of the tokens;"
    f" {advice.left_out:.2%} of the examples find no room",
  ]
  return "\n".join(lines)


def draw(
  steps: Sequence[Sizes], seq_len: int, advice: Advice
) -> matplotlib.figure.Figure:
  """How full rows get: by row, and by the number of examples offered."""
  num_rows, images = advice.rows_per_step, advice.images_per_row
  figure = matplotlib.figure.Figure(figsize=(10, 4), layout="constrained")
  left, right = figure.subplots(1, 2)
  _, tokens, pictures = zip(*steps[0], strict=True)
  rows = packing.pack(tokens, pictures, num_rows, seq_len, images)
  used = [100 * sum(tokens[i] for i in row) / seq_len for row in rows]
  left.bar(range(num_rows), used, color="#1469e1", width=0.9)
  left.set(
    title=f"One step: {len(tokens):,} examples in {num_rows} rows",
    xlabel="row",
    ylabel=f"% of its {seq_len:,} tokens",
    ylim=(0, 100),
  )
  everything = [size for step in steps for size in step]
  mean = np.mean([tokens for _, tokens, _ in everything])
  offered = np.linspace(0.9, 1.06, 17)
  counts = [int(part * num_rows * seq_len / mean) for part in offered]
  counts = [count for count in counts if count <= len(everything)]
  for limit, color in ((images, "#1469e1"), (images - 1, "#dc1e3c")):
    found = [
      _packed([everything[:count]], seq_len, 1, num_rows, limit)
      for count in counts
    ]
    filled, left_out = 100 * np.transpose(found)
    label = f"{limit} pictures a row"
    right.plot(counts, filled, "o-", color=color, label=f"filled, {label}")
    right.plot(
      counts, 100 - left_out, "--", color=color, label=f"placed, {label}"
    )
  right.axvline(len(tokens), color="#969696", linewidth=1)
  right.set(
    title=f"{num_rows} rows by what they are offered",
    xlabel="examples a step",
    ylabel="% of tokens filled, of examples placed",
  )
  right.legend(loc="lower right", fontsize="small")
  return figure


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  define = functools.partial(flags.DEFINE_integer, flag_values=read)
  flags.DEFINE_string("output", None, "Picture to write.", read)
  define("num_steps", 10, "Steps to look at.", lower_bound=2)
  try:
    config_flags.DEFINE_config_file(
      "config", None, "File of the run.", read, sys_argv=list(argv)
    )
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help.")
    if config := read.config:
      steps = steps_of(config, read.num_steps)
      seq_len, groups = config.data.seq_len, config.data.pack_groups
    else:
      rng = np.random.default_rng(0)
      steps = [
        caption_sizes(_GRIT_PER_STEP, rng) for _ in range(read.num_steps)
      ]
      seq_len, groups = _GRIT_SEQ_LEN, 1
    advice = advise(steps, seq_len, groups)
    print(report(steps, seq_len, advice))
    if read.output:
      output = Path(read.output)
      output.parent.mkdir(parents=True, exist_ok=True)
      draw(steps, seq_len, advice).savefig(output, dpi=110)
      print(f"wrote {output}")
  except (flags.Error, AttributeError, KeyError, ValueError, OSError) as error:
    what = (
      "no such config field: "
      if isinstance(error, AttributeError | KeyError)
      else ""
    )
    text = " ".join(str(error).split())
    print(f"packing: {what}{text}", file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))

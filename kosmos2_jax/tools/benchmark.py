r"""How fast this is, beside Hugging Face on the same weights.

  python -m kosmos2_jax.tools.benchmark inference \
      --checkpoint=kosmos-2-patch14-224 --output=speed.json

Prints medians and ratios (above 1: ours is faster) of loading, image encoding,
prefill, decoding and `locate`; needs torch and transformers (the `dev` extra)
for the comparison and measures ours alone without them. The answers of both
are compared, too. Use an otherwise idle machine.

  python -m kosmos2_jax.tools.benchmark input --output=input.json

Prints what an example costs the processor, from the file to the batch: whole
streams of 640 x 480 JPEGs and of the same stored small, each stage, and the
processor of `transformers` on the same pictures and captions.

  GLIBC_TUNABLES=glibc.malloc.hugetlb=1 taskset -c 0,1 \
      python -m kosmos2_jax.tools.benchmark train --output=train.json

Prints the time of an update and the memory of training beside `transformers`
on PyTorch: random weights of about 40 and 160 million parameters, the same for
both, 4 rows of 128 tokens with a picture each, float32, AdamW. Losses and new
weights of both are compared, too. Both use the processors the command may use.

  python -m kosmos2_jax.tools.benchmark evaluate --output=evaluate.json

Prints how long 1,000 referring expressions on 250 pictures take a random model
of about 40 million parameters: here, and in the original's way, one by one,
each with its picture and free to write 500 tokens (of that, a sample).
"""

import functools
import io
import itertools
import json
import os
import platform
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags
from PIL import Image
from rich.console import Console
from rich.table import Table

from data import load_source
from kosmos2_jax.benchmarks import evaluation, inference, tables, training
from kosmos2_jax.convert import huggingface, peer, processor
from kosmos2_jax.input import speed
from kosmos2_jax.input.sources import ListSource, TfdsSource, eval_examples
from kosmos2_jax.text.tokenizer import Tokenizer

# Width and height of the pictures that `input` makes: originals, and stored
# with a shorter side of 256 and of what the released model sees.
SIZES = ((640, 480), (341, 256), (298, 224))
# How often it takes each picture, so that an epoch is several batches.
COPIES = 10


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  commands = {
    "inference": _inference,
    "input": _input,
    "train": _train,
    "evaluate": _evaluate,
  }
  words = [word for word in argv[1:] if not word.startswith("-")]
  try:
    if {"--help", "-h"} & set(argv):
      print(__doc__)
    if len(words) != 1 or words[0] not in commands:
      raise ValueError(
        'say what to measure; there are "inference", "input", "train" and'
        ' "evaluate"'
      )
    return commands[words[0]](argv)
  except (flags.Error, ImportError, OSError, ValueError) as error:
    if "--traceback" in argv:
      raise
    print(f"benchmark: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _read(read: flags.FlagValues, argv: Sequence[str]) -> bool:
  """Reads the flags; False where only their list was asked for."""
  define = {"flag_values": read}
  flags.DEFINE_integer(
    "repeats", 5, "Measurements of each case.", lower_bound=1, **define
  )
  flags.DEFINE_bool("compare", True, "Measure Hugging Face, too.", **define)
  flags.DEFINE_string("output", None, "JSON file to write.", **define)
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", **define)
  if {"--help", "-h"} & set(argv):
    print(read.get_help())
    return False
  read(list(argv))
  return True


def _inference(argv: Sequence[str]) -> int:
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_string(
    "checkpoint", None, "Hugging Face folder.", required=True, **define
  )
  flags.DEFINE_multi_enum(
    "case", inference.CASES, inference.CASES, "What to measure.", **define
  )
  flags.DEFINE_integer(
    "new_tokens", 16, "Decode steps that are timed.", lower_bound=1, **define
  )
  flags.DEFINE_integer(
    "num_pictures", 16, "Pictures of locate.", lower_bound=1, **define
  )
  flags.DEFINE_integer(
    "batch_size", 32, "Rows of locate at once.", lower_bound=1, **define
  )
  if not _read(read, argv):
    return 0
  results = _run(read)
  return int(any(result.same_tokens is False for result in results))


def _train(argv: Sequence[str]) -> int:
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_multi_enum(
    "size", ("40m", "160m"), tuple(training.SIZES), "Of the model.", **define
  )
  flags.DEFINE_multi_enum(
    "targets",
    training.TARGETS,
    training.TARGETS,
    "What the loss counts: words behind pictures, or every token.",
    **define,
  )
  # The values that are fastest on a CPU; see docs/training.md.
  flags.DEFINE_integer(
    "unroll", 1, "See config.model.unroll.", lower_bound=1, **define
  )
  flags.DEFINE_string("remat", "dots", "See config.model.remat.", **define)
  flags.DEFINE_integer(
    "loss_chunk", 256, "See config.model.loss_chunk.", lower_bound=1, **define
  )
  if not _read(read, argv):
    return 0
  compare = _can_compare(read)
  compute = {
    name: read[name].value for name in ("unroll", "remat", "loss_chunk")
  }
  results, agreements = [], {}
  for size, targets in itertools.product(read.size, read.targets):
    with tempfile.TemporaryDirectory() as folder:
      found, agreement = training.measure_training(
        Path(folder),
        size,
        targets=targets,
        repeats=read.repeats,
        compute=compute,
        with_theirs=compare,
      )
    results += found
    if agreement:
      agreements[f"{size}, {targets}"] = agreement._asdict()
      print(
        f"{size}, {targets}: losses differ by {agreement.loss:.1e} of"
        f" themselves, updates by {agreement.update:.1e}:"
        f" {'the same' if agreement.same else 'NOT the same'}",
        flush=True,
      )
  Console().print(tables.show(results))
  if read.output:
    more = {"compute": compute, "agreement": agreements}
    tables.write(Path(read.output), results, more)
  return int(not all(found["same"] for found in agreements.values()))


def _evaluate(argv: Sequence[str]) -> int:
  read = flags.FlagValues()
  for name, default, text in (
    ("num_pictures", 250, "Pictures."),
    ("num_expressions", 1000, "Expressions, about all of the pictures."),
    ("batch_size", 64, "Expressions asked at once here."),
    ("sample", 20, "Expressions that are asked in the original's way."),
    ("length", evaluation.THEIR_LENGTH, "Tokens of prompt and answer there."),
  ):
    flags.DEFINE_integer(name, default, text, lower_bound=1, flag_values=read)
  flags.DEFINE_enum(
    "size", "40m", tuple(evaluation.SIZES), "Of the model.", flag_values=read
  )
  if not _read(read, argv):
    return 0
  records = evaluation.make_records(read.num_pictures, read.num_expressions)
  found = evaluation.measure_evaluation(
    evaluation.make_predictor(read.size, read.batch_size),
    functools.partial(eval_examples, ListSource(records)),
    num_expressions=read.num_expressions,
    sample=read.sample,
    their_length=read.length,
  )
  Console().print(tables.show(found.results))
  if read.output:
    more = {"num_different": found.num_different, "sample": read.sample}
    tables.write(Path(read.output), found.results, more)
  return int(found.num_different > 0)


def _can_compare(read: flags.FlagValues) -> bool:
  """Whether theirs is to be measured, too; says what is missing for it."""
  missing = peer.missing() if read.compare else ""
  if missing:
    print(f"ours alone is measured; to compare, pip install {missing}")
  return read.compare and not missing


def _input(argv: Sequence[str]) -> int:
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_string(
    "shards",
    "data/grit/photos/*.tar",
    "GrIT shards whose pictures and captions are used.",
    **define,
  )
  flags.DEFINE_string(
    "tokenizer", "small", '"small" or a SentencePiece model.', **define
  )
  flags.DEFINE_integer(
    "num_threads", 1, "Threads that decode.", lower_bound=1, **define
  )
  flags.DEFINE_integer(
    "per_step", 32, "Examples of a batch.", lower_bound=1, **define
  )
  flags.DEFINE_integer(
    "memory_examples",
    0,
    "Examples during which the memory is watched; 0: none.",
    lower_bound=0,
    **define,
  )
  if not _read(read, argv):
    return 0
  compare = _can_compare(read)
  tokenizer = Tokenizer.load(read.tokenizer, 32)
  options = speed.Options(
    tokenizer, per_step=read.per_step, num_threads=read.num_threads
  )
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    sources = {
      f"{width} x {height}": _photographs(
        folder / f"{width}x{height}", read.shards, width, height
      )
      for width, height in SIZES
    }
    processor.write(folder, tokenizer, options.image_size)
    found = speed.measure_all(
      sources,
      options,
      repeats=read.repeats,
      folder=name if compare else None,
    )
    memory = speed.measure_memory(
      next(iter(sources.values())), options, read.memory_examples
    )
  Console().print(show_input(found))
  for examples, mebibytes in memory:
    print(f"memory after {examples} examples: {mebibytes:.0f} MiB")
  if read.output:
    content = {
      "machine": platform.processor() or platform.machine(),
      "options": {
        k: v for k, v in options._asdict().items() if k != "tokenizer"
      },
      "milliseconds": {
        where: {case: cost._asdict() for case, cost in costs.items()}
        for where, costs in found.items()
      },
      "memory": memory,
    }
    Path(read.output).write_text(json.dumps(content, indent=2) + "\n")
  return 0


def show_input(found: Mapping[str, Mapping[str, speed.Cost]]) -> Table:
  """The costs as a table; "faster" holds them against theirs of originals."""
  table = Table()
  table.add_column("")
  for name in ("ms of processor", "ms of clock", "examples/s/core", "faster"):
    table.add_column(name, justify="right")
  theirs = next(iter(found.get("theirs", {}).values()), None)
  for where, costs in found.items():
    for case, cost in costs.items():
      row = [f"{where}: {case}", f"{cost.cpu:.2f}", f"{cost.wall:.2f}"]
      if where in ("ours", "theirs"):
        row.append(f"{1e3 / cost.cpu:.0f}")
        row.append(f"{theirs.cpu / cost.cpu:.2f}" if theirs else "")
      table.add_row(*row)
  return table


def _photographs(
  folder: Path, shards: str, width: int, height: int
) -> TfdsSource:
  """The pictures of shards in one size, several times, as prepared data."""
  folder.mkdir()
  given = load_source("grit", "train", folder / "given", shards=shards)
  with tarfile.open(folder / "00000.tar", "w") as tar:
    for number in range(COPIES * len(given)):
      [example] = given.__getitems__([number % len(given)])
      picture = Image.open(io.BytesIO(example["image"])).convert("RGB")
      jpeg = io.BytesIO()
      picture.resize((width, height), Image.Resampling.BICUBIC).save(
        jpeg, "JPEG", quality=90
      )
      record = {
        "id": number,
        "caption": example["caption"],
        "noun_chunks": [
          [i["start"], i["end"], *i["box_xyxy"], i["score"]]
          for i in example["noun_chunks"]
        ],
        "ref_exps": [],
        "status": "success",
        "width": width,
        "height": height,
        "original_width": width,
        "original_height": height,
      }
      for suffix, content in (
        ("jpg", jpeg.getvalue()),
        ("json", json.dumps(record).encode()),
      ):
        member = tarfile.TarInfo(f"{number:09}.{suffix}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
  shard = str(folder / "00000.tar")
  return load_source("grit", "train", folder / "data", shards=shard)


def _run(read: flags.FlagValues) -> list[inference.Result]:
  checkpoint = Path(read.checkpoint)
  if not huggingface.is_folder(checkpoint):
    raise FileNotFoundError(
      f"{str(checkpoint)!r} is no Hugging Face folder of Kosmos-2;"
      " tools.convert --format=huggingface makes one of any checkpoint"
    )
  compare = _can_compare(read)
  console = Console()
  results = []
  for result in inference.measure_inference(
    checkpoint,
    cases=read.case,
    repeats=read.repeats,
    new_tokens=read.new_tokens,
    num_pictures=read.num_pictures,
    batch_size=read.batch_size,
    with_theirs=compare,
  ):
    results.append(result)
    ratio = "" if result.ratio is None else f", ratio {result.ratio:.2f}"
    print(f"{result.case}: {result.ours:.3g} {result.unit}{ratio}", flush=True)
  console.print(tables.show(results))
  if read.output:
    tables.write(Path(read.output), results, {})
  return results


if __name__ == "__main__":
  sys.exit(main(sys.argv))

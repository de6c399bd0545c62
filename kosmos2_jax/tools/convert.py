r"""Turns a checkpoint of any known kind into another.

  python -m kosmos2_jax.tools.convert --source=kosmos-2-patch14-224 \
      --target=checkpoints/kosmos2
  python -m kosmos2_jax.tools.convert --source=runs/mine \
      --target=export --format=huggingface

The source is a workdir of train.py, a Hugging Face folder, or the original's
`kosmos-2.pt` (that one needs torch, and `sentencepiece.bpe.model` beside it).
`--format=huggingface` writes a folder that `transformers` opens with
`Kosmos2ForConditionalGeneration` and `AutoProcessor`; `--format=orbax` one
that `Predictor` and `eval.py` open fast.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging

from kosmos2_jax.convert import huggingface, loading, processor, weights
from kosmos2_jax.training import checkpoint, workdir

FORMATS = ("orbax", "huggingface")


def convert(
  source: Path, target: Path, form: str, dtype: str, max_shard_gb: float
) -> list[str]:
  """Reads `source` and writes `target`; one line for each array left out.

  Raises:
    FileExistsError: if there is something in `target`.
    FileNotFoundError, ModuleNotFoundError, ValueError: for a source that
      cannot be read, or that the format cannot hold.
  """
  if target.exists() and (not target.is_dir() or any(target.iterdir())):
    raise FileExistsError(
      f"{str(target)!r} is there already; give a --target that is not"
    )
  loaded = loading.load(source)
  sizes, tokenizer, params = loaded.sizes, loaded.tokenizer, loaded.params
  if form == "huggingface":
    huggingface.config_of(sizes, dtype)  # refuses before anything is written
  target.mkdir(parents=True, exist_ok=True)
  huggingface.write_generation(target, loaded.no_repeat_ngram_size)
  if form == "orbax":
    workdir.describe_run(target, None, sizes, dtype, tokenizer.model_bytes)
    checkpoint.save_params(target, params, loaded.step or 0)
  else:
    huggingface.write_config(target, sizes, dtype)
    processor.write(target, tokenizer, sizes["vision"]["image_size"])
    weights.write(
      target,
      params,
      sizes["vocab_size"],
      dtype=dtype,
      max_shard_bytes=int(max_shard_gb * 1e9),
    )
  return list(loaded.dropped)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_string("source", None, "Checkpoint.", required=True, **define)
  flags.DEFINE_string("target", None, "New folder.", required=True, **define)
  flags.DEFINE_enum("format", "orbax", FORMATS, "Kind of the target.", **define)
  flags.DEFINE_enum(
    "dtype",
    "float32",
    weights.DTYPES,
    "huggingface: of the file; orbax: that the model computes with.",
    **define,
  )
  flags.DEFINE_float(
    "max_shard_gb", 50.0, "Largest weights file.", lower_bound=1e-6, **define
  )
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", **define)
  try:
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help")
    if read.format == "orbax" and read.dtype == "float16":
      raise ValueError('--dtype is "float32" or "bfloat16" with orbax')
    dropped = convert(
      Path(read.source),
      Path(read.target),
      read.format,
      read.dtype,
      read.max_shard_gb,
    )
  except (flags.Error, ImportError, OSError, ValueError) as error:
    if "--traceback" in argv:
      raise
    print(f"convert: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
  for line in dropped:
    print(f"left out: {line}")
  print(f"wrote {read.target}")
  return 0


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  sys.exit(main(sys.argv))

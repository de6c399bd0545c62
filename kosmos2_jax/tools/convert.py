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

`--verify` then reads both again and compares them: every array, logits of
random inputs beside `transformers` where it is installed, and, given the
picture they were made from, the published outputs of the released model:

  python -m kosmos2_jax.tools.convert --source=kosmos-2-patch14-224 \
      --target=checkpoints/kosmos2 --verify --golden_image=snowman.png

`--verify_only` compares a target that is there already. The status is 0 if
everything is as it should be, 1 if anything is not, and 2 for a mistake.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging
from PIL import Image

from kosmos2_jax.convert import (
  huggingface,
  loading,
  processor,
  replay,
  report,
  verify,
  weights,
)
from kosmos2_jax.training import saved_params, workdir

FORMATS = ("orbax", "huggingface")


def convert(
  source: Path,
  target: Path,
  form: str,
  dtype: str,
  max_shard_gb: float,
  released: bool = False,
) -> list[str]:
  """Reads `source` and writes `target`; one line for each array left out.

  Args:
    source: one of `loading.KINDS`.
    target: a folder that is empty or not there.
    form: one of `FORMATS`.
    dtype: see the flag.
    max_shard_gb: see the flag.
    released: refuse any model that is not of the released size.

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
  # Both refuse before anything is written.
  if released:
    replay.check_released(sizes)
  if form == "huggingface":
    huggingface.config_of(sizes, dtype)
  target.mkdir(parents=True, exist_ok=True)
  huggingface.write_generation(target, loaded.no_repeat_ngram_size)
  if form == "orbax":
    workdir.describe_run(target, None, sizes, dtype, tokenizer.model_bytes)
    saved_params.save(target, params, loaded.step or 0)
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


def compare(source: Path, target: Path, picture: Image.Image | None) -> int:
  """Prints what `verify.verify` finds, line by line; returns the status."""
  checks = []
  for check in verify.verify(source, target, picture):
    print(check, flush=True)
    checks.append(check)
  print(f"verify: {report.summary(checks)}")
  return int(any(check.passed is False for check in checks))


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
  flags.DEFINE_bool("verify", False, "Compare both afterwards.", **define)
  flags.DEFINE_bool(
    "verify_only", False, "Compare with a --target that is there.", **define
  )
  flags.DEFINE_string(
    "golden_image",
    None,
    "verify: the released snowman.png; replays the published outputs.",
    **define,
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
    verifies = read.verify or read.verify_only
    picture = None
    if read.golden_image is not None:
      if not verifies:
        raise ValueError("--golden_image needs --verify or --verify_only")
      picture = replay.read_picture(read.golden_image)
    source, target = Path(read.source), Path(read.target)
    if not read.verify_only:
      dropped = convert(
        source,
        target,
        read.format,
        read.dtype,
        read.max_shard_gb,
        released=picture is not None,
      )
      for line in dropped:
        print(f"left out: {line}")
      print(f"wrote {target}")
    return compare(source, target, picture) if verifies else 0
  except (flags.Error, ImportError, OSError, ValueError) as error:
    if "--traceback" in argv:
      raise
    print(f"convert: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  sys.exit(main(sys.argv))

r"""Draws some records of built GrIT shards into one picture.

  python -m kosmos2_jax.tools.contact_sheet --shards='grit/*.tar' \
      --output=sheet.png [--count=16] [--seed=0]

What is drawn, and how, says `kosmos2_jax.grit.contact_sheet`. A mistake ends
with one sentence and status 2.
"""

import functools
import os
import sys
from collections.abc import Sequence

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags

from data import in_words
from kosmos2_jax.grit.contact_sheet import draw


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  number = functools.partial(flags.DEFINE_integer, flag_values=read)
  flags.DEFINE_multi_string(
    "shards",
    None,
    "A tar file, a folder or a pattern; may be given again.",
    read,
    required=True,
  )
  flags.DEFINE_string("output", None, "Picture to write.", read, required=True)
  number("count", 16, "Records to draw.", lower_bound=1)
  number("seed", 0, "Of the sample.", lower_bound=0)
  try:
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help")
    drawn = draw(read.shards, read.output, count=read.count, seed=read.seed)
  except (flags.Error, OSError, ValueError) as error:
    print(f"contact_sheet: {in_words(error)}", file=sys.stderr)
    return 2
  print(f"wrote {read.output}: {drawn} records")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))

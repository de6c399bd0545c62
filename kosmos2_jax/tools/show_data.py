"""Draws what the model is fed: pictures, boxes, tokens and the loss mask.

  python -m kosmos2_jax.tools.show_data --config=configs/shapes.py \
    --output=data.png [--num_rows=8] [--step=0]

Pictures are as the model sees them, boxes are read back from the tokens. The
examples of a packed row are framed, each in a colour of its own.
Tokens that are predicted are dark, the others grey; slots are summed up and
padding is left out. A mistake ends with one sentence and status 2.
"""

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import flags
from ml_collections import ConfigDict, config_flags
from PIL import Image

from data import in_words, loader
from kosmos2_jax import drawing
from kosmos2_jax.convert.starting import Start
from kosmos2_jax.input import planning


def draw(config: ConfigDict, step: int, num_rows: int) -> Image.Image:
  """The first rows of the batch of a step of the config's stream."""
  data = config.data
  start = Start(
    config.model.to_dict(), data.tokenizer, init_from=config.init_from
  )
  tokenizer, sizes = start.tokenizer, start.sizes
  plan = planning.plan_stream(
    [kind.to_dict() for kind in data.kinds],
    data.to_dict(),
    loader(data.data_dir, data.builders),
    tokenizer,
    image_size=sizes["vision"]["image_size"],
    num_latents=sizes["resampler"]["num_latents"],
    seed=config.seed,
  )
  stream = plan.open(step)
  return drawing.draw_rows(next(stream), num_rows, tokenizer, stream.segments)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  define = functools.partial(flags.DEFINE_integer, flag_values=read)
  flags.DEFINE_string("output", None, "Picture to write.", read, required=True)
  define("num_rows", 8, "Rows to draw.", lower_bound=1)
  define("step", 0, "Step whose batch is drawn.", lower_bound=0)
  try:
    config_flags.DEFINE_config_file(
      "config", None, "File of the run.", read, sys_argv=list(argv)
    )
    flags.mark_flag_as_required("config", read)
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help.")
    output = Path(read.output)
    picture = draw(read.config, read.step, read.num_rows)
    output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(output)
  except (flags.Error, AttributeError, KeyError, ValueError, OSError) as error:
    what = (
      "no such config field: "
      if isinstance(error, AttributeError | KeyError)
      else ""
    )
    print(f"show_data: {what}{in_words(error)}", file=sys.stderr)
    return 2
  print(f"wrote {output}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))

r"""A page that shows a checkpoint: captions with boxes, questions, chat.

  python -m kosmos2_jax.tools.demo --checkpoint=runs/shapes

needs the extra `demo` (`pip install -e ".[demo]"`). Nothing is loaded from
elsewhere. It listens on this machine alone; whoever gives it another --host
shows it to everybody there, without a password.
"""

import sys
from collections.abc import Sequence

from absl import flags, logging

from kosmos2_jax.page import blocks
from kosmos2_jax.page.limits import Limits
from kosmos2_jax.predictor import Predictor

HOST, PORT = "127.0.0.1", 7860


def _define_flags() -> flags.FlagValues:
  read, given = flags.FlagValues(), Limits()
  named = {"flag_values": read}
  whole = flags.DEFINE_integer
  flags.DEFINE_string(
    "checkpoint", None, "As `Predictor` opens.", required=True, **named
  )
  flags.DEFINE_enum(
    "dtype", None, ("float32", "bfloat16"), "Computes with it.", **named
  )
  flags.DEFINE_string("host", HOST, "Address to listen at.", **named)
  whole("port", PORT, "Port to listen at.", lower_bound=0, **named)
  for name, text in (
    ("picture_bytes", "Of an uploaded file."),
    ("picture_pixels", "Of the picture in it."),
    ("text_chars", "Of a question."),
    ("new_tokens", "Of an answer."),
    ("messages", "Of a conversation."),
    ("at_once", "Answers computed at the same time."),
    ("waiting", "Visitors that wait for their turn."),
  ):
    whole(name, getattr(given, name), f"Limit: {text}", lower_bound=1, **named)
  flags.DEFINE_float(
    "seconds",
    given.seconds,
    "Limit: until an answer is cut off.",
    lower_bound=1,
    **named,
  )
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", **named)
  return read


def run(read: flags.FlagValues) -> None:
  """Starts the page and waits until it is stopped.

  Raises:
    ImportError, OSError, ValueError: for a checkpoint that cannot be opened,
      a port that is taken, or a missing gradio.
  """
  limits = Limits(
    **{name: read[name].value for name in Limits.__dataclass_fields__}
  )
  predictor = Predictor.from_pretrained(read.checkpoint, dtype=read.dtype)
  page = blocks.build(predictor, limits, read.checkpoint)
  blocks.launch(page, limits, read.host, read.port)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = _define_flags()
  try:
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help")
    run(read)
  except (flags.Error, ImportError, OSError, ValueError) as error:
    if "--traceback" in argv:
      raise
    hint = ""
    if isinstance(error, ModuleNotFoundError) and error.name == "gradio":
      hint = ': install the extra, pip install -e ".[demo]"'
    print(f"demo: {' '.join(str(error).split())}{hint}", file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  sys.exit(main(sys.argv))

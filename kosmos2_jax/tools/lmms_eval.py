r"""lmms-eval on a checkpoint: its own command, with our model.

  python -m kosmos2_jax.tools.lmms_eval --tasks pope \
      --model_args "pretrained=runs/mine,template=Question: {context} Answer:"

Flags are lmms-eval's; without `--model` the model is `kosmos2_jax`. Read in
docs/benchmarks/language.md which of its tasks are not what their names say.
A mistake ends with one sentence and status 2; `--traceback` shows where it was
found.
"""

import sys
from collections.abc import Sequence

from absl import logging

from kosmos2_jax.evals import lmms


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  words = [word for word in argv if word != "--traceback"]
  if not {word.partition("=")[0] for word in words} & {"--model"}:
    words += ["--model", lmms.MODEL]
  before = sys.argv
  try:
    lmms.register()
    from lmms_eval.__main__ import cli_evaluate

    sys.argv = words
    cli_evaluate()
  except (ImportError, OSError, ValueError) as error:
    if "--traceback" in argv:
      raise
    print(f"lmms_eval: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
  finally:
    sys.argv = before
  return 0


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  sys.exit(main(sys.argv))

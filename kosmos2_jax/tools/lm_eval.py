r"""lm-evaluation-harness on a checkpoint: its own command, with our model.

  python -m kosmos2_jax.tools.lm_eval --data=data/language \
      --model_args pretrained=runs/mine --tasks hellaswag piqa

Flags are the harness's (see --help), and `--data`: a folder with local copies
of the eight language tasks' rows (docs/benchmarks/language.md). With it
nothing is downloaded; without, tasks come from where the harness finds them.
Without `--model` the model is `kosmos2_jax`; `pretrained` is what
`Predictor.from_pretrained` opens. A mistake ends with one sentence and status
2; `--traceback` shows where it was found.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from kosmos2_jax.evals import harness, language_tasks

COMMANDS = ("run", "ls", "validate")


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  own.add_argument("--data")
  own.add_argument("--tasks", "-t", nargs="+", default=[])
  own.add_argument("--num_fewshot", "-f")
  own.add_argument("--traceback", action="store_true")
  read, words = own.parse_known_args(argv[1:])
  if read.data is not None:
    # Before the harness is imported: that is when its libraries read them.
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
  try:
    harness.register()
    with tempfile.TemporaryDirectory() as folder:
      _hand_over([argv[0], *arguments(read, words, Path(folder))])
  except (ImportError, OSError, ValueError) as error:
    if read.traceback:
      raise
    print(f"lm_eval: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
  return 0


def arguments(
  read: argparse.Namespace, words: Sequence[str], folder: Path
) -> list[str]:
  """The harness's own command line.

  Args:
    read: the flags that were read here.
    words: all others.
    folder: where definitions of local tasks may be written.

  Raises:
    FileNotFoundError, ValueError: see `language_tasks.files`.
  """
  names = [name for text in read.tasks for name in text.split(",") if name]
  if read.data is not None:
    shots = int(read.num_fewshot or 0)
    for i, name in enumerate(names):
      if name in language_tasks.TASKS:
        paths = language_tasks.files(read.data, name, shots)
        names[i] = str(language_tasks.write_definition(name, paths, folder))
  given = {word.partition("=")[0] for word in words}
  more = []
  if names:
    more += ["--tasks", *names]
    if not given & {"--model", "-M"}:
      more += ["--model", harness.MODEL]
    if not given & {"--batch_size", "-b"}:
      more += ["--batch_size", "auto"]
  if read.num_fewshot is not None:
    more += ["--num_fewshot", read.num_fewshot]
  if more and not set(words[:1]) & set(COMMANDS):
    words = ["run", *words]
  return [*words, *more]


def _hand_over(argv: list[str]) -> None:
  from lm_eval.__main__ import cli_evaluate

  before = sys.argv
  sys.argv = argv
  try:
    cli_evaluate()
  finally:
    sys.argv = before


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  sys.exit(main(sys.argv))

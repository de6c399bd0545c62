"""What the commands that take a config share: flags, and mistakes in one line.

A mistake in a command ends with one sentence on stderr and status 2.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from data import in_words

MISTAKES = (ValueError, OSError, FloatingPointError)
MISTAKE_STATUS = 2


def read_flags(
  argv: Sequence[str],
  define: Callable[[flags.FlagValues], None],
  *,
  required: Sequence[str],
  example: str,
  doc: str,
) -> flags.FlagValues:
  """Reads a command line with `--config` and `--traceback`.

  Args:
    argv: the command and its flags.
    define: defines the command's other flags.
    required: flags that must be given, beside `config`.
    example: a command that works, for messages.
    doc: what `--help` prints above the flags.

  Raises:
    ValueError: for a wrong or missing flag, or a config that cannot be read.
    OSError: for a config file that is not there.
    SystemExit: after `--help`.
  """
  read = flags.FlagValues()
  define(read)
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", read)
  config_flags.DEFINE_config_file(
    "config", None, "File of the run.", read, sys_argv=list(argv)
  )
  if {"--help", "-h"} & set(argv):
    print(f"{doc}\n{read.get_help()}")
    sys.exit(0)
  try:
    rest = read(list(argv))
  except (AttributeError, KeyError) as error:
    field = str(error.args[0]).strip("\"'")
    raise ValueError(
      f"the config has no field {field!r}; configs/common.py has them all"
    ) from error
  except flags.Error as error:
    # An error in a config file comes with its whole traceback.
    text = str(error).rpartition("Error: ")[2].strip()
    raise ValueError(f"{text}; for example: {example}") from error
  for name in ("config", *required):
    if not read[name].value:
      raise ValueError(f"--{name} is missing; for example: {example}")
  if len(rest) > 1:
    raise ValueError(f"{rest[1]!r} is no flag; for example: {example}")
  # The config library tells only whoever reads a field of it.
  if not Path(file := config_file(read)).is_file():
    raise ValueError(
      f"there is no config file {file!r}; for example: {example}"
    )
  return read


def define_processes(read: flags.FlagValues) -> None:
  """The flags that say who trains together, see `training.processes`."""
  flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, where not found out.", read
  )
  for name, text in (
    ("num_processes", "How many train together."),
    ("process_id", "Number of this one, from 0."),
  ):
    flags.DEFINE_integer(name, None, text, flag_values=read)


def process_arguments(read: flags.FlagValues) -> dict[str, Any]:
  """Arguments of `training.processes.start`."""
  names = ("coordinator", "num_processes", "process_id")
  given = {name: read[name].value for name in names}
  return given | {"mistakes": MISTAKES, "in_words": in_words}


def config_file(read: flags.FlagValues) -> str:
  """Path of the config file of a command line, without its argument."""
  return read["config"].config_filename.partition(":")[0]


def config_name(read: flags.FlagValues) -> str:
  """What results call the config."""
  return Path(config_file(read)).stem


def run(
  argv: Sequence[str],
  command: Callable[[], int | None],
  mistakes: tuple[type[Exception], ...] = MISTAKES,
) -> int:
  """Runs a command; returns its status, which is 2 after a mistake.

  Args:
    argv: the command and its flags; with `--traceback` mistakes are raised.
    command: what to run; returns a status, or None for 0.
    mistakes: errors that are told in one sentence.
  """
  try:
    return command() or 0
  except mistakes as mistake:
    if "--traceback" in argv:
      raise
    name = Path(argv[0]).name
    print(f"{name}: {in_words(mistake)}", file=sys.stderr)
    return MISTAKE_STATUS

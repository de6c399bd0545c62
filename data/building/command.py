"""The command line of a builder: a flag for each of its arguments."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from data.building import arguments as argument_rules

# The status of a command that is wrong, or whose files are.
WRONG = 2


def run(
  builder_class: type,
  prepare: Callable[..., Any],
  arguments: Sequence[str] | None = None,
) -> None:
  """Prepares files, prints what was dropped and where the data is.

  Args:
    builder_class: of `FilesBuilder`, what to prepare.
    prepare: what to call with the class and the flags.
    arguments: instead of those of the command line.
  """
  builder_class = _importable(builder_class)
  parser = _parser(builder_class)
  flags = vars(parser.parse_args(arguments))
  for name in builder_class.PATHS:
    if flags[name] and len(flags[name]) == 1:
      flags[name] = flags[name][0]
  try:
    builder = prepare(builder_class, **flags)
  except (OSError, ModuleNotFoundError, ValueError) as error:
    parser.exit(WRONG, f"error: {error}\n")
  print(builder.data_dir)


class _Parser(argparse.ArgumentParser):
  """Answers a wrong flag with one sentence, not with the list of all."""

  def error(self, message: str) -> NoReturn:
    self.exit(WRONG, f"error: {message}; --help lists the flags\n")


def _parser(builder_class: type) -> argparse.ArgumentParser:
  parser = _Parser(
    prog=f"python -m {builder_class.__module__}",
    description=builder_class.DESCRIPTION or builder_class.TITLE,
  )
  parser.add_argument(
    "--data_dir",
    required=True,
    help="the folder of all prepared data; the data set gets a folder in it",
  )
  parser.add_argument(
    "--max_examples", type=int, help="of each split, at most (default: all)"
  )
  parser.add_argument(
    "--beam_workers",
    type=int,
    default=0,
    help="processes that read with Apache Beam, all records in memory",
  )
  parser.add_argument(
    "--beam_options", help="of Apache Beam, such as '--runner=FlinkRunner'"
  )
  defaults = argument_rules.defaults(builder_class)
  required = argument_rules.required(builder_class)
  for name, meaning in builder_class.ARGUMENTS.items():
    default = defaults.get(name)
    if default not in (None, "", ()):
      meaning += f" (default: {default})"
    options: dict[str, Any] = {
      "help": meaning.replace("%", "%%"),
      "required": name in required,
    }
    if name in builder_class.PATHS or isinstance(default, list | tuple):
      options["nargs"] = "+"
    elif isinstance(default, bool):
      options |= {"type": _bool, "metavar": "true|false"}
    elif isinstance(default, int | float):
      options["type"] = type(default)
    parser.add_argument(f"--{name}", **options)
  return parser


def _bool(text: str) -> bool:
  if text.lower() not in ("true", "false"):
    raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
  return text.lower() == "true"


def _importable(builder_class: type) -> type:
  """The same class by a name under which other processes find it."""
  if builder_class.__module__ != "__main__":
    return builder_class
  module = importlib.import_module(sys.modules["__main__"].__spec__.name)
  return getattr(module, builder_class.__name__)

"""Reads pickles of plain data and refuses all others, before anything runs.

A pickle is a program: an ordinary reader lets it name any function and call
it. Lists of annotations need none of that. This reader builds containers,
numbers and texts; whatever names a class or a function is refused.
"""

import pathlib
import pickle
from typing import Any

# Written by Python 2, whose texts have no encoding; none of them fails so.
ENCODING = "latin1"


class RefusedPickle(ValueError):
  """A pickle that is not plain data, or is damaged. Says which and why."""


def load(path: pathlib.Path) -> Any:
  """What a pickle of dicts, lists, tuples, sets, numbers and texts holds.

  Raises RefusedPickle: it names a class or function (the error says which),
    refers to something outside, or is damaged. None of it was run.
  """
  with open(path, "rb") as file:
    reader = _PlainReader(file, encoding=ENCODING)
    try:
      return reader.load()
    except RefusedPickle as error:
      raise RefusedPickle(
        f"{path}: expected a pickle of plain lists, dicts, numbers and texts,"
        f" found {error}; nothing of it was run. Do not use this file: get it"
        " from its source again"
      ) from None
    except Exception as error:  # Any kind, on damaged data.
      raise RefusedPickle(
        f"{path}: expected a complete pickle, found that it is damaged"
        f" ({type(error).__name__}: {error}); get the file again"
      ) from None


# The reader written in Python: the other one keeps a table as long as the
# largest number in the file says, so that ten bytes can fill the memory.
class _PlainReader(pickle._Unpickler):
  """Python's reader, with every way out of plain data closed."""

  def find_class(self, module: str, name: str) -> Any:
    raise RefusedPickle(f"the global {module}.{name}")

  def get_extension(self, code: int) -> Any:
    raise RefusedPickle(f"the registered class number {code}")

  def persistent_load(self, pid: Any) -> Any:
    raise RefusedPickle(f"a reference to something outside, {pid!r}")

"""Answers in a file, so that a run that was killed goes on where it was.

`predictions.jsonl` has one line for each answered question (see
`protocol.Record`) behind a first line that says what was asked of what. Lines
are added as soon as they are answered and never changed; a last line without
its end is what a kill left, and is cut off. Floats are written with as many
digits as bring the same bits back.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from kosmos2_jax.evals.protocol import Question, Record
from kosmos2_jax.training.processes import ALONE, Group

FORMAT = 1  # of predictions.jsonl
# What a header may tell that does not make the answers others: the same
# parameters may lie in two places.
_NOT_COMPARED = ("checkpoint",)
# Messages between processes are small ones.
_PIECE_BYTES = 1 << 20


def plain(value: Any) -> Any:
  """A value as it comes back from JSON: tuples are lists, floats the same.

  Answers take this way before they are scored, whether or not they are read
  from a file: numbers cannot depend on it.

  Raises:
    TypeError: for what JSON cannot say, such as an array.
  """
  return json.loads(json.dumps(value))


class Memory:
  """Keeps nothing; every question is asked."""

  def answers(self) -> dict[str, Record]:
    """What is answered already, by the question's id: nothing."""
    return {}

  def append(self, records: Sequence[Record]) -> None:
    """Does nothing."""


class Store:
  """The `predictions.jsonl` of one task.

  Args:
    path: of the file, on a disk of this machine; its folder is made.
    header: what was asked of what: plain values, `evaluator`, `version` and
      `checkpoint_hash` among them.
    restart: throws away what there is.
    other: what to do with a file that another header begins: "refuse", or
      "restart".
    group: the processes of the run; process 0 alone reads and writes.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    header: Mapping[str, Any],
    *,
    restart: bool = False,
    other: str = "refuse",
    group: Group = ALONE,
  ):
    self.path = epath.Path(path)
    self._header = plain({"format": FORMAT, **header})
    self._restart = restart
    self._other = other
    self._group = group

  def answers(self) -> dict[str, Record]:
    """What is answered already, by the question's id; on all processes.

    Afterwards the file begins with this header and ends with a whole line.

    Raises:
      ValueError: if the file belongs to something else, or is damaged.
    """
    lines: list[str] = []
    fault = ""
    if self._group.is_main:
      try:
        lines = self._open()
      except ValueError as error:
        fault = str(error)
    # One after the other: what one process raises, all raise.
    if fault := self._group.from_main("a fault of predictions", fault):
      raise ValueError(fault)
    records = [self._record(i, line) for i, line in enumerate(self._all(lines))]
    return {record.id: record for record in records}

  def append(self, records: Sequence[Record]) -> None:
    """Adds lines, and has them written before it returns."""
    if not (records and self._group.is_main):
      return
    lines = "".join(_line(record._asdict()) for record in records)
    with open(self.path, "ab") as file:
      file.write(lines.encode())
      file.flush()
      os.fsync(file.fileno())

  def _open(self) -> list[str]:
    """The lines behind the header; makes the file what `answers` says."""
    self.path.parent.mkdir(parents=True, exist_ok=True)
    if not self._restart and self.path.is_file():
      content = self.path.read_bytes()
      whole = content[: content.rfind(b"\n") + 1]
      first, *lines = whole.decode().split("\n")[:-1] or [""]
      difference = self._difference(first) if first else ""
      if difference and self._other == "refuse":
        raise ValueError(
          f"{self.path} keeps the answers of another run: {difference}; take"
          " another folder (--output), or --restart to throw them away."
        )
      if first and not difference:
        if len(whole) < len(content):
          with open(self.path, "r+b") as file:
            file.truncate(len(whole))
        return lines
    # Whole or not at all: a half-written header would be no header.
    unfinished = self.path.with_name(f"{self.path.name}.tmp")
    unfinished.write_text(_line(self._header))
    unfinished.replace(self.path)
    self._restart = False
    return []

  def _difference(self, first: str) -> str:
    """What tells the file's header from ours, or ""."""
    try:
      found = json.loads(first)
    except ValueError:
      found = None
    if not isinstance(found, dict):
      return "its first line is no header"
    for key in {**self._header, **found}:
      theirs, ours = found.get(key), self._header.get(key)
      if key not in _NOT_COMPARED and theirs != ours:
        return f"its {key} is {theirs!r}, here it is {ours!r}"
    return ""

  def _record(self, index: int, line: str) -> Record:
    try:
      return Record(**json.loads(line))
    except (TypeError, ValueError) as error:
      raise ValueError(
        f"line {index + 2} of {self.path} is no record ({error}); --restart"
        " throws the file away."
      ) from error

  def _all(self, lines: list[str]) -> list[str]:
    """The lines of process 0, on every process."""
    if self._group.count == 1:
      return lines
    pieces = list(_pieces(lines)) if self._group.is_main else []
    count = self._group.from_main("how many predictions", len(pieces))
    found: list[str] = []
    for index in range(count):
      mine = pieces[index] if self._group.is_main else None
      found += self._group.from_main("predictions", mine)
    return found


def check_same(question: Question, record: Record, path: Any) -> None:
  """Raises ValueError unless a kept record answers this very question.

  Args:
    question: with plain values.
    record: kept under the question's id.
    path: where, for the message.
  """
  for name in ("group", "ask", "truth"):
    if getattr(question, name) != getattr(record, name):
      raise ValueError(
        f"question {question.id!r} has another {name!r} in {path} than the"
        " data has now; take another folder (--output), or --restart to throw"
        " the answers away."
      )


def _line(content: Mapping[str, Any]) -> str:
  return json.dumps(content, ensure_ascii=False) + "\n"


def _pieces(lines: Sequence[str]) -> Iterator[list[str]]:
  """Lines in lists that are not too long to be sent."""
  piece: list[str] = []
  size = 0
  for line in lines:
    piece.append(line)
    size += len(line)
    if size > _PIECE_BYTES:
      yield piece
      piece, size = [], 0
  if piece:
    yield piece

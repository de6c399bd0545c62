"""Reads the text of an optimised XLA program: what runs, and how often."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_ITEM_BITS = {
  "pred": 8,
  "token": 0,
  "bf16": 16,
  "c64": 64,
  "c128": 128,
}
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$", re.DOTALL)
_OPCODE = re.compile(r" *([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(
  r"\b(condition|body|calls|to_apply|branch_computations"
  r"|true_computation|false_computation)=(\{[^}]*\}|%?[\w.\-]+)"
)
# Computations of these run once for each element, in place of a loop; or the
# start of an asynchronous one has counted them.
_NOT_COUNTED = {
  "async-done",
  "async-update",
  "all-reduce",
  "all-reduce-start",
  "map",
  "reduce",
  "reduce-scatter",
  "reduce-window",
  "scatter",
  "select-and-scatter",
  "sort",
}


class Instruction(NamedTuple):
  """One line.

  Attributes:
    name: unique in its computation.
    shape: of the result, as written; tuples in parentheses.
    opcode: for example `all-gather`.
    operands: names of the inputs.
    literal: what stands between the parentheses.
    attributes: what stands behind them.
    is_root: the result of its computation.
  """

  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  literal: str
  attributes: str
  is_root: bool

  @property
  def op_name(self) -> str:
    """Where in the model it comes from, "" if it does not say."""
    found = re.search(r'op_name="([^"]*)"', self.attributes)
    return found[1] if found else ""


class ArrayShape(NamedTuple):
  """One array of an instruction's result.

  Attributes:
    dtype: XLA's name, for example `bf16`.
    dims: sizes.
    in_hbm: False for arrays in the chip's own memory.
  """

  dtype: str
  dims: tuple[int, ...]
  in_hbm: bool

  @property
  def num_bytes(self) -> int:
    """Size without padding."""
    return math.prod(self.dims) * item_bits(self.dtype) // 8


class Program(NamedTuple):
  """A parsed program.

  Attributes:
    computations: instructions by name, in the order of the text.
    entry: name of the computation that runs.
    counts: how often each computation runs in one execution.
    fused: computations that are the inside of one instruction.
    open_loops: loops whose number of rounds the text does not say.
  """

  computations: dict[str, tuple[Instruction, ...]]
  entry: str
  counts: dict[str, int]
  fused: frozenset[str]
  open_loops: tuple[str, ...]

  def executed(self, fused: bool) -> Iterator[tuple[int, str, Instruction]]:
    """(runs, computation, instruction) of all that runs.

    Args:
      fused: with the inside of fusions.
    """
    for name, count in self.counts.items():
      if fused or name not in self.fused:
        for instruction in self.computations[name]:
          yield count, name, instruction


def item_bits(dtype: str) -> int:
  """Bits of one element."""
  if dtype in _ITEM_BITS:
    return _ITEM_BITS[dtype]
  found = re.match(r"[a-z]+(\d+)", dtype)
  return int(found[1]) if found else 0


def arrays(shape: str) -> list[ArrayShape]:
  """The arrays of a shape, one by one."""
  return [
    ArrayShape(
      dtype,
      tuple(int(size) for size in dims.split(",") if size),
      not re.search(r"S\([1-9]", layout),
    )
    for dtype, dims, layout in _ARRAY.findall(shape)
  ]


def num_bytes(shape: str) -> int:
  """Bytes of all arrays of a shape."""
  return sum(array.num_bytes for array in arrays(shape))


def parse(text: str, open_rounds: int = 1) -> Program:
  """Reads `jax.stages.Compiled.as_text()`.

  Loops count as often as XLA notes in `known_trip_count`, or as their condition
  says: `i < constant` as `jax.lax.scan` makes them, from 0 on, where the body
  may add more than 1 to i.

  Args:
    text: of the program.
    open_rounds: rounds of a loop that says neither.

  Raises:
    ValueError: for a text without an entry computation.
  """
  written: dict[str, list[str]] = {}
  entry, current = "", None
  for line in text.splitlines():
    if current is None:
      if header := _HEADER.match(line):
        current = written.setdefault(header[2], [])
        entry = header[2] if header[1] else entry
    elif line == "}" or line.startswith("}, execution_thread"):
      current = None
    elif _LINE.match(line):
      current.append(line)
    elif current:
      current[-1] += line  # What a kernel notes may be several lines.
  if not entry:
    raise ValueError(
      "expected the text of an XLA program with an ENTRY computation, found"
      f" {text[:60]!r}…"
    )
  program = Program(
    {name: tuple(map(_instruction, lines)) for name, lines in written.items()},
    entry,
    counts={},
    fused=frozenset(),
    open_loops=(),
  )
  fused: set[str] = set()
  loops: list[str] = []
  _visit(program, entry, 1, False, open_rounds, fused, loops)
  return program._replace(fused=frozenset(fused), open_loops=tuple(loops))


def called(instruction: Instruction, role: str = "") -> list[str]:
  """Names of the computations that an instruction runs, in one role or all."""
  return [
    name
    for found, names in _CALLED.findall(instruction.attributes)
    if not role or found == role
    for name in re.findall(r"[\w.\-]+", names)
  ]


def _instruction(line: str) -> Instruction:
  """Splits `name = shape opcode(operands), attributes`."""
  root, name, rest = _LINE.match(line).groups()
  end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.find(" ")
  shape = rest[:end]
  opcode = _OPCODE.match(rest, end)
  if opcode is None:
    return Instruction(name, shape, "", (), "", rest[end:], bool(root))
  close = _closing(rest, opcode.end() - 1)
  literal = rest[opcode.end() : close]
  operands = tuple(_NAME.findall(literal))
  attributes = rest[close + 1 :]
  return Instruction(
    name, shape, opcode[1], operands, literal, attributes, bool(root)
  )


def _closing(text: str, start: int) -> int:
  """Place of the parenthesis that closes the one at `start`."""
  depth = 0
  for found in re.compile(r"[()]").finditer(text, start):
    depth += 1 if found[0] == "(" else -1
    if not depth:
      return found.start()
  return len(text)


def _visit(program, name, count, inside, open_rounds, fused, loops):
  """Adds up how often a computation and all that it calls is run."""
  program.counts[name] = program.counts.get(name, 0) + count
  if inside:
    fused.add(name)
  for line in program.computations.get(name, ()):
    if line.opcode in _NOT_COUNTED:
      continue
    times = count
    if line.opcode == "while":
      rounds = _rounds(program, line)
      if rounds is None:
        loops.append(line.op_name or line.name)
        rounds = open_rounds
      times = count * rounds
    within = inside or line.opcode == "fusion"
    for other in called(line):
      if other in program.computations:
        _visit(program, other, times, within, open_rounds, fused, loops)


def _rounds(program: Program, loop: Instruction) -> int | None:
  """Rounds of a while loop, None if they depend on what is computed."""
  known = re.search(r'known_trip_count"?:\{"n":"(\d+)"', loop.attributes)
  if known:
    return int(known[1])
  [condition] = called(loop, "condition")
  lines = {line.name: line for line in program.computations[condition]}
  root = next((line for line in lines.values() if line.is_root), None)
  if root is None or not _is_less_than(program, root):
    return None
  limit = next(
    (n for n in map(lines.get, root.operands) if _is(n, "constant")), None
  )
  counter = next(
    (n for n in map(lines.get, root.operands) if _is(n, "get-tuple-element")),
    None,
  )
  if limit is None or counter is None:
    return None
  [body] = called(loop, "body")
  step = _step(program.computations[body], _index(counter))
  return -(-int(limit.literal) // step)


def _step(body: tuple[Instruction, ...], index: int) -> int:
  """What a round adds to the loop's counter: 2 if it does two in one."""
  lines = {line.name: line for line in body}
  root = next(line for line in body if line.is_root)
  if root.opcode == "tuple" and _is(lines.get(root.operands[index]), "add"):
    added = lines[root.operands[index]]
    parts = [lines[name] for name in added.operands]
    constants = [int(p.literal) for p in parts if p.opcode == "constant"]
    if len(constants) == 1 and constants[0] > 0:
      return constants[0]
  return 1


def _is(line: Instruction | None, opcode: str) -> bool:
  return line is not None and line.opcode == opcode


def _index(line: Instruction) -> int:
  """Which part of a tuple it takes."""
  return int(re.search(r"index=(\d+)", line.attributes)[1])


def _is_less_than(program: Program, root: Instruction) -> bool:
  if root.opcode == "fusion":
    [inner] = called(root, "calls")
    root = next(line for line in program.computations[inner] if line.is_root)
  return root.opcode == "compare" and "direction=LT" in root.attributes

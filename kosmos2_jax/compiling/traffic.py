"""What a compiled step reads and writes, and which of its arrays are large."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from kosmos2_jax.compiling import hlo
from kosmos2_jax.compiling.hlo import Instruction, Program

# They name arrays, or run something that is counted by itself.
_FREE = {
  "after-all",
  "bitcast",
  "call",
  "conditional",
  "constant",
  "get-tuple-element",
  "iota",
  "opt-barrier",
  "parameter",
  "partition-id",
  "replica-id",
  "tuple",
  "while",
}
# They make room, or give another name to it.
_NO_WORK = ("AllocateBuffer", "ConcatBitcast", "SliceId", "ZeroCrop")
_SLICES = ("dynamic-slice", "gather", "slice")


class Large(NamedTuple):
  """An array of a device.

  Attributes:
    num_bytes: its size.
    shape: for example `bf16[2,2048,8192]`.
    op_name: where in the model it comes from.
  """

  num_bytes: int
  shape: str
  op_name: str


def hbm_bytes(program: Program) -> int:
  """Bytes that a step moves between a device's memory and the device.

  Every instruction reads its operands and writes its result; what a fusion
  cuts out of an operand, or writes into a part of it, counts alone. What XLA
  keeps in the chip's own memory (space S(1)) is free.
  """
  return sum(
    count * sum(_moved(program, computation, line))
    for count, computation, line in program.executed(fused=False)
    if line.opcode not in _FREE and not line.opcode.endswith("-done")
  )


def largest(program: Program, number: int = 8) -> list[Large]:
  """The largest arrays that are made, one for each shape."""
  found: dict[str, Large] = {}
  for _, _, line in program.executed(fused=False):
    if line.opcode in _FREE or line.opcode.endswith(("-done", "-update")):
      continue
    for array in hlo.arrays(line.shape):
      shape = _written(array)
      if array.in_hbm and shape not in found:
        found[shape] = Large(array.num_bytes, shape, line.op_name)
  return sorted(found.values(), reverse=True)[:number]


def whole_batches(
  program: Program,
  leading: Mapping[tuple[int, ...], int],
  least: int = 2**20,
) -> list[Large]:
  """Arrays that every device has for the whole batch.

  Args:
    program: of a mesh that cuts the batch.
    leading: how such an array begins, (rows, tokens), (pictures, patches), …,
      and how much follows for each token or patch: less is a part of it, of
      an array that is cut along its channels.
    least: bytes; smaller ones are not listed.
  """
  found: dict[str, Large] = {}
  for _, _, line in program.executed(fused=True):
    for array in hlo.arrays(line.shape):
      begins = any(
        array.dims[: len(dims)] == dims
        and math.prod(array.dims[len(dims) :]) >= channels
        for dims, channels in leading.items()
      )
      shape = _written(array)
      if begins and array.num_bytes >= least and shape not in found:
        found[shape] = Large(array.num_bytes, shape, line.op_name)
  return sorted(found.values(), reverse=True)


def _written(array: hlo.ArrayShape) -> str:
  return f"{array.dtype}[{','.join(map(str, array.dims))}]"


def _moved(program: Program, computation: str, line: Instruction) -> list[int]:
  """Bytes of the operands and the result in memory."""
  shapes = {one.name: one.shape for one in program.computations[computation]}
  operands = [shapes.get(name, "") for name in line.operands]
  inner = None
  if any(
    f'custom_call_target="{name}"' in line.attributes for name in _NO_WORK
  ):
    return []
  if line.opcode == "slice-start":  # ((operand), result, …)
    result = hlo.arrays(line.shape)[1]
    return [result.num_bytes * (1 + result.in_hbm)]
  if line.opcode.endswith("-start"):
    return [_in_hbm(line.shape)]  # The operand stands beside the result.
  if line.opcode == "fusion":
    [name] = hlo.called(line, "calls")
    inner = program.computations.get(name)
  if inner is None:
    if line.opcode in _SLICES:
      operands = [line.shape]
    elif line.opcode == "dynamic-update-slice":
      return [2 * _in_hbm(operands[1])]
    return [*map(_in_hbm, operands), _in_hbm(line.shape)]
  moved = [
    _parameter(program, inner, number, _in_hbm(shape))
    for number, shape in enumerate(operands)
  ]
  return [*moved, _result(inner, line)]


def _in_hbm(shape: str) -> int:
  return sum(a.num_bytes for a in hlo.arrays(shape) if a.in_hbm)


def _parameter(program, inner, number, whole: int) -> int:
  """Bytes that a computation reads of its n-th operand of so many bytes."""
  for line in inner:
    if line.opcode == "parameter" and line.literal == str(number):
      return _read(program, inner, line.name, whole)
  return whole


def _read(program, inner, name, whole: int) -> int:
  """Bytes that are read of an array: all, or what is cut out of it."""
  parts, users = 0, [line for line in inner if name in line.operands]
  for user in users:
    first = user.operands[0] == name
    if user.opcode in _SLICES and first:
      parts += hlo.num_bytes(user.shape)
    elif user.opcode == "bitcast":
      parts += _read(program, inner, user.name, whole)
    elif user.opcode == "fusion":
      [called] = hlo.called(user, "calls")
      parts += sum(
        _parameter(program, program.computations[called], number, whole)
        for number, operand in enumerate(user.operands)
        if operand == name
      )
    elif user.opcode != "dynamic-update-slice" or not first:
      return whole  # What is updated in place is not read.
  return min(whole, parts) if users else whole


def _result(inner: tuple[Instruction, ...], line: Instruction) -> int:
  """Bytes that a fusion writes."""
  shapes = {one.name: one for one in inner}
  root = next(one for one in inner if one.is_root)
  while root.opcode in ("bitcast", "copy") and root.operands:
    root = shapes[root.operands[0]]
  if root.opcode == "dynamic-update-slice" and _in_hbm(line.shape):
    return hlo.num_bytes(shapes[root.operands[1]].shape)
  return _in_hbm(line.shape)


def out_of_memory(message: str) -> tuple[int, int] | None:
  """(needed, available) bytes in XLA's words for a program that is too large.

  None for a message that says something else.
  """
  size = r"([\d.]+)([KMGT]?)"
  for pattern in (
    rf"\({size}\) exceeds available HBM \({size}\)",
    rf"Used {size} of {size} hbm",
  ):
    if found := re.search(pattern, message):
      needed, unit, available, of = found.groups()
      return _bytes(needed, unit), _bytes(available, of)
  return None


def _bytes(number: str, unit: str) -> int:
  return int(float(number) * 1024 ** " KMGT".index(unit or " "))

"""What devices send each other in a compiled step, by kind and mesh axis."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from kosmos2_jax.compiling import hlo

# By opcode; the `-start` of an asynchronous one does the work.
KINDS = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "ragged-all-to-all",
  "collective-permute",
  "collective-broadcast",
)
# What hosts bring from other slices, by the name XLA has for it.
_BETWEEN_SLICES = {
  "ALL_GATHER": "all-gather",
  "ALL_REDUCE": "all-reduce",
  "REDUCE_SCATTER": "reduce-scatter",
  "ALL_TO_ALL": "all-to-all",
  "ONE_TO_ONE": "collective-permute",
}
_TRANSFER = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
Groups = list[list[int]]


class Layout(NamedTuple):
  """Which devices a program's numbers stand for.

  A program for several slices is the program of one of them: its numbers
  count the devices of one slice, and what crosses slices is sent by hosts.

  Attributes:
    axes: names of the mesh's axes.
    places: coordinates in the mesh of device 0, 1, … of a slice.
    across: the axes along which slices differ, joined by "+".
  """

  axes: tuple[str, ...]
  places: np.ndarray
  across: str


class Collective(NamedTuple):
  """One exchange between devices.

  Attributes:
    kind: of `KINDS`.
    axes: the mesh axes it goes along, joined by "+".
    num_bytes: what a device receives each time.
    count: times in a step.
    shape: of the result.
    op_name: where in the model it comes from.
    between_slices: it goes over the network of the data centre.
  """

  kind: str
  axes: str
  num_bytes: float
  count: int
  shape: str
  op_name: str
  between_slices: bool


def layout_of(mesh: Mesh) -> Layout:
  """The layout of a program for this mesh."""
  devices = mesh.devices.reshape(-1)
  slices = np.array([getattr(d, "slice_index", 0) or 0 for d in devices])
  shape = mesh.devices.shape
  places = np.stack(np.unravel_index(np.arange(len(devices)), shape), axis=-1)
  numbers = slices.reshape(shape)
  across = [
    name
    for axis, name in enumerate(mesh.axis_names)
    if (numbers != np.take(numbers, [0], axis=axis)).any()
  ]
  own = places[slices == slices[0]]
  return Layout(tuple(mesh.axis_names), own, "+".join(across))


def collectives_of(program: hlo.Program, layout: Layout) -> list[Collective]:
  """All exchanges of one step.

  Bytes are what one device receives at the least: (n-1)/n of the result of an
  all-gather, or of what a reduce-scatter or all-to-all among n starts from,
  twice that for an all-reduce, all of a permute's.

  Raises:
    ValueError: for groups of devices in a form that is not known.
  """
  found, seen = [], set()
  for count, computation, line in program.executed(fused=True):
    kind = line.opcode.removesuffix("-start")
    transfer = _TRANSFER.search(line.attributes)
    if kind == "recv" and transfer:
      kind = _BETWEEN_SLICES.get(transfer[1], transfer[1].lower())
      found.append(
        Collective(
          kind,
          layout.across,
          _arrays_bytes(line),
          count,
          line.shape,
          line.op_name,
          between_slices=True,
        )
      )
    if kind not in KINDS or line.opcode == "recv":
      continue
    if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
      kind = "reduce-scatter"  # XLA for TPU writes it so.
      line = line._replace(opcode="all-reduce")
    # One that is spread over several fusions stands in each of them.
    chain = re.search(r'chain_id="(\d+)"', line.attributes)
    channel = re.search(r"channel_id=(\d+)", line.attributes)
    if chain and channel:
      if (channel[1], chain[1]) in seen:
        continue
      seen.add((channel[1], chain[1]))
    axes, size = _along(kind, line, layout)
    if size < 2:
      continue
    received = _received(kind, line, size)
    found.append(
      Collective(
        kind,
        axes,
        received,
        count,
        line.shape,
        line.op_name,
        between_slices=False,
      )
    )
  return found


def bytes_by_kind(found: Sequence[Collective]) -> dict[str, dict[str, float]]:
  """Bytes that a device receives in a step, by kind and axes.

  Axes that are crossed between slices are named as in "dcn:data".
  """
  totals: dict[str, dict[str, float]] = {}
  for one in found:
    of_kind = totals.setdefault(one.kind, {})
    axes = f"dcn:{one.axes}" if one.between_slices else one.axes
    of_kind[axes] = of_kind.get(axes, 0) + one.num_bytes * one.count
  return totals


def parse_groups(attributes: str, num_devices: int) -> Groups:
  """The groups of devices of an instruction, in any of XLA's notations.

  `{{0,1},{2,3}}`, `[2,2]<=[4]`, `[2,2]<=[2,2]T(1,0)`,
  `mesh['a'=2,'b'=2] {'b'}` and the same with device_ids.

  Raises:
    ValueError: for any other.
  """
  found = re.search(r"replica_groups=", attributes)
  text = attributes[found.end() :] if found else "{}"
  if text.startswith("{}"):
    return [list(range(num_devices))]
  if text.startswith("{{"):
    inner = text[1 : text.index("}}") + 1]
    groups = re.findall(r"\{([\d,]*)\}", inner)
    return [[int(i) for i in group.split(",")] for group in groups]
  iota = re.match(r"\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text)
  if iota:
    return _iota(iota[2]).reshape(_numbers(iota[1])).tolist()
  mesh = re.match(
    r"mesh\[([^\]]*)\](?:, device_ids=\((\[[^)]*\)?|[\d,]+)\))? \{([^}]*)\}",
    text,
  )
  if mesh:
    return _mesh_groups(*mesh.groups())
  raise ValueError(
    f"expected replica_groups in a known form, found {text[:60]!r}; add it to"
    " parse_groups in kosmos2_jax/compiling/collectives.py."
  )


def _arrays_bytes(line: hlo.Instruction) -> int:
  """Bytes of a result without the numbers that keep account of a transfer."""
  return sum(a.num_bytes for a in hlo.arrays(line.shape) if a.dims)


def _numbers(text: str) -> list[int]:
  return [int(number) for number in re.findall(r"\d+", text)]


def _iota(text: str) -> np.ndarray:
  """`[2,4]T(1,0)`: 0 … 7 in this shape, transposed, in a row."""
  shape, _, order = text.partition("T")
  numbers = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
  return numbers.transpose(_numbers(order) or None).reshape(-1)


def _mesh_groups(sizes: str, device_ids: str | None, along: str) -> Groups:
  """Groups that differ along some axes, or parts of axes, of a mesh."""
  named = re.findall(r"'?([^',=]+)'?=(\d+)", sizes)
  shape = [int(size) for _, size in named]
  names = [name for name, _ in named]
  if device_ids is None:
    ids = np.arange(math.prod(shape))
  elif device_ids.startswith("["):
    ids = _iota(device_ids)
  else:
    ids = np.array(_numbers(device_ids))
  # An axis `a:(2)4` is the middle of a = 2 · 4 · rest.
  parts: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
  for name, before, size in re.findall(
    r"'?([^',{}:]+)'?(?::\((\d+)\)(\d+))?", along
  ):
    whole = (1, shape[names.index(name)])
    parts[name].append((int(before), int(size)) if size else whole)
  split, moving = [], []
  for name, size in zip(names, shape, strict=True):
    done = 1
    for before, count in sorted(parts[name]):
      if before > done:
        split.append(before // done)
      moving.append(len(split))
      split.append(count)
      done = before * count
    split.append(size // done)
  kept = [axis for axis in range(len(split)) if axis not in moving]
  members = math.prod(split[axis] for axis in moving)
  ordered = ids.reshape(split).transpose(*kept, *moving)
  return ordered.reshape(-1, members).tolist()


def _along(kind, line, layout) -> tuple[str, int]:
  """The axes an exchange goes along, and the size of its groups."""
  if kind == "collective-permute":
    pairs = re.search(r"source_target_pairs=\{(.*?)\}\}", line.attributes)
    groups = [
      [int(i) for i in pair]
      for pair in re.findall(r"(\d+),(\d+)", pairs[1] if pairs else "")
    ]
    groups = [pair for pair in groups if pair[0] != pair[1]]
  else:
    groups = parse_groups(line.attributes, len(layout.places))
  size = max((len(group) for group in groups), default=1)
  moving = np.zeros(len(layout.axes), bool)
  for group in groups:
    places = layout.places[group]
    moving |= (places != places[0]).any(axis=0)
  names = [n for n, moves in zip(layout.axes, moving, strict=True) if moves]
  return "+".join(names), size


def _received(kind: str, line: hlo.Instruction, size: int) -> float:
  """Bytes that a device receives."""
  whole = hlo.num_bytes(line.shape)
  rest = (size - 1) / size
  if line.opcode == "all-gather-start":
    whole = whole * size / (size + 1)  # The result stands beside the operand.
  if kind == "reduce-scatter" and line.opcode != "all-reduce":
    whole = whole * size  # The result is one part.
  if kind == "all-reduce":
    return 2 * rest * whole
  if kind in ("collective-permute", "collective-broadcast"):
    # The results of a start are the operands, again, and two numbers.
    started = line.opcode.endswith("-start")
    return _arrays_bytes(line) / (2 if started else 1)
  return rest * whole

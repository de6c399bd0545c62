"""A compiled step in words, and as numbers for machines."""

from typing import Any

from rich.console import Console
from rich.table import Table

from kosmos2_jax.compiling.programs import Report

GIB = 2**30
CAVEAT = (
  "This shows that the step compiles, what memory it needs, and what is sent"
  " where. It does not show speed: no run is faster than the bound, and all"
  " are slower."
)


def as_json(report: Report) -> dict[str, Any]:
  """The report as one flat-ish object; bytes are those of one device."""
  job, topology, bounds = report.job, report.topology, report.bounds
  seconds = None
  if bounds:
    seconds = bounds._asdict() | {"bound": bounds.bound, "binds": bounds.binds}
  return {
    "topology": topology.name,
    "num_slices": topology.num_slices,
    "num_chips": topology.num_chips,
    "num_devices": len(topology.devices),
    "mesh": report.mesh,
    **job.shape,
    "num_microbatches": job.num_microbatches,
    "fits": report.fits,
    "needed_bytes": report.needed_bytes,
    "available_bytes": report.available_bytes,
    "argument_bytes": report.argument_bytes,
    "temp_bytes": report.temp_bytes,
    "peak_bytes": report.peak_bytes,
    "model_flops": report.model_flops,
    "step_flops": report.step_flops,
    "hbm_bytes": report.hbm_bytes,
    "collective_bytes": report.collective_bytes,
    "roofline_seconds": seconds,
    "mfu_bound": report.mfu_bound,
    "unsharded_bytes": report.unsharded,
    "whole_batch_bytes": {
      large.shape: large.num_bytes for large in report.whole_batches
    },
    "open_loops": list(report.open_loops),
    "compile_seconds": round(report.compile_seconds, 1),
  }


def verdict(report: Report) -> str:
  """One sentence: does it fit?"""
  rows = f"{report.job.num_rows:,} rows of {report.job.seq_len:,}"
  where = f"{report.topology.num_slices} x {report.topology.name}"
  needed, free = report.needed_bytes / GIB, report.available_bytes / GIB
  if report.fits:
    return (
      f"a step of {rows} fits {where}: {needed:.2f} GiB of {free:.2f} GiB a"
      " device"
    )
  return (
    f"a step of {rows} does not fit {where}: it needs {needed:.2f} GiB of a"
    f" device that has {free:.2f} GiB; take fewer rows, more microbatches"
    " (config.num_microbatches), config.model.remat=full or a mesh with more"
    " fsdp or tensor"
  )


def show(report: Report, console: Console) -> None:
  """Prints the report."""
  console.print(f"[bold]{verdict(report)}[/bold]", highlight=False)
  console.print(_summary(report))
  if report.fits:
    console.print(_traffic(report))
    console.print(_largest(report))
  _sharding(report, console)
  console.print(f"[italic]{CAVEAT}[/italic]")


def _summary(report: Report) -> Table:
  job, topology = report.job, report.topology
  chip = topology.chip
  table = Table(show_header=False, title="step", title_justify="left")
  mesh = " x ".join(f"{name} {size}" for name, size in report.mesh.items())
  add = table.add_row
  add("chips", f"{topology.num_chips:,} {chip.name}, mesh {mesh}")
  shape = job.shape
  add(
    "batch",
    f"{shape['num_rows']:,} rows x {shape['seq_len']:,} tokens,"
    f" {shape['num_images']:,} pictures,"
    f" {job.num_microbatches} microbatch(es)",
  )
  if report.fits:
    for name in ("argument", "temp", "peak"):
      add(f"{name} memory", _gib(getattr(report, f"{name}_bytes")))
  model = report.model_flops
  extra = report.step_flops / model - 1
  add(
    "model FLOPs",
    f"{model / 1e12:,.1f} TFLOP (6 a weight and token, causal attention;"
    f" remat adds {extra:.0%})",
  )
  if bounds := report.bounds:
    for name, seconds in bounds._asdict().items():
      mark = "  <- binds" if name == bounds.binds else ""
      add(f"bound: {name}", f"{seconds * 1e3:,.1f} ms{mark}")
    tokens = shape["num_rows"] * shape["seq_len"]
    add(
      "no faster than",
      f"{bounds.bound * 1e3:,.1f} ms a step, MFU {report.mfu_bound:.1%},"
      f" {tokens / bounds.bound / topology.num_chips:,.0f} tokens/s/chip",
    )
  add("compiled in", f"{report.compile_seconds:,.0f} s")
  return table


def _traffic(report: Report) -> Table:
  table = Table(title="received by a device in a step", title_justify="left")
  table.add_column("collective")
  table.add_column("along")
  table.add_column("MB", justify="right")
  rows = [
    (num_bytes, kind, axes)
    for kind, by_axes in (report.collective_bytes or {}).items()
    for axes, num_bytes in by_axes.items()
  ]
  for num_bytes, kind, axes in sorted(rows, reverse=True):
    table.add_row(kind, axes, f"{num_bytes / 1e6:,.1f}")
  table.add_row("memory", "", f"{report.hbm_bytes / 1e6:,.0f}")
  return table


def _largest(report: Report) -> Table:
  table = Table(title="largest arrays of a device", title_justify="left")
  table.add_column("MB", justify="right")
  table.add_column("shape")
  table.add_column("made by")
  for large in report.largest:
    table.add_row(f"{large.num_bytes / 1e6:,.0f}", *_where(large))
  return table


def _sharding(report: Report, console: Console) -> None:
  """Says what every device has whole."""
  for path, num_bytes in report.unsharded.items():
    console.print(f"not sharded: {path}, {num_bytes / 1e6:,.1f} MB each")
  for large in report.whole_batches:
    shape, name = _where(large)
    console.print(
      f"the whole batch on each device: {shape},"
      f" {large.num_bytes / 1e6:,.1f} MB, in {name or '?'}",
    )
  if not report.unsharded and not report.whole_batches:
    console.print("all large parameters and activations are sharded")
  for loop in dict.fromkeys(report.open_loops):
    console.print(
      f"counted with the most rounds it can have: {loop}", markup=False
    )


def _where(large: Any) -> tuple[str, str]:
  parts = [p for p in large.op_name.split("/") if not p.startswith("closed_")]
  return large.shape.replace("[", "\\["), "/".join(parts[-3:])


def _gib(num_bytes: int) -> str:
  return f"{num_bytes / GIB:.2f} GiB ({num_bytes:,} bytes) a device"

r"""Measures a config's training step on the devices that are here.

  python -m kosmos2_jax.tools.measure --config=configs/pretrain.py:text_only \
    --batch_per_device=8

First holds the attention kernel of the devices against the written-out form:
values, gradients, time and memory, in the config's heads and row length. Then
trains on a batch of random words and pictures and prints seconds, tokens a
second, MFU and memory. Reads no data and writes no checkpoint; `tools.compile`
is for devices that are not here.

--compare trains `transformers`' model of the same sizes first, in a process of
its own, on one device: rows of one picture at most and no packing, which it has
not. Both have random weights, float32 under the config's compute type.

The batch is the config's, or --batch_per_device rows for each device.

The last line is one JSON object. The status is 0, or 1 if a kernel computes
something else than the written-out form, or 2 for a mistake in the command.
"""

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
from absl import flags
from rich.console import Console
from rich.table import Table

from kosmos2_jax import command_line
from kosmos2_jax.benchmarks import kernels, own_step, peer_step, worker
from kosmos2_jax.benchmarks.kernels import KernelReport
from kosmos2_jax.benchmarks.own_step import StepReport
from kosmos2_jax.benchmarks.peer_step import PeerReport
from kosmos2_jax.compiling.jobs import Job, job_of
from kosmos2_jax.convert import peer as peer_lib
from kosmos2_jax.models import attention

GIB = 2**30
EXAMPLE = (
  "python -m kosmos2_jax.tools.measure"
  " --config=configs/pretrain.py:text_only --batch_per_device=8"
)


def run(read: flags.FlagValues) -> int:
  """Measures, prints, writes; returns the status."""
  console = Console()
  rows = read.batch_per_device
  theirs = None
  if read.compare:
    theirs = _theirs(job_of(read.config, rows), read)
  devices = jax.devices()
  job = job_of(read.config, rows and rows * len(devices))
  kernel = _kernel(job, devices[0].platform, read.repeats)
  if kernel is not None:
    show_kernel(kernel, console)
  step = None
  if read.step:
    step = own_step.measure_step(
      job, repeats=read.repeats, num_steps=read.num_steps
    )
    show_step(step, theirs, console)
  content = {
    "jax": jax.__version__,
    "kernel": None if kernel is None else kernel._asdict(),
    "step": step and step.as_json(),
    "theirs": theirs and theirs._asdict(),
  }
  if read.output:
    path = Path(read.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
  print(json.dumps(content))
  return int(kernel is not None and not kernel.same)


def _theirs(job: Job, read: flags.FlagValues) -> PeerReport:
  """`transformers`, before jax takes the device's memory."""
  if not (read.batch_per_device and read.step):
    raise ValueError("--compare wants --batch_per_device, and the step")
  if missing := peer_lib.missing():
    raise ValueError(f"to compare, pip install {missing}")
  peer_step.check(job)
  pool = worker.make_pool()
  try:
    arguments = (job, read.repeats, read.num_steps)
    return pool.apply(peer_step.measure_peer, arguments)
  finally:
    pool.terminate()


def _kernel(job: Job, platform: str, repeats: int) -> KernelReport | None:
  """The kernel that the config means there, compared; None for none."""
  dtype = job.compute.get("dtype", "float32")
  name = job.compute.get("attention", attention.AUTO)
  chosen = attention.choose(name, platform, dtype)
  if chosen == "xla":
    return None
  decoder = job.sizes["decoder"]
  return kernels.measure_kernel(
    chosen,
    rows=4,
    length=job.seq_len,
    heads=decoder["num_heads"],
    width=decoder["width"] // decoder["num_heads"],
    dtype=dtype,
    repeats=repeats,
  )


def show_kernel(report: KernelReport, console: Console) -> None:
  """Prints one kernel."""
  table = Table(show_header=False, title=f"attention: {report.implementation}")
  worst = max(report.differences, key=report.differences.get)
  table.add_row(
    "beside xla",
    f"{'the same' if report.same else 'NOT the same'}: at most"
    f" {report.differences[worst]:.1e} of the largest value ({worst})",
  )
  table.add_row(
    "forward and backward",
    f"{1e3 * statistics.median(report.seconds):.2f} ms,"
    f" {report.ratio:.2f} x as fast",
  )
  table.add_row(
    "memory",
    f"{report.temp_bytes / GIB:.2f} GiB, xla"
    f" {report.reference_temp_bytes / GIB:.2f} GiB",
  )
  console.print(table)


def show_step(
  report: StepReport, theirs: PeerReport | None, console: Console
) -> None:
  """Prints one step, and how it compares."""
  job, shape = report.job, report.job.shape
  mesh = " x ".join(f"{name} {size}" for name, size in report.mesh.items())
  median = statistics.median(report.seconds)
  table = Table(show_header=False, title="training step")
  add = table.add_row
  add("devices", f"{report.num_devices} x {report.device_kind}, mesh {mesh}")
  add(
    "batch",
    f"{shape['num_rows']:,} rows x {shape['seq_len']:,} tokens,"
    f" {shape['num_images']:,} pictures,"
    f" {job.num_microbatches} microbatch(es)",
  )
  add(
    "computes in",
    f"{job.compute.get('dtype', 'float32')}, attention {report.attention},"
    f" remat {job.compute.get('remat', 'none')}",
  )
  lowest, highest = min(report.seconds), max(report.seconds)
  add("a step", f"{median:.4g} s ({lowest:.4g} … {highest:.4g})")
  add(
    "tokens/s",
    f"{report.tokens_per_second:,.0f}, a device"
    f" {report.tokens_per_second / report.num_devices:,.0f}",
  )
  if report.mfu is not None:
    add("MFU", f"{report.mfu:.1%} of {report.model_flops / 1e12:,.1f} TFLOP")
  memory = f"{report.argument_bytes / GIB:.2f} GiB of state and batch"
  memory += f" + {report.temp_bytes / GIB:.2f} GiB within the step"
  if report.peak_bytes is not None:
    memory += f"; at most {report.peak_bytes / GIB:.2f} GiB in use"
  add("memory of a device", memory)
  add("loss", f"{report.losses[0]:.4g} -> {report.losses[1]:.4g}")
  add("compiled in", f"{report.compile_seconds:.1f} s")
  if theirs is not None:
    other = statistics.median(theirs.seconds)
    # Of one device, with the rows of one.
    words = f"{other:.4g} s a step; ours is {other / median:.2f} x as fast"
    if theirs.peak_bytes is not None:
      words += f"; {theirs.peak_bytes / GIB:.2f} GiB in use at most"
    add(f"transformers {theirs.transformers}", words)
  console.print(table)


def define(read: flags.FlagValues) -> None:
  """The command's own flags."""
  for name, default, text in (
    ("batch_per_device", None, "Rows for each device."),
    ("repeats", 3, "Repetitions; the median counts."),
    ("num_steps", 5, "Updates of a repetition."),
  ):
    flags.DEFINE_integer(name, default, text, lower_bound=1, flag_values=read)
  flags.DEFINE_bool("step", True, "Else attention alone.", read)
  flags.DEFINE_bool("compare", False, "Measure transformers too.", read)
  flags.DEFINE_string("output", None, "JSON file to write.", read)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""

  def command():
    read = command_line.read_flags(
      argv, define, required=(), example=EXAMPLE, doc=__doc__
    )
    return run(read)

  return command_line.run(argv, command)


if __name__ == "__main__":
  sys.exit(main(sys.argv))

"""Compiles the training step for a topology and reads what comes out."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh

from kosmos2_jax import sharding
from kosmos2_jax.batch import batch_spec
from kosmos2_jax.compiling import collectives, hlo, roofline, traffic
from kosmos2_jax.compiling.jobs import Job
from kosmos2_jax.compiling.roofline import Roofline
from kosmos2_jax.compiling.topologies import Topology
from kosmos2_jax.compiling.traffic import Large
from kosmos2_jax.models import flops
from kosmos2_jax.training.state import TrainState
from kosmos2_jax.training.step import STEP_KEYS
from kosmos2_jax.training.trainer import Trainer, make_trainer

# Smaller parameters are whole on every device, as a rule, and nobody minds.
LEAST_UNSHARDED = 2**20


class Report(NamedTuple):
  """What is known of a step; bytes are those of one jax device.

  Attributes:
    job: what was compiled.
    topology: for what.
    mesh: sizes by axis.
    fits: in the memory of a device.
    available_bytes: memory of a device.
    needed_bytes: at the least; `peak_bytes` where it fits.
    argument_bytes: state and batch.
    temp_bytes: what lives inside of the step.
    peak_bytes: both, with results that are no arguments and the program.
    model_flops: of the step on all devices, see `flops.train_flops`.
    step_flops: with what remat repeats.
    hbm_bytes: see `traffic.hbm_bytes`.
    collective_bytes: see `collectives.bytes_by_kind`.
    bounds: see `roofline`.
    mfu_bound: the highest MFU that the bounds allow.
    unsharded: parameters that every device has whole, and their bytes.
    whole_batches: see `traffic.whole_batches`.
    largest: see `traffic.largest`.
    open_loops: loops whose rounds were taken to be as many as can be.
    compile_seconds: of this compilation.
    text: the optimised program as XLA writes it.
  """

  job: Job
  topology: Topology
  mesh: dict[str, int]
  fits: bool
  available_bytes: int
  needed_bytes: int
  compile_seconds: float
  unsharded: dict[str, int]
  model_flops: float
  step_flops: float
  argument_bytes: int = 0
  temp_bytes: int = 0
  peak_bytes: int = 0
  hbm_bytes: int = 0
  collective_bytes: dict[str, dict[str, float]] | None = None
  bounds: Roofline | None = None
  mfu_bound: float = 0.0
  whole_batches: Sequence[Large] = ()
  largest: Sequence[Large] = ()
  open_loops: Sequence[str] = ()
  text: str = ""


def compile_step(job: Job, topology: Topology) -> Report:
  """Compiles a job's step; runs and allocates nothing.

  Raises:
    ValueError: for what the parts of a trainer refuse, rows that the mesh
      cannot share evenly, or a step that XLA refuses for another reason than
      its size.
  """
  devices = topology.devices
  trainer = make_trainer(job.sizes, job.compute, devices=devices, **job.options)
  mesh = trainer.mesh
  sharding.check_batch_size(mesh, job.num_rows, job.num_microbatches)
  chip = topology.chip
  trained = trainer.optimizer.trainable.parts(trainer.abstract.params)
  model_flops = flops.train_flops(job.sizes, **job.shape, trained=trained)
  step_flops = model_flops
  if job.compute.get("remat") == "full":
    step_flops += flops.layer_flops(job.sizes, **job.shape)
  started = time.monotonic()
  refused = None
  lowered = trainer.train_step.lower(
    trainer.abstract, abstract_batch(job, mesh)
  )
  text = ""
  try:
    with _no_cache(), tempfile.TemporaryDirectory() as folder:
      compiled = lowered.compile(
        compiler_options={"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
      )
      text = _text(compiled, Path(folder))
  except jax.errors.JaxRuntimeError as error:
    refused = str(error)
  report = Report(
    job,
    topology,
    dict(mesh.shape),
    fits=not refused,
    available_bytes=chip.hbm_bytes // chip.devices,
    needed_bytes=0,
    compile_seconds=time.monotonic() - started,
    unsharded=unsharded(trainer.abstract),
    model_flops=model_flops,
    step_flops=step_flops,
  )
  if refused:
    sizes = traffic.out_of_memory(refused)
    if sizes is None:
      raise ValueError(
        f"XLA could not compile the step: {refused.splitlines()[0]}"
      )
    return report._replace(needed_bytes=sizes[0], available_bytes=sizes[1])
  return _read(report, compiled, trainer, text)


def _text(compiled: jax.stages.Compiled, folder: Path) -> str:
  """The program as the compiler has left it in a folder, or as jax has it.

  A libtpu that is newer than jaxlib knows instructions that jax cannot write.
  """
  dumped = [file.read_text() for file in folder.glob("*.after_codegen.txt")]
  return max(dumped, key=len, default="") or compiled.as_text()


@contextlib.contextmanager
def _no_cache() -> Iterator[None]:
  """Without jax's cache: it could write the program, and never read it."""
  enabled = jax.config.jax_enable_compilation_cache
  jax.config.update("jax_enable_compilation_cache", False)
  compilation_cache.reset_cache()  # Else what was set before is remembered.
  try:
    yield
  finally:
    jax.config.update("jax_enable_compilation_cache", enabled)
    compilation_cache.reset_cache()


def abstract_batch(job: Job, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
  """What `train_step` takes beside the state."""
  vision = job.sizes["vision"]
  spec = batch_spec(
    job.num_rows,
    job.seq_len,
    num_images=job.images_per_row,
    image_size=vision["image_size"],
  )
  place = sharding.batch_sharding(mesh)
  return {
    key: jax.ShapeDtypeStruct(*spec[key], sharding=place) for key in STEP_KEYS
  }


def unsharded(abstract: TrainState) -> dict[str, int]:
  """Large parameters that every device of the mesh has whole."""
  found = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(abstract.params):
    mesh = leaf.sharding.mesh
    num_bytes = leaf.size * leaf.dtype.itemsize
    whole = leaf.sharding.shard_shape(leaf.shape) == leaf.shape
    shared = mesh.shape["fsdp"] * mesh.shape["tensor"] > 1
    if shared and whole and num_bytes >= LEAST_UNSHARDED:
      found[sharding.param_path(path)] = num_bytes
  return found


def _read(
  report: Report, compiled: jax.stages.Compiled, trainer: Trainer, text: str
) -> Report:
  """Adds what the compiled program says."""
  job, topology, mesh = report.job, report.topology, trainer.mesh
  memory = compiled.memory_analysis()
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  peak = (
    memory.argument_size_in_bytes
    + memory.temp_size_in_bytes
    + results
    + memory.generated_code_size_in_bytes
  )
  ways = mesh.shape["data"] * mesh.shape["fsdp"]
  rows = job.num_rows // job.num_microbatches
  local_tokens = rows // ways * job.seq_len
  chunk = min(trainer.model.decoder.loss_chunk, local_tokens)
  program = hlo.parse(text, open_rounds=-(-local_tokens // chunk))
  found = collectives.collectives_of(program, collectives.layout_of(mesh))
  received = {
    far: sum(c.num_bytes * c.count for c in found if c.between_slices == far)
    for far in (False, True)
  }
  hbm_bytes = traffic.hbm_bytes(program)
  num_devices = len(topology.devices)
  bounds = roofline.roofline(
    topology.chip,
    num_devices,
    flops=report.step_flops,
    hbm_bytes=hbm_bytes,
    ici_bytes=received[False],
    dcn_bytes=received[True],
  )
  whole = _whole_batches(program, job, mesh, rows) if ways > 1 else []
  return report._replace(
    fits=peak <= report.available_bytes,
    needed_bytes=peak,
    argument_bytes=memory.argument_size_in_bytes,
    temp_bytes=memory.temp_size_in_bytes,
    peak_bytes=peak,
    hbm_bytes=hbm_bytes,
    collective_bytes=collectives.bytes_by_kind(found),
    bounds=bounds,
    mfu_bound=roofline.mfu(
      topology.chip, num_devices, report.model_flops, bounds.bound
    ),
    whole_batches=whole,
    largest=traffic.largest(program),
    open_loops=program.open_loops,
    text=text,
  )


def _whole_batches(
  program: hlo.Program, job: Job, mesh: Mesh, rows: int
) -> list[Large]:
  vision, width = job.sizes["vision"], job.sizes["decoder"]["width"]
  patches = (vision["image_size"] // vision["patch_size"]) ** 2
  pictures = rows * job.images_per_row
  leading = {(rows, job.seq_len): width, (rows * job.seq_len,): width}
  if pictures:
    leading |= {
      (pictures, patches): vision["width"],
      (pictures, patches + 1): vision["width"],
      (pictures, vision["image_size"]): 3 * vision["image_size"],
    }
  tensor = mesh.shape["tensor"]
  return traffic.whole_batches(
    program, {dims: size // tensor for dims, size in leading.items()}
  )

"""How long an update takes, here and in Hugging Face's implementation.

Both start from the same random weights, read from one Hugging Face folder, see
the same batch and have the same AdamW; neither has dropout. Each has a process
of its own; they take turns, so that a slow minute of the machine is slow for
both. At the end they must agree: in the losses they saw and in the weights they
made.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kosmos2_jax.batch import Batch, check_batch
from kosmos2_jax.benchmarks import inference, training_systems, worker
from kosmos2_jax.benchmarks.inference import Result
from kosmos2_jax.benchmarks.systems import SYSTEMS
from kosmos2_jax.convert import huggingface, transfer, weights
from kosmos2_jax.models import presets
from kosmos2_jax.training import state as state_lib

BATCH_SIZE = 4
SEQ_LEN = 128
TARGETS = ("text", "all")
TURN = 2  # updates of one system before it is the other's turn
FIRST_LATENT = 2  # slots begin behind `<s>` and `<image>`

# Two runs of float32 part by rounding, in sums of another order. Losses by
# 1e-6 of themselves; updates by more, because Adam divides a gradient by its
# own size, and where it is nearly zero little but rounding is left of it
# (always so for the biases of keys, which softmax does not see). Measured: see
# docs/training.md.
LOSS_TOLERANCE = 1e-4
UPDATE_TOLERANCE = 2e-2


def _sizes(decoder: tuple[int, int], vision: tuple[int, int]) -> dict[str, Any]:
  """Sizes of a model with (width, depth) of both parts and heads of 64."""
  width, depth = decoder
  vision_width, vision_depth = vision
  return {
    "vocab_size": 65_037,
    "num_bins": 32,
    "vision": {
      "image_size": 224,
      "patch_size": 14,
      "width": vision_width,
      "depth": vision_depth,
      "mlp_dim": 4 * vision_width,
      "num_heads": vision_width // 64,
    },
    "resampler": {"num_latents": 64, "num_heads": width // 64},
    "decoder": {
      "width": width,
      "depth": depth,
      "mlp_dim": 4 * width,
      "num_heads": width // 64,
    },
  }


# By about how many parameters there are; "tiny" is for trying the command.
SIZES = {
  "40m": _sizes((384, 6), (256, 4)),
  "160m": _sizes((768, 12), (512, 8)),
  "tiny": presets.PRESETS["tiny"],
}


class Agreement(NamedTuple):
  """How far the two are apart after the same updates of the same weights.

  Attributes:
    loss: largest difference of a step's losses, over the loss.
    update: L2 norm of the difference of the two sums of updates, over the norm
      of theirs; over all parameters.
    same: whether both are within `LOSS_TOLERANCE` and `UPDATE_TOLERANCE`.
  """

  loss: float
  update: float
  same: bool


class Measured(NamedTuple):
  """What was found for one size.

  Attributes:
    results: the lines of the table.
    agreement: None where ours was measured alone.
  """

  results: list[Result]
  agreement: Agreement | None


def measure_training(
  folder: Path,
  size: str,
  *,
  targets: str,
  repeats: int,
  compute: Mapping[str, Any],
  with_theirs: bool,
) -> Measured:
  """Measures one size.

  Args:
    folder: an empty folder for the weights.
    size: one of `SIZES`.
    targets: one of `TARGETS`, see `make_batch`.
    repeats: timed updates of each.
    compute: how ours computes, see `presets.build`.
    with_theirs: compare.
  """
  sizes = SIZES[size]
  write_weights(folder, sizes)
  batch = make_batch(sizes, targets)
  work = training_systems.Work(folder, sizes, batch, dict(compute))
  names = SYSTEMS[: 1 + with_theirs]
  agreement = None
  with contextlib.ExitStack() as stack:
    workers = {
      name: stack.enter_context(worker.Worker(name, work)) for name in names
    }
    losses, timed = measure_steps(workers, repeats)
    peaks = {name: [workers[name].peak()] for name in names}
    if with_theirs:
      agreement = agree(
        losses,
        weights.SafetensorsFolder(folder),
        *(workers[name].weights() for name in SYSTEMS),
      )
  compiled = {"ours": [workers["ours"].compile_seconds]}
  measured = [
    ("peak memory of training", "GB", peaks),
    ("compile", "s", compiled),
  ]
  measured += [(what, "s", values) for what, values in timed.items()]
  results = [
    inference.compare(f"{size}, {targets}: {what}", unit, values)
    for what, unit, values in measured
  ]
  return Measured(results, agreement)


def make_batch(sizes: Mapping[str, Any], targets: str) -> Batch:
  """Four rows of 128 tokens, each a picture and random words behind it.

  A row is `<s>`, `<image>`, a slot for every latent, and words.

  Args:
    sizes: of the model.
    targets: "text": words count, as in training (61 of 128 targets where a
      picture has 64 latents); "all": every target of the row does, the ids that
      stand in slots among them.
  """
  rng = np.random.default_rng(0)
  shape = (BATCH_SIZE, SEQ_LEN)
  column = np.broadcast_to(np.arange(SEQ_LEN, dtype=np.int32), shape)
  behind = FIRST_LATENT + sizes["resampler"]["num_latents"]
  ids = rng.integers(4, sizes["vocab_size"], (BATCH_SIZE, SEQ_LEN + 1))
  counts = (column >= behind) if targets == "text" else (column >= 0)
  side = sizes["vision"]["image_size"]
  batch = {
    "tokens": ids[:, :-1].astype(np.int32),
    "targets": ids[:, 1:].astype(np.int32),
    # Labels of Hugging Face are the row itself: the last token has none.
    "loss_mask": counts & (column < SEQ_LEN - 1),
    "image_mask": (column >= FIRST_LATENT) & (column < behind),
    "segment_ids": np.ones(shape, np.int32),
    "positions": column.copy(),
    "kinds": np.ones(shape, np.int32),
    "images": rng.normal(size=(BATCH_SIZE, 1, side, side, 3)).astype(
      np.float32
    ),
    "example_index": np.arange(BATCH_SIZE),
  }
  check_batch(batch)
  return batch


def write_weights(folder: Path, sizes: Mapping[str, Any]) -> None:
  """A Hugging Face folder with fresh parameters; no tokenizer, no dropout."""
  folder.mkdir(parents=True, exist_ok=True)
  model = presets.build(sizes)
  init = jax.jit(lambda key: state_lib.init_params(model, key))
  params = jax.device_get(init(jax.random.key(0)))
  huggingface.write_config(folder, sizes)
  weights.write(folder, params, sizes["vocab_size"])


def measure_steps(
  systems: Mapping[str, Any], repeats: int
) -> tuple[dict[str, list[float]], dict[str, dict[str, list[float]]]]:
  """Updates by turns, two a turn; the second is timed.

  Freed memory that a process leaves alone for seconds may be taken from it, by
  the host of a virtual machine, too, and given back slowly. Who trains without
  a pause does not see this.

  Args:
    systems: name -> an object whose `step()` returns an `Update`.
    repeats: turns of each; the first one alternates.

  Returns:
    The losses of every update, and by what was measured the seconds of each
    that was timed: of the clock, and of all processors together.
  """
  made = {name: [] for name in systems}
  for repeat in range(repeats):
    for name in list(systems)[:: -1 if repeat % 2 else 1]:
      made[name] += [systems[name].step() for _ in range(TURN)]
  losses = {name: [one.loss for one in made[name]] for name in systems}
  timed = {
    "step": {
      name: [one.seconds for one in updates[TURN - 1 :: TURN]]
      for name, updates in made.items()
    },
    "step, processor time": {
      name: [one.processor_seconds for one in updates[TURN - 1 :: TURN]]
      for name, updates in made.items()
    },
  }
  return losses, timed


def agree(
  losses: Mapping[str, Sequence[float]],
  before: transfer.Source,
  ours: Mapping[str, np.ndarray],
  theirs: Mapping[str, np.ndarray],
) -> Agreement:
  """Holds the two against each other; see `Agreement`.

  Args:
    losses: of both, update by update.
    before: the weights both started with.
    ours: after the updates.
    theirs: after the updates.

  Raises:
    ValueError: where a weight of ours is missing in theirs.
  """
  pairs = zip(*(losses[name] for name in SYSTEMS), strict=True)
  loss = max(abs(one - other) / abs(other) for one, other in pairs)
  apart = size = 0.0
  for name, array in ours.items():
    if name not in theirs:
      raise ValueError(f"expected {name} in their weights; it is not there")
    apart += float(np.sum((array - theirs[name]) ** 2, dtype=np.float64))
    moved = theirs[name] - before.read(name)
    size += float(np.sum(moved**2, dtype=np.float64))
  update = (apart / size) ** 0.5 if size else float("inf")
  same = loss <= LOSS_TOLERANCE and update <= UPDATE_TOLERANCE
  return Agreement(loss, update, bool(same))

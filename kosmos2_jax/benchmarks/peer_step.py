"""How long the training step of `transformers` takes on one device here."""

import importlib
import time
from typing import Any, NamedTuple

from kosmos2_jax.benchmarks import random_rows
from kosmos2_jax.compiling.jobs import Job
from kosmos2_jax.convert import huggingface

LEARNING_RATE, BETAS, EPS, WEIGHT_DECAY = 2e-4, (0.9, 0.98), 1e-6, 0.01
CLIP_NORM = 2.0
WARM_UP = 2  # updates that are not timed


class PeerReport(NamedTuple):
  """What was measured.

  Attributes:
    device_kind: as PyTorch names it.
    torch: version.
    transformers: version.
    seconds: of an update, in each repetition.
    losses: before the first and before the last update.
    peak_bytes: the most that was allocated; None on a CPU.
  """

  device_kind: str
  torch: str
  transformers: str
  seconds: list[float]
  losses: tuple[float, float]
  peak_bytes: int | None


def check(job: Job) -> None:
  """Raises ValueError for a job that `transformers` cannot do.

  It has one picture a row and no packing, and computes in one go.
  """
  if job.images_per_row > 1:
    raise ValueError(
      "transformers takes one picture a row; set config.data.images_per_row=1"
      f" to compare (found {job.images_per_row})"
    )
  if job.num_microbatches > 1:
    raise ValueError(
      "to compare, set config.num_microbatches=1 (found"
      f" {job.num_microbatches})"
    )


def measure_peer(job: Job, repeats: int, num_steps: int) -> PeerReport:
  """Trains `transformers`' model of the job's sizes on random rows.

  As people train it: fused AdamW, attention by PyTorch's own kernels, weights
  in float32 under autocast to the job's compute type, layers computed again in
  the backward pass where the job has a `remat`. Nothing is compiled
  (`torch.compile`), as by default. For a process of its own: PyTorch and jax
  would each keep memory from the other.

  Args:
    job: see `check`; rows of one segment are made for it.
    repeats: repetitions.
    num_steps: updates of each.
  """
  check(job)
  torch = importlib.import_module("torch")
  transformers = importlib.import_module("transformers")
  device = "cuda" if torch.cuda.is_available() else "cpu"
  model = _model(transformers, job.sizes).to(device).train()
  if job.compute.get("remat", "none") != "none":
    model.gradient_checkpointing_enable(
      gradient_checkpointing_kwargs={"use_reentrant": False}
    )
  optimizer = torch.optim.AdamW(
    model.parameters(),
    lr=LEARNING_RATE,
    betas=BETAS,
    eps=EPS,
    weight_decay=WEIGHT_DECAY,
    fused=True,
  )
  inputs = _inputs(torch, job, device)
  bfloat16 = job.compute.get("dtype") == "bfloat16"

  def update():
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
      loss = model(**inputs).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()

  def wait():
    if device == "cuda":
      torch.cuda.synchronize()

  seconds, losses = [], []
  for repeat in range(1 + repeats):
    updates = num_steps if repeat else WARM_UP
    started = time.perf_counter()
    losses += [update() for _ in range(updates)]
    wait()
    seconds.append((time.perf_counter() - started) / updates)
  on_gpu = device == "cuda"
  return PeerReport(
    torch.cuda.get_device_name() if on_gpu else "cpu",
    torch.__version__,
    transformers.__version__,
    seconds[1:],
    (float(losses[0]), float(losses[-1])),
    torch.cuda.max_memory_allocated() if on_gpu else None,
  )


def _model(transformers: Any, sizes: Any) -> Any:
  """Fresh weights; of a job of text alone the decoder's."""
  content = huggingface.config_of(dict(sizes))
  config = transformers.Kosmos2Config.from_dict(content)
  model = transformers.Kosmos2ForConditionalGeneration(config)
  return model.text_model if sizes.get("text_only") else model


def _inputs(torch: Any, job: Job, device: str) -> dict[str, Any]:
  """Rows of one segment each, as the model takes them."""
  rows = random_rows.make_rows(job)
  tokens = torch.tensor(rows["tokens"]).long()
  labels = tokens.clone()
  # Slots of pictures are no targets; the model shifts by itself.
  labels[torch.tensor(rows["image_mask"])] = -100
  inputs = {
    "input_ids": tokens,
    "attention_mask": torch.ones_like(tokens),
    "labels": labels,
  }
  if job.images_per_row:
    images = torch.tensor(rows["images"][:, 0]).permute(0, 3, 1, 2)
    inputs["pixel_values"] = images.contiguous()
    inputs["image_embeds_position_mask"] = torch.tensor(rows["image_mask"])
  return {name: value.to(device) for name, value in inputs.items()}

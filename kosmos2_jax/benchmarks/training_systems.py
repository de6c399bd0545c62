"""Two implementations that make the same updates: ours and `transformers`."""

import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kosmos2_jax import sharding
from kosmos2_jax.batch import Batch
from kosmos2_jax.benchmarks.systems import SYSTEMS
from kosmos2_jax.convert import transfer, weights
from kosmos2_jax.training import memory, trainer
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training import step as step_lib

LEARNING_RATE = 1e-4
B1, B2, EPS = 0.9, 0.98, 1e-6
WEIGHT_DECAY = 0.01
CLIP_NORM = 2.0
IGNORED = -100  # labels of Hugging Face that do not count


class Work(NamedTuple):
  """What both are given.

  Attributes:
    folder: a Hugging Face folder with the weights.
    sizes: of the model.
    batch: the batch of every update.
    compute: how ours computes, see `presets.build`.
  """

  folder: Path
  sizes: dict[str, Any]
  batch: Batch
  compute: dict[str, Any]


class Ours:
  """This project's training step, on one device."""

  def __init__(self, work: Work):
    built = trainer.make_trainer(
      work.sizes,
      work.compute,
      optimizer={
        "learning_rate": LEARNING_RATE,
        "schedule": "constant",
        "b1": B1,
        "b2": B2,
        "eps": EPS,
        "weight_decay": WEIGHT_DECAY,
        "clip_norm": CLIP_NORM,
      },
      mesh={"data": 1, "fsdp": 1, "tensor": 1},
      num_steps=1,  # a constant rate does not ask
      seed=0,
      devices=jax.devices()[:1],
    )
    self._vocab_size = work.sizes["vocab_size"]
    self._batch = sharding.put_batch(
      built.mesh, {key: work.batch[key] for key in step_lib.STEP_KEYS}
    )
    start = time.perf_counter()
    self._step = built.train_step.lower(built.abstract, self._batch).compile()
    self.compile_seconds = time.perf_counter() - start
    memory.give_back()  # as training does
    params, _ = transfer.load(
      weights.SafetensorsFolder(work.folder),
      built.abstract.params,
      self._vocab_size,
      "huggingface",
    )
    self._state = state_lib.init_state(
      built.model, built.optimizer.tx, built.abstract, 0, known=params
    )

  def step(self) -> float:
    """One update; the loss before it, in nats per target."""
    self._state, metrics = self._step(self._state, self._batch)
    return float(jax.block_until_ready((self._state, metrics))[1]["loss"])

  def weights(self) -> Iterator[tuple[str, np.ndarray]]:
    """The weights by Hugging Face's names; copies."""
    params = jax.device_get(self._state.params)
    return transfer.export(params, self._vocab_size, "huggingface")


class Theirs:
  """`transformers`, trained as PyTorch's users do, in its fastest form.

  Attention is PyTorch's own (`sdpa`) and AdamW its fused one, both defaults of
  the library's trainer. `eps` is set before every update so that it means what
  it means in fairseq, and here; see `optim.scale_by_adam`.
  """

  def __init__(self, work: Work):
    import torch
    import transformers

    self._torch = torch
    transformers.utils.logging.disable_progress_bar()
    self._model = transformers.Kosmos2ForConditionalGeneration.from_pretrained(
      work.folder.absolute(),
      dtype=torch.float32,
      local_files_only=True,
      use_safetensors=True,
    ).train()
    self._optimizer = torch.optim.AdamW(
      self._model.parameters(),
      lr=LEARNING_RATE,
      betas=(B1, B2),
      weight_decay=WEIGHT_DECAY,
      fused=True,
    )
    self._updates = 0
    batch = work.batch
    labels = np.full_like(batch["tokens"], IGNORED)
    counted = np.where(batch["loss_mask"], batch["targets"], IGNORED)
    labels[:, 1:] = counted[:, :-1]  # the model shifts them back
    images = batch["images"][:, 0].transpose(0, 3, 1, 2)
    self._batch = {
      "input_ids": torch.tensor(batch["tokens"]).long(),
      "attention_mask": torch.ones(batch["tokens"].shape).long(),
      "pixel_values": torch.tensor(np.ascontiguousarray(images)),
      "image_embeds_position_mask": torch.tensor(batch["image_mask"]),
      "labels": torch.tensor(labels).long(),
    }

  def step(self) -> float:
    """One update; the loss before it, in nats per target."""
    self._updates += 1
    [group] = self._optimizer.param_groups
    group["eps"] = EPS / (1 - B2**self._updates) ** 0.5
    loss = self._model(**self._batch).loss
    loss.backward()
    self._torch.nn.utils.clip_grad_norm_(self._model.parameters(), CLIP_NORM)
    self._optimizer.step()
    self._optimizer.zero_grad()
    return float(loss.detach())

  def weights(self) -> dict[str, np.ndarray]:
    """The weights by name."""
    return {
      name: value.detach().numpy()
      for name, value in self._model.state_dict().items()
    }


def make(name: str, work: Work) -> Ours | Theirs:
  """One of the two by its name in `SYSTEMS`."""
  return Ours(work) if name == SYSTEMS[0] else Theirs(work)


def load_libraries(name: str) -> None:
  """Imports what one of the two needs, and starts its devices."""
  if name == SYSTEMS[0]:
    jax.devices()
    return
  for library in ("torch", "transformers.models.kosmos2.modeling_kosmos2"):
    importlib.import_module(library)

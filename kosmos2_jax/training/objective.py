"""What is minimised, and what is counted beside it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from kosmos2_jax import chunked_loss

# What the model reads of a batch, and what the loss does.
MODEL_INPUTS = ("tokens", "images", "image_mask", "segment_ids", "positions")
LOSS_INPUTS = ("targets", "loss_mask", "kinds")


class Counted(NamedTuple):
  """Sums over a part of a batch, float32; parts are added up.

  Attributes:
    loss: summed negative log-likelihood in nats.
    correct: targets that had the largest logit.
    num_targets: targets that count.
    num_examples: segments.
    kind_losses: for each kind its share of `loss`.
    kind_targets: for each kind its share of `num_targets`.
    num_read: tokens that are no padding, whether their targets count or not.
  """

  loss: Float[Array, ""]
  correct: Float[Array, ""]
  num_targets: Float[Array, ""]
  num_examples: Float[Array, ""]
  kind_losses: tuple[Float[Array, ""], ...]
  kind_targets: tuple[Float[Array, ""], ...]
  num_read: Float[Array, ""]


LossFn = Callable[
  [PyTree, Mapping[str, Array], jax.Array], tuple[Float[Array, ""], Counted]
]


def make_loss_fn(model: nn.Module, kind_names: Sequence[str] = ()) -> LossFn:
  """The function `(params, batch, key) -> (summed loss, Counted)`.

  Args:
    model: a Kosmos2.
    kind_names: of the kinds 1, 2, … in a batch's `kinds`.
  """

  def loss_fn(params, batch, key):
    hidden = model.apply(
      {"params": params},
      **{name: batch[name] for name in MODEL_INPUTS},
      deterministic=False,
      rngs={"dropout": key},
      method="hidden",
    )
    mask, kinds = batch["loss_mask"], batch["kinds"]
    found = chunked_loss.chunked_cross_entropy(
      hidden,
      params["decoder"]["embedding"],
      batch["targets"],
      mask,
      kinds,
      vocab_size=model.decoder.vocab_size,
      num_kinds=len(kind_names),
      chunk=model.decoder.loss_chunk,
    )
    of_kinds = [
      jnp.sum(mask & (kinds == number), dtype=jnp.float32)
      for number in range(1, len(kind_names) + 1)
    ]
    examples = jnp.sum(jnp.max(batch["segment_ids"], axis=1))
    return found.loss, Counted(
      found.loss,
      found.correct,
      jnp.sum(mask, dtype=jnp.float32),
      examples.astype(jnp.float32),
      tuple(found.kind_losses),
      tuple(of_kinds),
      jnp.sum(batch["segment_ids"] > 0, dtype=jnp.float32),
    )

  return loss_fn


def metrics_of(
  counted: Counted, kind_names: Sequence[str]
) -> dict[str, Float[Array, ""]]:
  """The metrics of a whole batch; names as in `step.make_train_step`."""
  divisor = jnp.maximum(counted.num_targets, 1.0)
  metrics = {
    "loss": counted.loss / divisor,
    "accuracy": counted.correct / divisor,
    "num_tokens": counted.num_read,
    "num_targets": counted.num_targets,
    "num_examples": counted.num_examples,
  }
  for name, total, targets in zip(
    kind_names, counted.kind_losses, counted.kind_targets, strict=True
  ):
    metrics[f"loss/{name}"] = total / jnp.maximum(targets, 1.0)
    metrics[f"targets/{name}"] = targets
  return metrics

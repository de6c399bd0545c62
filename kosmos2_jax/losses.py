"""Sums and counts over the predicted tokens; the caller divides once.

From logits; training has none of a whole batch, see `chunked_loss`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def token_losses(
  logits: Float[Array, "B T V"], targets: Int[Array, "B T"]
) -> Float[Array, "B T"]:
  """Negative log-likelihood of every target, in nats.

  Args:
    logits: any float type; the softmax is computed in float32. Columns of
      padded vocabulary rows must hold large negative finite numbers.
    targets: the next token at every position.
  """
  logits = logits.astype(jnp.float32)
  # A compare-and-sum instead of a gather: it stays local where the vocabulary
  # is sharded, and its gradient is a select instead of a scatter.
  columns = jnp.arange(logits.shape[-1], dtype=targets.dtype)
  is_target = columns == targets[..., None]
  target_logit = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
  return jax.nn.logsumexp(logits, axis=-1) - target_logit


def cross_entropy(
  logits: Float[Array, "B T V"],
  targets: Int[Array, "B T"],
  loss_mask: Bool[Array, "B T"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """The summed loss of the targets that count.

  Args:
    logits: see `token_losses`.
    targets: the next token at every position.
    loss_mask: True where the target counts.

  Returns:
    float32 (sum, count): the summed loss, and how many targets it sums over.
    Every predicted token of a global batch has equal weight when sums and
    counts of its parts are added before one is divided by the other.
  """
  return masked_sum(token_losses(logits, targets), loss_mask)


def masked_sum(
  losses: Float[Array, "B T"], mask: Bool[Array, "B T"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """float32 (sum, count) of the losses where `mask` is True."""
  return (
    jnp.sum(jnp.where(mask, losses, 0.0)),
    jnp.sum(mask, dtype=jnp.float32),
  )


def accuracy(
  logits: Float[Array, "B T V"],
  targets: Int[Array, "B T"],
  loss_mask: Bool[Array, "B T"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """How many of the targets that count have the largest logit.

  Returns:
    float32 (sum, count), as `cross_entropy`.
  """
  correct = (jnp.argmax(logits, axis=-1) == targets) & loss_mask
  return (
    jnp.sum(correct, dtype=jnp.float32),
    jnp.sum(loss_mask, dtype=jnp.float32),
  )

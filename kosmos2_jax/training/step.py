"""One update of the parameters, compiled once."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from kosmos2_jax import sharding
from kosmos2_jax.optim import Optimizer, averaging, trainable
from kosmos2_jax.training import casting, guard, objective
from kosmos2_jax.training.state import TrainState, shardings_of

# `example_index` stays on the host.
STEP_KEYS = (*objective.MODEL_INPUTS, *objective.LOSS_INPUTS)

Metrics = dict[str, Float[Array, ""]]
TrainStep = Callable[[TrainState, dict[str, Array]], tuple[TrainState, Metrics]]


def make_train_step(
  model: nn.Module,
  optimizer: Optimizer,
  mesh: Mesh,
  abstract: TrainState,
  seed: int,
  num_microbatches: int = 1,
  kind_names: Sequence[str] = (),
  policy: guard.Policy | None = None,
) -> TrainStep:
  """The compiled step `(state, batch) -> (state, metrics)`; state is donated.

  The loss is the summed negative log-likelihood of a global batch over its
  number of targets, so every predicted token weighs the same whatever row,
  device or microbatch it is in. Metrics are float32 scalars: `loss`,
  `accuracy` (next token), `grad_norm` (before clipping, of what is trained),
  `learning_rate` (of this update, without the scales of groups), `num_tokens`
  (no padding), `num_targets` (that count) and `num_examples` (segments); for
  each kind `loss/NAME` and `targets/NAME`, its share of loss and targets; and
  those of `guard.judge`.

  Args:
    model: a Kosmos2.
    optimizer: see `optim.make_optimizer`.
    mesh: see `sharding.make_mesh`.
    abstract: see `state.abstract_state`.
    seed: of dropout; the key of a step is fold_in(key(seed), step).
    num_microbatches: parts in which a batch is computed, one after the other;
      sums are added up, so the update is the same.
    kind_names: of the kinds 1, 2, … in a batch's `kinds`.
    policy: which steps are bad, and whether those are skipped; default: those
      that are not finite, not skipped.
  """
  policy = policy or guard.Policy()
  rule = optimizer.trainable
  if frozen_depth := rule.frozen_depth(abstract.params):
    vision = model.vision.clone(frozen_depth=frozen_depth)
    model = model.clone(vision=vision)
  loss_fn = objective.make_loss_fn(model, kind_names)
  dtype = model.decoder.dtype

  def whole(trained, rest):
    """The model's parameters, in the compute type."""
    params = trainable.join(trained, rest)
    if not rule.adapters:
      return params
    # In float32, or what adapters change would be lost in rounding; cast
    # behind that, where a kernel still lies in parts on its devices.
    return casting.to_compute(rule.merge(params), dtype)

  def sums(params, batch, key, divisor):
    """Gradient of a part's share of the loss, and what was counted."""
    # What is frozen is no argument of the derived function, so that there is
    # no way back through what only it has a part in.
    trained, rest = params

    def share(trained):
      loss, counted = loss_fn(whole(trained, rest), batch, key)
      # Divided here, where it is one number, and not as gradients, which
      # would be one pass more over all of them.
      return loss / divisor, counted

    grads, counted = jax.grad(share, has_aux=True)(trained)
    return casting.to_float32(grads), counted

  def accumulate(params, batch, key):
    divisor = jnp.sum(batch["loss_mask"], dtype=jnp.float32)
    divisor = jnp.maximum(divisor, 1.0)
    if num_microbatches == 1:
      return sums(params, batch, key, divisor)
    parts = jax.tree.map(lambda x: _split(x, num_microbatches), batch)

    def add(total, part):
      index, rows = part
      new = sums(params, rows, jax.random.fold_in(key, index), divisor)
      return jax.tree.map(jnp.add, total, new), None

    first = jax.eval_shape(
      sums, params, jax.tree.map(lambda x: x[0], parts), key, divisor
    )
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
    total, _ = jax.lax.scan(add, zeros, (jnp.arange(num_microbatches), parts))
    return total

  def train_step(state, batch):
    # What models and losses say of their activations refers to this mesh.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return update(state, batch)

  def update(state, batch):
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    trained = rule.select(state.params)
    params = (trained, rule.rest(state.params))
    if not rule.adapters:
      params = casting.to_compute(params, dtype)
    grads, counted = accumulate(params, batch, key)
    updates, opt_state = optimizer.tx.update(grads, state.opt_state, trained)
    metrics = objective.metrics_of(counted, kind_names) | {
      "grad_norm": optax.tree.norm(grads),
      # The optimizer counts the updates it made.
      "learning_rate": optimizer.schedule(state.step - state.guard.num_skipped),
    }
    bad, watch, found = guard.judge(
      policy, state.guard, metrics["loss"], metrics["grad_norm"]
    )
    trained = optax.apply_updates(trained, updates)
    ema_params = state.ema_params
    if optimizer.ema_decay is not None:
      keep = optimizer.ema_decay(state.step)
      ema_params = averaging.average(ema_params, trained, keep)
    params = trainable.put(state.params, trained)
    new = TrainState(state.step + 1, params, opt_state, watch, ema_params)
    if policy.skips:
      kept = state.replace(step=new.step, guard=watch)
      new = guard.choose(bad, kept, new)
    return new, metrics | found

  shardings = shardings_of(abstract)
  return jax.jit(
    train_step,
    donate_argnums=0,
    in_shardings=(shardings, sharding.batch_sharding(mesh)),
    out_shardings=(shardings, sharding.replicated(mesh)),
  )


def _split(x, parts):
  """[B, …] to [parts, B/parts, …], each device's rows staying on it.

  Part i takes every row whose index is i modulo `parts`: a contiguous cut
  would put a part on a few of the devices.
  """
  return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)

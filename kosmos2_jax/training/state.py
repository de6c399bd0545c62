"""What a training run carries from one step to the next."""

from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import PyTree

from kosmos2_jax import sharding
from kosmos2_jax.optim import lora, trainable
from kosmos2_jax.optim.lora import Lora
from kosmos2_jax.optim.trainable import Trainable
from kosmos2_jax.training import guard


@flax.struct.dataclass
class TrainState:
  """All that changes while training; checkpoints hold this and nothing else.

  The data stream is a function of (seed, step), so its place is `step`. The
  leaves are arrays, or ShapeDtypeStructs, or shardings of them.

  Attributes:
    step: int32 scalar, updates made.
    params: the tree under `vision`, `resampler` and `decoder` (a model of
      text alone has the last one only), and `lora` where there are adapters,
      float32.
    opt_state: of the optax transformation.
    guard: a `guard.Guard`, or None where no step is judged.
    ema_params: averages of the trained parameters, float32; None for none.
  """

  step: Any
  params: PyTree
  opt_state: PyTree
  guard: Any = None
  ema_params: PyTree = None


def init_params(model: nn.Module, key: jax.Array) -> PyTree:
  """Fresh parameters; every part is made, whatever the data will use.

  Args:
    model: a Kosmos2.
    key: the random key of initialisation.
  """
  if model.vision is None:
    return model.init(key, jnp.zeros((1, 1), jnp.int32))["params"]
  size = model.vision.image_size
  num_latents = model.resampler.num_latents
  # The least input that touches every parameter: one picture, no other text.
  tokens = jnp.zeros((1, num_latents), jnp.int32)
  images = jnp.zeros((1, 1, size, size, 3), jnp.float32)
  image_mask = jnp.ones((1, num_latents), bool)
  return model.init(key, tokens, images, image_mask)["params"]


def _init(model, tx, seed, adapters=None):
  key = jax.random.key(seed)
  params = init_params(model, key)
  if adapters is not None:
    params = {**params, lora.PART: lora.init(adapters, key)}
  return TrainState(
    jnp.zeros([], jnp.int32), params, tx.init(params), guard.fresh()
  )


def abstract_state(
  model: nn.Module,
  tx: optax.GradientTransformation,
  mesh: Mesh,
  averaged: Trainable | None = None,
  adapters: Lora | None = None,
) -> TrainState:
  """Shape, dtype and place of every array of the state; computes nothing.

  Args:
    model: a Kosmos2.
    tx: see `optim.make_optimizer`.
    mesh: see `sharding.make_mesh`.
    averaged: whose averages the state has; None for no averages.
    adapters: which the state has beside the model's parameters, if any.

  Returns:
    A state of ShapeDtypeStructs that carry their shardings.

  Raises:
    ValueError: for a parameter that matches no partition rule.
  """
  shapes = None
  if adapters is not None:
    base = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    shapes = adapters.shapes(base)
  abstract = jax.eval_shape(lambda: _init(model, tx, 0, shapes))
  if averaged is not None:
    ema_params = jax.eval_shape(averaged.select, abstract.params)
    abstract = abstract.replace(ema_params=ema_params)
  places = TrainState(
    step=sharding.replicated(mesh),
    params=sharding.param_shardings(mesh, abstract.params),
    opt_state=sharding.opt_state_shardings(mesh, tx, abstract.opt_state),
    ema_params=sharding.param_shardings(mesh, abstract.ema_params),
    guard=jax.tree.map(lambda _: sharding.replicated(mesh), abstract.guard),
  )
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    abstract,
    places,
  )


def shardings_of(abstract: TrainState) -> TrainState:
  """The places in an abstract state."""
  return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def init_state(
  model: nn.Module,
  tx: optax.GradientTransformation,
  abstract: TrainState,
  seed: int,
  known: Mapping[str, PyTree] | None = None,
) -> TrainState:
  """The state before the first step, each array made where it will live.

  The same seed gives the same numbers on any mesh.

  Args:
    model: a Kosmos2.
    tx: see `optim.make_optimizer`.
    abstract: see `abstract_state`.
    seed: of the parameters.
    known: numpy arrays in place of whole parts, for example of `vision`; the
      optimizer starts from zeros, whatever they are.
  """
  known = known or {}
  adapters = abstract.params.get(lora.PART)

  def init():
    state = _init(model, tx, seed, adapters)
    # Numbers that are not wanted are not made: XLA drops them.
    return state.replace(params=_without(state.params, known))

  places = shardings_of(abstract.replace(ema_params=None))
  places = places.replace(params=_without(places.params, known))
  state = jax.jit(init, out_shardings=places)()
  placed = {
    part: jax.tree.map(_place, abstract.params[part], arrays)
    for part, arrays in known.items()
  }
  params = {part: (state.params | placed)[part] for part in abstract.params}
  return begin_average(state.replace(params=params), abstract)


def begin_average(state: TrainState, abstract: TrainState) -> TrainState:
  """The state with averages that start from its parameters.

  Args:
    state: has none.
    abstract: says which; see `abstract_state`.
  """
  if abstract.ema_params is None:
    return state
  # Copies: the step overwrites both, each in its own memory.
  copy = jax.jit(
    lambda params: jax.tree.map(
      jnp.copy, trainable.take(params, abstract.ema_params)
    ),
    out_shardings=shardings_of(abstract).ema_params,
  )
  return state.replace(ema_params=copy(state.params))


def averaged_params(state: TrainState) -> PyTree:
  """All parameters, the averages in the place of those that have one.

  Adapters are apart from their kernels, see `Trainable.merge`.
  """
  if state.ema_params is None:
    return state.params
  return trainable.put(state.params, state.ema_params)


def _without(params: Mapping[str, Any], parts: Mapping[str, Any]) -> PyTree:
  return {part: value for part, value in params.items() if part not in parts}


def _place(leaf: jax.ShapeDtypeStruct, array: np.ndarray) -> jax.Array:
  """The array with the leaf's dtype, and where the leaf is."""
  array = array.astype(leaf.dtype)
  # Each process fills its own devices, with their parts alone.
  return jax.make_array_from_callback(
    leaf.shape, leaf.sharding, lambda index: array[index]
  )

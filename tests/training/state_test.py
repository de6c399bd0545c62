"""The state before the first step."""

import jax
import numpy as np

from kosmos2_jax import optim, sharding
from kosmos2_jax.models import presets
from kosmos2_jax.training import state as state_lib


def test_known_parts_replace_drawn_ones_and_leave_the_others():
  model = presets.build(presets.preset("tiny"))
  tx = optim.make_optimizer(num_steps=1, learning_rate=1e-3).tx
  mesh = sharding.make_mesh((1, 1, 1), jax.devices()[:1])
  abstract = state_lib.abstract_state(model, tx, mesh)
  drawn = state_lib.init_state(model, tx, abstract, seed=0)
  rng = np.random.default_rng(0)
  known = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape), abstract.params["vision"]
  )
  state = state_lib.init_state(
    model, tx, abstract, seed=0, known={"vision": known}
  )
  assert list(state.params) == list(abstract.params)
  jax.tree.map(
    lambda leaf, wanted: np.testing.assert_array_equal(
      leaf, wanted.astype(np.float32)
    ),
    state.params["vision"],
    known,
  )
  for part in ("decoder", "resampler"):
    jax.tree.map(
      np.testing.assert_array_equal, state.params[part], drawn.params[part]
    )
  # Moments are zeros for all parts, and everything is where it belongs.
  jax.tree.map(np.testing.assert_array_equal, state.opt_state, drawn.opt_state)
  places = jax.tree.map(lambda leaf: leaf.sharding, state)
  assert places == state_lib.shardings_of(abstract)

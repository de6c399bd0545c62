"""What of a layer is kept for the backward pass, by the name of a policy.

| name        | kept of a layer, for every token             | numbers   |
|-------------|----------------------------------------------|-----------|
| "none"      | everything                                   |           |
| "dots"      | query, key, value, the output projection,    | 9D (10D)  |
|             | the MLP's hidden channels                    |           |
| "attention" | query, key, value, the attended heads, the   | 6D        |
|             | output projection; nothing of the MLP        |           |
| "offload"   | the same in the host's memory                | 1D (2D)   |
| "heads"     | the attended heads                           | 2D        |
| "full"      | nothing                                      | 1D        |

The input of a layer, D numbers, is kept in every case and counted; the hidden
channels are 4D. All are of the compute type. In brackets: where attention is a
kernel. Of it the attended heads are kept by all policies but "full", with the
softmax's statistics (a float32 of every head), so that it runs once forward
and once backward; of attention that is written out the weights are computed
again by all but "none".
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from kosmos2_jax.models import attention

# The name of the projections to queries, keys and values, and of the output's.
PROJECTIONS = "attention_projections"

Policy = Callable[..., Any]


def _kernels(prim: Any, *_: Any, **__: Any) -> bool:
  """Keeps what cuDNN's attention returns, which carries no name inside."""
  return prim.name == "dot_product_attention_fwd_wrapper"


def _offload(prim: Any, *args: Any, **params: Any) -> Any:
  named = jax.checkpoint_policies.save_and_offload_only_these_names(
    names_which_can_be_saved=[attention.KERNEL],
    names_which_can_be_offloaded=[attention.HEADS, PROJECTIONS],
    offload_src="device",
    offload_dst="pinned_host",
  )
  return _kernels(prim) or named(prim, *args, **params)


POLICIES: dict[str, Policy | None] = {
  "dots": jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    jax.checkpoint_policies.save_from_both_policies(
      jax.checkpoint_policies.save_only_these_names(attention.KERNEL), _kernels
    ),
  ),
  "attention": jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.save_only_these_names(
      attention.HEADS, attention.KERNEL, PROJECTIONS
    ),
    _kernels,
  ),
  "offload": _offload,
  "heads": jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.save_only_these_names(
      attention.HEADS, attention.KERNEL
    ),
    _kernels,
  ),
  "full": None,
}


def rematerialise(
  layer: type[nn.Module], remat: str, static_argnums: tuple[int, ...]
) -> type[nn.Module]:
  """`layer` with the policy of this name, for a loop over layers.

  Args:
    layer: the module class.
    remat: "none" or one of `POLICIES`.
    static_argnums: arguments of the call that are no arrays; 0 is self.

  Raises:
    ValueError: for an unknown name.
  """
  if remat == "none":
    return layer
  if remat not in POLICIES:
    raise ValueError(
      f'remat must be "none", {", ".join(map(repr, POLICIES))}; got {remat!r}.'
    )
  return nn.remat(
    layer,
    prevent_cse=False,  # the loop already keeps the copies apart
    policy=POLICIES[remat],
    static_argnums=static_argnums,
  )

"""Rows of the embedding table for tokens, on one device or on a mesh.

On a mesh every device holds some channels (`fsdp`) of some rows (`tensor`).
Gathering the table for a look-up would move all of it; instead each device
looks up its own channels for the tokens of its whole `fsdp` group, and one
all-to-all brings channels to the rows they belong to. What moves is as large
as one activation, and so is what moves back for the gradient, which is added
up in float32 where the table's moments are.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from kosmos2_jax.activations import ROWS, context_mesh
from kosmos2_jax.sharding import table_spec


def look_up(
  table: Float[Array, "V D"], tokens: Int[Array, "B T"], dtype: jnp.dtype
) -> Float[Array, "B T D"]:
  """`table[tokens]` in the compute type; the gradient has the table's."""
  mesh = context_mesh()
  if mesh is None or tokens.shape[0] % (
    mesh.shape["data"] * mesh.shape["fsdp"]
  ):
    return table[tokens].astype(dtype)
  like = jax.ShapeDtypeStruct(table.shape, table.dtype)
  return _on_mesh(mesh, jnp.dtype(dtype), like, table, tokens)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _on_mesh(mesh, dtype, like, table, tokens):
  return _forward(mesh, dtype, like, table, tokens)[0]


def _forward(mesh: AbstractMesh, dtype, like, table, tokens):
  del like
  of_table = table_spec(mesh, table.shape)

  def local(table, tokens):
    if of_table[1]:
      tokens = jax.lax.all_gather(tokens, "fsdp", axis=0, tiled=True)
    index, mine = _own_rows(tokens, len(table), of_table)
    x = jnp.where(mine[..., None], table[index].astype(dtype), 0)
    if of_table[0]:
      x = jax.lax.psum(x, "tensor")
    if of_table[1]:
      x = jax.lax.all_to_all(x, "fsdp", 0, 2, tiled=True)
    return x

  x = jax.shard_map(
    local,
    mesh=mesh,
    in_specs=(of_table, P(ROWS)),
    out_specs=P(ROWS),
    check_vma=False,
  )(table, tokens)
  return x, tokens


def _backward(mesh: AbstractMesh, dtype, like, tokens, grad):
  del dtype
  of_table = table_spec(mesh, like.shape)
  num_rows = like.shape[0] // (mesh.shape["tensor"] if of_table[0] else 1)

  def local(tokens, grad):
    others = ["data"]
    if of_table[1]:
      tokens = jax.lax.all_gather(tokens, "fsdp", axis=0, tiled=True)
      grad = jax.lax.all_to_all(grad, "fsdp", 2, 0, tiled=True)
    else:
      others.append("fsdp")
    index, mine = _own_rows(tokens, num_rows, of_table)
    # Frequent tokens add up thousands of times: float32.
    grad = jnp.where(mine[..., None], grad, 0).astype(like.dtype)
    total = jnp.zeros((num_rows, grad.shape[-1]), like.dtype)
    return jax.lax.psum(total.at[index].add(grad), others)

  total = jax.shard_map(
    local,
    mesh=mesh,
    in_specs=(P(ROWS), P(ROWS)),
    out_specs=of_table,
    check_vma=False,
  )(tokens, grad)
  return total, None


_on_mesh.defvjp(_forward, _backward)


def _own_rows(tokens, num_rows, of_table):
  """Each token's row among this device's, and if it is there at all."""
  if not of_table[0]:
    return tokens, jnp.ones(tokens.shape, bool)
  index = tokens - jax.lax.axis_index("tensor") * num_rows
  mine = (index >= 0) & (index < num_rows)
  return jnp.where(mine, index, 0), mine

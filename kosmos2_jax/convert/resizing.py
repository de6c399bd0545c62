"""A checkpoint in another size: more bins, larger pictures, new words.

What depends on the size is interpolated, so that the model starts with what it
knows: positions of patches and location tokens lie on a grid over the picture
each, and a finer grid gets the values between. Nothing else of the parameters
changes, and what keeps its size keeps its bits.

Grids are interpolated by cubic convolution with a = -1/2 (Keys, 1981; the
"bicubic" that vision transformers are resized by), values at the centres of
cells. Beyond the border the grid goes on straight, so that a linear function is
reproduced everywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from kosmos2_jax.models.decoder import padded_size
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.text.words import with_words


class Resize(NamedTuple):
  """What is to be another than in a checkpoint.

  Attributes:
    num_bins: location bins per side; 0: as the checkpoint has.
    image_size: side of a picture in pixels; 0: as the checkpoint has.
    words: that become one token each.
  """

  num_bins: int = 0
  image_size: int = 0
  words: tuple[str, ...] = ()


def describe(
  sizes: Mapping[str, Any], tokenizer: Tokenizer, resize: Resize
) -> tuple[dict[str, Any], Tokenizer]:
  """Sizes and tokenizer of the resized model.

  Args:
    sizes: of the checkpoint, see `models.presets`.
    tokenizer: of the checkpoint.
    resize: what changes.

  Raises:
    ValueError: for a picture that patches do not divide, a negative number, a
      word that cannot be added, or a checkpoint whose last rows are not those
      of its tokenizer's location tokens.
  """
  if resize == Resize():
    return dict(sizes), tokenizer
  if min(resize.num_bins, resize.image_size) < 0:
    raise ValueError(
      "resize.num_bins and resize.image_size are above 0, or 0 for the"
      f" checkpoint's own; found {resize.num_bins} and {resize.image_size}"
    )
  vision = dict(sizes["vision"])
  vision["image_size"] = resize.image_size or vision["image_size"]
  if vision["image_size"] % vision["patch_size"]:
    raise ValueError(
      "resize.image_size is a multiple of the checkpoint's patch_size,"
      f" {vision['patch_size']}; found {resize.image_size}"
    )
  new = {**sizes, "vision": vision}
  if not resize.num_bins and not resize.words:
    return new, tokenizer
  if sizes["vocab_size"] != tokenizer.vocab.size:
    raise ValueError(
      "expected a checkpoint with a row for each token, found"
      f" {sizes['vocab_size']} rows and {tokenizer.vocab.size} tokens: leave"
      " resize.num_bins and resize.words alone"
    )
  model = with_words(tokenizer, resize.words)
  num_bins = resize.num_bins or sizes["num_bins"]
  tokenizer = Tokenizer(model, num_bins)
  vocab_size = tokenizer.vocab.size
  return new | {"num_bins": num_bins, "vocab_size": vocab_size}, tokenizer


def parameters(
  params: Mapping[str, Any],
  old: tuple[Mapping[str, Any], Tokenizer],
  new: tuple[Mapping[str, Any], Tokenizer],
) -> dict[str, Any]:
  """The parameters for the new sizes.

  A new word starts as the mean of the tokens that spelled it before.

  Args:
    params: nested, with stacked layers; numpy arrays.
    old: sizes and tokenizer they are of.
    new: see `describe`.
  """
  result = {name: dict(part) for name, part in params.items()}
  if "vision" in result:
    table = np.asarray(result["vision"]["positions"])
    side = new[0]["vision"]["image_size"] // new[0]["vision"]["patch_size"]
    # The class token has no place in the picture.
    result["vision"]["positions"] = np.concatenate(
      [table[:1], interpolate(table[1:], side)]
    )
  if old[0]["vocab_size"] != new[0]["vocab_size"]:
    table = np.asarray(result["decoder"]["embedding"])
    result["decoder"]["embedding"] = _rows(table, old[1], new[1])
  return result


def interpolate(
  table: Float[np.ndarray, "cells D"], side: int
) -> Float[np.ndarray, "new D"]:
  """A square grid's rows, row-major, for a grid of `side` x `side` cells.

  Computed in float64; the same side gives the same bits.
  """
  before = round(len(table) ** 0.5)
  if side == before:
    return table
  weights = cubic_weights(before, side)
  grid = table.reshape(before, before, -1).astype(np.float64)
  grid = np.einsum("yr,xc,rcd->yxd", weights, weights, grid)
  return grid.reshape(side * side, -1).astype(table.dtype)


def cubic_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
  """What each new cell of a line takes of the old ones; rows sum up to 1."""
  weights = np.zeros((new, old))
  for cell in range(new):
    # In old cells, counted by their centres.
    place = (cell + 0.5) * old / new - 0.5
    for neighbour in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
      weight = _keys(abs(place - neighbour))
      for index, share in _inside(neighbour, old):
        weights[cell, index] += weight * share
  return weights


def _keys(distance: float) -> float:
  """The kernel of cubic convolution with a = -1/2."""
  if distance < 1:
    return 1.5 * distance**3 - 2.5 * distance**2 + 1
  if distance < 2:
    return -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
  return 0.0


def _inside(index: int, size: int) -> Sequence[tuple[int, float]]:
  """A cell by those there are: beyond the border, on a straight line."""
  if 0 <= index < size:
    return [(index, 1.0)]
  if size == 1:
    return [(0, 1.0)]
  edge, inner = (0, 1) if index < 0 else (size - 1, size - 2)
  beyond = abs(index - edge)
  return [(edge, 1.0 + beyond), (inner, -float(beyond))]


def _rows(table, old, new):
  """The embedding: rows of tokens move, new ones are made of old ones."""
  before, after = old.vocab, new.vocab
  rows = np.zeros((padded_size(after.size), table.shape[1]), table.dtype)
  rows[: before.mask_id] = table[: before.mask_id]
  for token_id in range(before.mask_id, after.mask_id):
    # One piece, spelled by the old tokenizer.
    spelled = old.encode(new.decode([token_id]))
    rows[token_id] = table[spelled].mean(axis=0)
  tags = before.first_location_id - before.mask_id
  rows[after.mask_id : after.mask_id + tags] = table[before.mask_id :][:tags]
  rows[after.first_location_id : after.size] = interpolate(
    table[before.first_location_id : before.size], after.num_bins
  )
  return rows

"""How probable given continuations are, with what prompts share run once.

Several continuations of one prompt (the choices of a question) share all of
it; several questions about one picture share the picture. Which of the two is
cheaper decides for each batch; what is shared is a key/value cache, as in
`decode`, so a score stays that of its own row.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.generation import decode, prompting
from kosmos2_jax.models import stacking
from kosmos2_jax.models.kosmos2 import Kosmos2

# Lengths of what follows a common beginning are rounded up to this.
SUFFIX_MULTIPLE = 4
# What encoding a picture costs, in tokens of the decoder: in the released
# model 257 patches pass 0.3 billion weights and a token 1.2 billion.
PICTURE_COST = 64


@dataclasses.dataclass(frozen=True)
class Score:
  """How probable a continuation is.

  Attributes:
    log_prob: natural log-probability of all its tokens together.
    num_tokens: how many they are.
    is_greedy: True if every one of them is the most probable at its place.
    log_probs: natural log-probability of each token after those before it.
  """

  log_prob: float
  num_tokens: int
  is_greedy: bool
  log_probs: tuple[float, ...] = ()


class Shared(NamedTuple):
  """The different beginnings of a batch of rows, computed once.

  Attributes:
    tokens: the beginnings, padded on the right.
    image_mask: slots among them that latents fill, or None.
    images: the different pictures, or None; V lists of M.
    pictures: which list of pictures each beginning has.
    rows: which beginning each row has.
    starts: how long the beginning of each row is.
  """

  tokens: Int[np.ndarray, "U P"]
  image_mask: Bool[np.ndarray, "U P"] | None
  images: Float[np.ndarray, "V M height width 3"] | None
  pictures: Int[np.ndarray, " U"]
  rows: Int[np.ndarray, " B"]
  starts: Int[np.ndarray, " B"]


def score(
  model: Kosmos2,
  params: Mapping[str, Any],
  rows: Iterable[tuple[prompting.Row, int]],
  *,
  pad_id: int,
  batch_size: int,
) -> list[Score]:
  """How probable the last tokens of each row are, given what is before them.

  Rows that begin alike should follow each other: only rows of one batch share
  anything, and pictures are the same if they are the same arrays.

  Args:
    model: the module.
    params: its parameters, on devices.
    rows: prompt and continuation in one, and the continuation's tokens.
    pad_id: fills rows.
    batch_size: rows that run at once.
  """
  scores = []
  rows = iter(rows)
  # Pictures are prepared as their batch comes: memory is that of one batch.
  while chunk := list(itertools.islice(rows, batch_size)):
    cuts = best_cuts(chunk)
    if not any(cuts):
      stacked = prompting.stack_rows([row for row, _ in chunk], pad_id)
      found = _next_tokens(model, params, *jax.device_put(stacked))
    else:
      shared, rest = share([row for row, _ in chunk], cuts, pad_id)
      found = _after_shared(
        model, params, *jax.device_put((shared, rest.tokens))
      )
    log_probs, is_best = jax.device_get(found)
    for i, (row, count) in enumerate(chunk):
      # Position t predicts token t + 1.
      end = len(row.tokens) - 1 - cuts[i]
      where = slice(end - count, end)
      scores.append(
        Score(
          float(np.sum(log_probs[i, where], dtype=np.float64)),
          count,
          bool(np.all(is_best[i, where])),
          tuple(log_probs[i, where].tolist()),
        )
      )
  return scores


def best_cuts(rows: Sequence[tuple[prompting.Row, int]]) -> list[int]:
  """Where to cut rows so that the least has to be computed.

  Behind the pictures, just before the last token of the prompt (that token
  predicts the first of the continuation), or nowhere.

  Args:
    rows: prompt and continuation in one, and the continuation's tokens.

  Returns:
    For each row the length of its beginning; all 0 if sharing is no gain.
  """
  prompts = [len(row.tokens) - count - 1 for row, count in rows]
  pictures = [
    min(_picture_end(row), prompt)
    for (row, _), prompt in zip(rows, prompts, strict=True)
  ]
  ways = [[0] * len(rows), pictures, prompts]
  # A row without any prompt, or a batch that mixes words with pictures.
  ways = [way for way in ways if way is ways[0] or all(n > 0 for n in way)]
  return min(ways, key=lambda way: _cost([row for row, _ in rows], way))


def share(
  rows: Sequence[prompting.Row], cuts: Sequence[int], pad_id: int
) -> tuple[Shared, prompting.Rows]:
  """Cuts rows in two, and keeps each different beginning and picture once.

  Args:
    rows: at least one.
    cuts: the length of each beginning, at least 1; holds all of its pictures.
    pad_id: fills rows.

  Returns:
    The beginnings, and what follows them in each row; the number of rows, of
    beginnings and of pictures are powers of two.
  """
  beginnings: dict[Any, int] = {}
  firsts, which = [], []
  lists: dict[Any, int] = {}
  pictures, has = [], []
  for row, cut in zip(rows, cuts, strict=True):
    images = _identity(row)
    key = images, tuple(row.tokens[:cut])
    if key not in beginnings:
      if images not in lists:
        lists[images] = len(lists)
        pictures.append(prompting.Row([pad_id], [False], row.images))
      firsts.append((row.tokens[:cut], row.image_mask[:cut]))
      has.append(lists[images])
    which.append(beginnings.setdefault(key, len(beginnings)))
  rest = prompting.stack_rows(
    [
      prompting.Row(row.tokens[cut:], row.image_mask[cut:], [])
      for row, cut in zip(rows, cuts, strict=True)
    ],
    pad_id,
    SUFFIX_MULTIPLE,
  )
  stacked = prompting.stack_rows(
    [prompting.Row(tokens, mask, []) for tokens, mask in firsts], pad_id
  )
  images = prompting.stack_rows(pictures, pad_id).images
  image_mask = None
  if images is not None:
    image_mask = np.zeros(stacked.tokens.shape, bool)
    for i in range(len(image_mask)):
      # Rows that fill up repeat the first one.
      mask = firsts[i if i < len(firsts) else 0][1]
      image_mask[i, : len(mask)] = mask
  return (
    Shared(
      stacked.tokens,
      image_mask,
      images,
      _filled(has, len(stacked.tokens)),
      _filled(which, len(rest.tokens)),
      _filled(cuts, len(rest.tokens)),
    ),
    rest,
  )


def _filled(numbers: Sequence[int], count: int) -> Int[np.ndarray, " count"]:
  """So many numbers: those given, and the first again."""
  return np.array([*numbers, *[numbers[0]] * (count - len(numbers))], np.int32)


def _identity(row: prompting.Row) -> tuple[int, ...]:
  return tuple(map(id, row.images))


def _picture_end(row: prompting.Row) -> int:
  """Length of the row up to the end of its last picture; 0 without any."""
  if not any(row.image_mask):
    return 0
  return len(row.image_mask) - row.image_mask[::-1].index(True) + 1


def _cost(rows: Sequence[prompting.Row], cuts: Sequence[int]) -> int:
  """About how many tokens the decoder works on, pictures included."""

  def padded(lengths, multiple):
    longest = -(-max(lengths) // multiple) * multiple
    return longest * (1 << (len(lengths) - 1).bit_length())

  if not any(cuts):
    lengths = [len(row.tokens) for row in rows]
    num_pictures = sum(len(row.images) for row in rows)
    tokens = padded(lengths, prompting.LENGTH_MULTIPLE)
    return tokens + PICTURE_COST * num_pictures
  beginnings = {
    (_identity(row), tuple(row.tokens[:cut]))
    for row, cut in zip(rows, cuts, strict=True)
  }
  pictures = {images for images, _ in beginnings}
  rest = [len(row.tokens) - cut for row, cut in zip(rows, cuts, strict=True)]
  return (
    padded([len(tokens) for _, tokens in beginnings], prompting.LENGTH_MULTIPLE)
    + padded(rest, SUFFIX_MULTIPLE)
    + PICTURE_COST * sum(map(len, pictures))
  )


@functools.partial(jax.jit, static_argnames="model")
def _next_tokens(
  model: Kosmos2,
  params: Mapping[str, Any],
  tokens: Int[Array, "B T"],
  lengths: Int[Array, " B"],
  images: Float[Array, "B M height width 3"] | None,
  image_mask: Bool[Array, "B T"] | None,
) -> tuple[Float[Array, "B T-1"], Bool[Array, "B T-1"]]:
  """Log-probability of each following token, and whether it is the best."""
  segment_ids = jnp.arange(tokens.shape[1]) < lengths[:, None]
  logits = model.apply(
    {"params": params},
    tokens,
    images,
    image_mask,
    segment_ids.astype(jnp.int32),
  )
  return _of_following(logits[:, :-1], tokens[:, 1:])


@functools.partial(jax.jit, static_argnames="model")
def _after_shared(
  model: Kosmos2,
  params: Mapping[str, Any],
  shared: Shared,
  tokens: Int[Array, "B T"],
) -> tuple[Float[Array, "B T-1"], Bool[Array, "B T-1"]]:
  """`_next_tokens` for what follows the beginnings.

  Beginnings of different lengths stand in one cache. Behind a short one is the
  padding of a longer one; the row's own tokens take its place before any of
  them can see it (see `masks.cache_mask`).
  """
  num_beginnings, length = shared.tokens.shape
  latents = decode.encode(model, params, shared.images)
  if latents is not None:
    latents = latents[shared.pictures]
  _, kv_cache = decode.prefill(
    model,
    params,
    shared.tokens,
    jnp.full(num_beginnings, length),
    model.decoder.new_kv_cache(num_beginnings, length),
    latents,
    shared.image_mask,
  )
  kv_cache = stacking.lengthen_cache(
    stacking.take_rows(kv_cache, shared.rows), tokens.shape[1]
  )
  logits, _ = model.apply(
    {"params": params}, tokens, kv_cache, shared.starts, method="decode"
  )
  return _of_following(logits[:, :-1], tokens[:, 1:])


def _of_following(
  logits: Float[Array, "B T V"], following: Int[Array, "B T"]
) -> tuple[Float[Array, "B T"], Bool[Array, "B T"]]:
  """Log-probability of each token, and whether it is the most probable."""
  log_probs = jax.nn.log_softmax(logits, axis=-1)
  found = jnp.take_along_axis(log_probs, following[..., None], axis=-1)[..., 0]
  return found, jnp.argmax(logits, axis=-1) == following

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
from kosmos2_jax.generation.latents import Latents
from kosmos2_jax.generation.placement import DEFAULT, Placement
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
    images: the different pictures or their latents, or None; V lists of M.
    pictures: which list of pictures each beginning has.
    rows: which beginning each row has.
    starts: how long the beginning of each row is.
  """

  tokens: Int[np.ndarray, "U P"]
  image_mask: Bool[np.ndarray, "U P"] | None
  images: (
    Float[np.ndarray, "V M height width 3"] | Float[jax.Array, "V M L D"] | None
  )
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
  placement: Placement = DEFAULT,
) -> list[Score]:
  """How probable the last tokens of each row are, given what is before them.

  Rows that begin alike should follow each other: only rows of one batch share
  what the decoder does, and pictures, which are the same if they are the same
  arrays, are remembered from one batch to the next.

  Args:
    model: the module.
    params: its parameters, on devices.
    rows: prompt and continuation in one, and the continuation's tokens.
    pad_id: fills rows.
    batch_size: rows that run at once.
    placement: of the rows.
  """
  scores = []
  latents = Latents(model, params, batch_size, placement)
  parts = placement.num_parts
  rows = iter(rows)
  # Pictures are prepared as their batch comes: memory is that of one batch.
  while chunk := list(itertools.islice(rows, batch_size)):
    cuts = best_cuts(chunk)
    if not any(cuts):
      stacked = prompting.stack_rows(
        [row for row, _ in chunk], pad_id, num_parts=parts, with_pixels=False
      )
      pictures = [row.images for row, _ in chunk]
      pictures += pictures[:1] * (len(stacked.tokens) - len(chunk))
      stacked = stacked._replace(images=latents.of(pictures))
      found = _next_tokens(model, params, *placement.put_rows(stacked))
    else:
      some = [row for row, _ in chunk]
      shared, rest = share(
        some, cuts, pad_id, num_parts=parts, with_pixels=False
      )
      shared = shared._replace(images=latents.of(_lists(some, parts)))
      found = _after_shared(
        model, params, *placement.put_rows((shared, rest.tokens))
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
  nowhere = [0] * len(rows)
  ways = [nowhere]
  for way in (pictures, prompts):
    # Half of the beginnings are saved, or it is not worth a second pass. A row
    # without any prompt, and words among pictures, have none.
    if all(way) and 2 * len(_beginnings(rows, way)) <= len(rows):
      ways.append(way)
  return min(ways, key=lambda way: _cost(rows, way))


def share(
  rows: Sequence[prompting.Row],
  cuts: Sequence[int],
  pad_id: int,
  *,
  num_parts: int = 1,
  with_pixels: bool = True,
) -> tuple[Shared, prompting.Rows]:
  """Cuts rows in two, and keeps each different beginning and picture once.

  Args:
    rows: at least one.
    cuts: the length of each beginning, at least 1; holds all of its pictures.
    pad_id: fills rows.
    num_parts: see `prompting.stack_rows`.
    with_pixels: see there.

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
    num_parts=num_parts,
  )
  stacked = prompting.stack_rows(
    [prompting.Row(tokens, mask, []) for tokens, mask in firsts],
    pad_id,
    num_parts=num_parts,
  )
  images = prompting.stack_rows(
    pictures, pad_id, num_parts=num_parts, with_pixels=with_pixels
  ).images
  image_mask = None
  if any(row.images for row in pictures):
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


def _lists(
  rows: Sequence[prompting.Row], num_parts: int
) -> list[list[np.ndarray]]:
  """The different lists of pictures, in the order and number of `share`."""
  lists = list({_identity(row): row.images for row in rows}.values())
  count = 1 << (len(lists) - 1).bit_length()
  count = -(-count // num_parts) * num_parts
  return lists + lists[:1] * (count - len(lists))


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


def _beginnings(
  rows: Sequence[tuple[prompting.Row, int]], cuts: Sequence[int]
) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
  """The different beginnings, by their pictures and their tokens."""
  return {
    (_identity(row), tuple(row.tokens[:cut]))
    for (row, _), cut in zip(rows, cuts, strict=True)
  }


def _cost(
  rows: Sequence[tuple[prompting.Row, int]], cuts: Sequence[int]
) -> int:
  """About how many tokens the decoder works on, pictures included."""

  def padded(lengths, multiple):
    longest = -(-max(lengths) // multiple) * multiple
    return longest * (1 << (len(lengths) - 1).bit_length())

  lengths = [len(row.tokens) for row, _ in rows]
  if not any(cuts):
    num_pictures = sum(len(row.images) for row, _ in rows)
    tokens = padded(lengths, prompting.LENGTH_MULTIPLE)
    return tokens + PICTURE_COST * num_pictures
  beginnings = _beginnings(rows, cuts)
  pictures = {images for images, _ in beginnings}
  rest = [length - cut for length, cut in zip(lengths, cuts, strict=True)]
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
  image_latents: Float[Array, "B M L D"] | None,
  image_mask: Bool[Array, "B T"] | None,
) -> tuple[Float[Array, "B T-1"], Bool[Array, "B T-1"]]:
  """Log-probability of each following token, and whether it is the best."""
  segment_ids = jnp.arange(tokens.shape[1]) < lengths[:, None]

  def read(module: Kosmos2) -> Float[Array, "B T V"]:
    numbers = segment_ids.astype(jnp.int32)
    return module.decoder(tokens, image_latents, image_mask, numbers)[0]

  logits = model.apply({"params": params}, method=read)
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

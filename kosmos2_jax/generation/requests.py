"""Runs any number of prompts through a model, in batches of few shapes."""

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.generation import decode, prompting
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.latents import Latents
from kosmos2_jax.generation.placement import DEFAULT, Placement
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.text.vocab import Vocab

# Length of what follows a common beginning, in tokens.
SUFFIX_MULTIPLE = 4


class Answer(NamedTuple):
  """New ids, with the ending one if reached, and their log-probabilities.

  `score` is what several answers to one prompt are compared by, see
  `decode.GenerateOutput`.
  """

  tokens: list[int]
  log_probs: list[float]
  score: float


def generate(
  model: Kosmos2,
  params: Mapping[str, Any],
  rows: Iterable[prompting.Row],
  *,
  vocab: Vocab,
  eos_id: int,
  batch_size: int,
  max_new_tokens: int,
  options: Options,
  beam: BeamOptions | None = None,
  seeds: Sequence[int] = (),
  placement: Placement = DEFAULT,
) -> list[list[Answer]]:
  """Continues rows; an answer depends on its row and its seed alone.

  Every picture is encoded once, as long as it comes again soon. Where several
  rows of a batch ask about the same pictures, these and the text before them
  go through the decoder once, too.

  Args:
    model: the module.
    params: its parameters, on devices.
    rows: see `prompting.make_row`.
    vocab: the layout of the ids.
    eos_id: ends an answer.
    batch_size: rows that run at once.
    max_new_tokens: where an answer is cut off.
    options: how tokens are chosen.
    beam: how to search, or None for one answer without a search.
    seeds: one for each row; needed above temperature 0.
    placement: of the rows.

  Returns:
    For each row its answers, best first; one without `beam`.
  """
  answers = []
  latents = Latents(model, params, batch_size, placement)
  rows = iter(rows)
  # Pictures are prepared as their batch comes: memory is that of one batch.
  while chunk := list(itertools.islice(rows, batch_size)):
    stacked, prefix = stack(chunk, vocab, latents, placement)
    keys = None
    if options.temperature:
      start = len(answers)
      given = list(seeds[start : start + len(chunk)])
      given += given[:1] * (stacked[0].shape[0] - len(given))
      keys = jax.vmap(jax.random.key)(jnp.asarray(given, jnp.uint32))
    output = jax.device_get(
      decode.generate(
        model,
        params,
        *stacked,
        prefix,
        max_new_tokens=max_new_tokens,
        eos_id=eos_id,
        options=options,
        beam=beam,
        keys=keys,
      )
    )
    found = [
      Answer(
        output.tokens[i, :n].tolist(),
        output.log_probs[i, :n].tolist(),
        float(output.scores[i]),
      )
      for i, n in enumerate(output.lengths.tolist())
    ]
    each = beam.num_results if beam else 1
    answers += [found[i * each : (i + 1) * each] for i in range(len(chunk))]
  return answers


def stack(
  rows: Sequence[prompting.Row],
  vocab: Vocab,
  latents: Latents,
  placement: Placement,
) -> tuple[tuple[Array | None, ...], decode.Prefix | None]:
  """What `decode.generate` takes of rows, on devices.

  What rows begin with is apart if that saves work.
  """
  split = prompting.common_prefixes(rows, vocab.is_special)
  if split is None:
    return _put(rows, vocab.pad_id, latents, placement), None
  prefixes, which, rest = split
  stacked = _put(rest, vocab.pad_id, latents, placement, SUFFIX_MULTIPLE)
  tokens, _, images, image_mask = _put(
    prefixes, vocab.pad_id, latents, placement, 1
  )
  which += [0] * (stacked[0].shape[0] - len(which))
  numbers = placement.put_rows(np.array(which, np.int32))
  return stacked, decode.Prefix(tokens, images, image_mask, numbers)


def _put(
  rows: Sequence[prompting.Row],
  pad_id: int,
  latents: Latents,
  placement: Placement,
  multiple: int = prompting.LENGTH_MULTIPLE,
) -> tuple[Array | None, ...]:
  """Rows on devices: tokens, lengths, latents of pictures, image mask."""
  tokens, lengths, _, image_mask = prompting.stack_rows(
    rows,
    pad_id,
    multiple,
    num_parts=placement.num_parts,
    with_pixels=False,
  )
  pictures = [row.images for row in rows]
  pictures += pictures[:1] * (len(tokens) - len(rows))
  tokens, lengths, image_mask = placement.put_rows(
    (tokens, lengths, image_mask)
  )
  return tokens, lengths, latents.of(pictures), image_mask


@functools.partial(jax.jit, static_argnames="model")
def logits(
  model: Kosmos2,
  params: Mapping[str, Any],
  tokens: Int[Array, "B T"],
  images: Float[Array, "B M height width 3"] | None,
  image_mask: Bool[Array, "B T"] | None,
  segment_ids: Int[Array, "B T"],
) -> Float[Array, "B T V"]:
  """float32 logits at every position, without the padding of the vocabulary."""
  found = model.apply(
    {"params": params}, tokens, images, image_mask, segment_ids
  )
  return found[..., : model.decoder.vocab_size]

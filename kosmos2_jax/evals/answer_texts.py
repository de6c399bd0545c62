"""Answers in words: how they were decoded, and what a record keeps of them."""

from collections.abc import Sequence
from typing import Any

from kosmos2_jax.evals.protocol import Json, Record
from kosmos2_jax.text import markup
from kosmos2_jax.text.grounded import Box, Phrase


def decoding(
  num_beams: int,
  length_penalty: float,
  max_new_tokens: int,
  no_repeat_ngram_size: int | None,
) -> str:
  """How tokens were chosen, in words; arguments as of `Predictor.generate`."""
  search = "greedy"
  if num_beams > 1:
    search = f"beam {num_beams} with length penalty {length_penalty:g}"
  if no_repeat_ngram_size is None:
    repeats = "the checkpoint's own rule against repeated n-grams"
  elif no_repeat_ngram_size:
    repeats = f"no {no_repeat_ngram_size} tokens in a row twice"
  else:
    repeats = "no rule against repeated n-grams"
  return f"{search}, at most {max_new_tokens} tokens, {repeats}"


def read(tokens: Sequence[int], finished: bool, tokenizer: Any) -> Json:
  """What the model wrote, as a record keeps it.

  Returns:
    `text` without tags, `phrases` (dicts with `text`, `span` and `boxes`) and
    `finished`.
  """
  parsed = markup.parse(tokens, tokenizer)
  return {
    "text": parsed.text,
    "phrases": [
      {
        "text": phrase.text,
        "span": list(phrase.span),
        "boxes": [list(box.xyxy) for box in phrase.boxes],
      }
      for phrase in parsed.phrases
    ],
    "finished": finished,
  }


def phrases(answer: Json) -> tuple[Phrase, ...]:
  """The phrases that `read` kept."""
  return tuple(
    Phrase(
      phrase["text"],
      tuple(phrase["span"]),
      [Box(box) for box in phrase["boxes"]],
    )
    for phrase in answer["phrases"]
  )


def counts(records: Sequence[Record]) -> dict[str, int]:
  """How many answers there are, say nothing, and were cut off."""
  return {
    "answers": len(records),
    "empty": sum(not record.answer["text"] for record in records),
    "unfinished": sum(not record.answer["finished"] for record in records),
  }

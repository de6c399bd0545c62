"""Published answers, asked for again: see `golden`."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from kosmos2_jax.convert.golden import NO_REPEAT_NGRAM_SIZE, Golden
from kosmos2_jax.convert.report import Check
from kosmos2_jax.generation import prompting
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import markup
from kosmos2_jax.text.grounded import Phrase

# Largest difference of a published score in float32. Arithmetic alone leaves
# about 1e-5, but the picture goes through JPEG and a bicubic squash: another
# release of the coder moves single pixels by one of their 256 levels. Rows of
# published scores that follow each other differ by 0.04 to 3.4 in each number,
# so a wrong weight or a row too early still shows.
SCORE_LIMIT = 1e-2


def read_picture(path: str) -> Image.Image:
  """The picture as its owners fed it: through JPEG with Pillow's defaults.

  A file that is JPEG already is taken as it is.

  Raises:
    FileNotFoundError, ValueError: see `prompting.read_image`.
  """
  picture = prompting.read_image(path)
  with Image.open(path) as opened:
    if opened.format == "JPEG":
      return picture
  coded = io.BytesIO()
  picture.save(coded, "JPEG")
  return Image.open(coded).convert("RGB")


def check_released(sizes: Mapping[str, Any]) -> None:
  """Raises ValueError, naming the first size that the released model lacks."""
  if different := differences(sizes, presets.preset("kosmos2")):
    raise ValueError(
      "the golden outputs are those of the released model, and this model has"
      f" other sizes ({different[0]}); leave out --golden_image"
    )


def differences(
  sizes: Mapping[str, Any], others: Mapping[str, Any]
) -> list[str]:
  """Says which sizes differ that decide what a model computes."""
  ours, theirs = ({"vision.stem": "patch"} | _flat(s) for s in (sizes, others))
  return [
    f"{name} is {ours.get(name)}, not {theirs.get(name)}"
    for name in ["vision.stem", *_flat(presets.preset("kosmos2"))]
    # Dropout is of training alone, and so are fields that no preset has.
    if not name.endswith("dropout_rate") and ours.get(name) != theirs.get(name)
  ]


def replay(
  predictor: Predictor,
  picture: Image.Image,
  golden: Golden,
  half_limit: float | None = None,
) -> Iterator[Check]:
  """Asks one prompt and compares ids, text, entities and scores.

  Args:
    predictor: computes in float32.
    picture: see `read_picture`.
    golden: what is expected.
    half_limit: for weights in half precision, the largest difference of scores
      as a part of the spread of the logits; see `verify.half_limit`.
  """
  encoded = predictor.encode(golden.prompt, picture)
  prompt_ids = encoded["tokens"][0].tolist()
  yield _ids(f"{golden.name}: prompt ids", prompt_ids, golden.prompt_ids)

  # A few more than needed: an answer that does not end where it should shows.
  with jax.default_matmul_precision("highest"):
    [answer] = predictor.generate(
      [golden.prompt],
      [picture],
      max_new_tokens=len(golden.answer_ids) + 8,
      no_repeat_ngram_size=NO_REPEAT_NGRAM_SIZE,
    )
  ending = [predictor.tokenizer.vocab.eos_id] if answer.finished else []
  yield _ids(
    f"{golden.name}: answer ids",
    [*answer.tokens, *ending],
    golden.answer_ids,
  )
  text = predictor.tokenizer.encode(golden.prompt)
  grounded = markup.parse([*text, *answer.tokens], predictor.tokenizer)
  yield Check(
    f"{golden.name}: text",
    grounded.text == golden.text,
    repr(grounded.text)
    if grounded.text == golden.text
    else f"found {grounded.text!r}, expected {golden.text!r}",
  )
  yield _entities(f"{golden.name}: entities", grounded.phrases, golden.phrases)
  yield _scores(predictor, encoded, golden, half_limit)


def _ids(name: str, found: Sequence[int], wanted: Sequence[int]) -> Check:
  if list(found) == list(wanted):
    return Check(name, True, f"all {len(wanted)} equal")
  pairs = zip(found, wanted, strict=False)
  short = min(len(found), len(wanted))
  i = next((i for i, (a, b) in enumerate(pairs) if a != b), short)
  one, other = (x[i] if i < len(x) else "the end" for x in (found, wanted))
  return Check(
    name,
    False,
    f"the first {i} equal, then found {one}, expected {other}",
  )


def _entities(
  name: str, found: Sequence[Phrase], wanted: Sequence[Phrase]
) -> Check:
  def say(phrases):
    return "; ".join(
      f"{phrase.text} {phrase.span} {[box.xyxy for box in phrase.boxes]}"
      for phrase in phrases
    )

  if tuple(found) == tuple(wanted):
    return Check(name, True, f"all {len(wanted)} equal: {say(found)}")
  return Check(
    name,
    False,
    f"found {say(found) or 'none'}, expected {say(wanted) or 'none'}",
  )


def _scores(
  predictor: Predictor,
  encoded: Mapping[str, np.ndarray],
  golden: Golden,
  half_limit: float | None,
) -> Check:
  """Scores along the expected answer, whatever the model itself wrote."""
  prompt, answer = golden.prompt_ids, golden.answer_ids
  tokens = np.array([[*prompt, *answer]], np.int32)
  image_mask = np.zeros(tokens.shape, bool)
  size = min(encoded["image_mask"].shape[1], len(prompt))
  image_mask[:, :size] = encoded["image_mask"][:, :size]
  with jax.default_matmul_precision("highest"):
    logits = predictor.logits(tokens, encoded["images"], image_mask)[0]
  wanted = np.array(golden.scores)
  # The logits at position t are of the token after it.
  rows = logits[len(prompt) : len(prompt) + len(wanted)]
  difference = float(np.abs(rows[:, : wanted.shape[1]] - wanted).max())
  limit = SCORE_LIMIT
  if half_limit is not None:
    limit = max(limit, half_limit * float(np.ptp(rows)))
  return Check(
    f"{golden.name}: scores",
    difference <= limit,
    f"largest difference {difference:.1e}, limit {limit:.1e}",
  )


def _flat(sizes: Mapping[str, Any]) -> dict[str, Any]:
  flat = {}
  for name, value in sizes.items():
    if isinstance(value, Mapping):
      flat |= {f"{name}.{field}": v for field, v in value.items()}
    else:
      flat[name] = value
  return flat

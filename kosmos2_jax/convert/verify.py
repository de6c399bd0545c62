"""Is a converted checkpoint the one it was made from?

Three comparisons, each independent of the others:

parameters        every array of both, read from their files again
logits            of random inputs, beside `transformers` where one of the two
                  is a folder of Hugging Face
golden outputs    of the released model, see `golden` and `replay`
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from PIL import Image

from kosmos2_jax.convert import huggingface, loading, peer, replay, weights
from kosmos2_jax.convert.golden import GOLDEN
from kosmos2_jax.convert.report import Check
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor

# Largest difference of logits in float32, as a part of their spread: the two
# add thousands of products in different orders. Small random models stay below
# it by a factor of two or more, one of the released size by twenty.
LIMIT = 2e-5
# Half the distance of neighbouring numbers, relative to them.
UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_MOST_NAMED = 10
_SEED = 0


def verify(
  source: Path, target: Path, picture: Image.Image | None = None
) -> Iterator[Check]:
  """Compares two checkpoints; yields what was found as it is found.

  At most two models are in memory at any time.

  Args:
    source: what was converted; any of `loading.KINDS`.
    target: what it became.
    picture: that of the golden outputs, see `replay.read_picture`.

  Raises:
    FileNotFoundError, ModuleNotFoundError, ValueError: see `loading.load`;
      ValueError, too, for a picture where the model is not of the released
      size.
  """
  one, other = loading.load(source), loading.load(target)
  if picture is not None:
    replay.check_released(other.sizes)
  kind = _file_dtype(target)
  description = _description(one, other)
  yield description
  yield from _parameters(one, other, kind)
  if not description.passed:
    yield Check("logits", None, "not compared: these are different models")
    return
  sizes = other.sizes
  used = (
    kind if kind != "float32" else jnp.dtype(other.model.decoder.dtype).name
  )
  if huggingface.is_folder(source):
    theirs, ours = source, other
  else:
    theirs, ours = target, one._replace(model=presets.build(sizes))
  # From here on one of ours, beside that of transformers.
  del one, other
  if not huggingface.is_folder(theirs):
    found = "not compared with transformers: neither is a folder of its kind"
    yield Check("logits", None, found)
  elif names := peer.missing():
    found = f"not compared with transformers: first pip install {names}"
    yield Check("logits", None, found)
  else:
    yield from _logits(theirs, ours, kind, used)
  del ours
  yield from _golden(target, sizes, kind, picture)


def half_limit(sizes: Mapping[str, Any], dtype: str) -> float:
  """Largest difference that half precision explains, as a part of the spread.

  A matrix and, where half precision also computes, its input are rounded:
  each changes the product by at most the unit roundoff u, relative to its
  size. The norms between matrices keep relative errors as they are and the
  errors are independent, so they add up in squares: u √(2n) behind n matrices.
  (The largest of many errors is some four times the usual one, and the spread
  of many logits more than four times their own size.)
  """
  # Query, key, value, out, up, down; and stem, resampler (5), embedding.
  matrices = 6 * (sizes["vision"]["depth"] + sizes["decoder"]["depth"]) + 7
  return UNIT_ROUNDOFF[dtype] * math.sqrt(2 * matrices)


def make_cases(sizes: Mapping[str, Any]) -> list[peer.Case]:
  """Random ids and pixels for a model of these sizes, the same every time."""
  rng = np.random.default_rng(_SEED)
  num_latents = sizes["resampler"]["num_latents"]
  side = sizes["vision"]["image_size"]

  def case(name, rows, num_images, padding=()):
    length = 9 + num_images * (num_latents + 2)
    tokens = rng.integers(4, sizes["vocab_size"], (rows, length), np.int32)
    tokens[:, 0] = 0
    image_mask = np.zeros((rows, length), bool)
    for i in range(num_images):
      begin = 2 + i * (num_latents + 2)
      image_mask[:, begin : begin + num_latents] = True
    for row, count in enumerate(padding):
      tokens[row, length - count :] = 1
    shape = (rows, num_images, side, side, 3)
    images = rng.standard_normal(shape, np.float32)
    return peer.Case(name, tokens, image_mask, images)

  return [
    case("text only", 1, 0),
    case("one picture", 1, 1),
    case("two pictures", 1, 2),
    case("padded batch", 3, 1, padding=(0, 4, 1)),
  ]


def _file_dtype(path: Path) -> str:
  if huggingface.is_folder(path):
    return weights.SafetensorsFolder(path).dtype()
  return "float32"


def _description(one: loading.Checkpoint, other: loading.Checkpoint) -> Check:
  found = replay.differences(one.sizes, other.sizes)
  if one.tokenizer.model_bytes != other.tokenizer.model_bytes:
    found.append("the tokenizers differ")
  sizes = (one.no_repeat_ngram_size, other.no_repeat_ngram_size)
  if sizes[0] != sizes[1]:
    found.append("no_repeat_ngram_size is {}, not {}".format(*sizes))
  same = "sizes, tokenizer and decoding default are the same"
  return Check("description", not found, "; ".join(found) or same)


def _parameters(
  one: loading.Checkpoint, other: loading.Checkpoint, kind: str
) -> Iterator[Check]:
  """Compares every array; a line for each of the first that differ."""
  sources, targets = _arrays(one), _arrays(other)
  wrong = [
    Check(name, False, "only one of the two has it")
    for name in sorted(set(sources) ^ set(targets))
  ]
  for name in sources:
    if name in targets and (
      found := _difference(sources[name], targets[name], kind)
    ):
      wrong.append(Check(name, False, found))
  total = len(set(sources) | set(targets))
  how = "bit for bit" if kind == "float32" else f"once rounded to {kind}"
  yield Check(
    "parameters",
    not wrong,
    f"{total - len(wrong)} of {total} arrays equal, {how}",
  )
  yield from wrong[:_MOST_NAMED]
  if (more := len(wrong) - _MOST_NAMED) > 0:
    yield Check("…", False, f"{more} more arrays differ")


def _arrays(loaded: loading.Checkpoint) -> dict[str, Any]:
  arrays = {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(loaded.params)
  }
  # Rows behind the vocabulary are padding, which no file need keep.
  name = "decoder/embedding"
  arrays[name] = arrays[name][: loaded.sizes["vocab_size"]]
  return arrays


def _difference(one: Any, other: Any, kind: str) -> str:
  """How two arrays differ, in words; "" if they do not."""
  one, other = np.asarray(one), np.asarray(other)
  if one.shape != other.shape:
    return f"shape {one.shape} became {other.shape}"
  with np.errstate(over="ignore"):  # too large for half: infinite in both
    one = one.astype(_numpy_dtype(kind)).astype(np.float32)
  # Bits: a zero's sign counts, and what is no number equals itself.
  differ = one.view(np.uint32) != other.view(np.uint32)
  if not (count := int(differ.sum())):
    return ""
  first = [int(i) for i in np.argwhere(differ)[0]]
  with np.errstate(invalid="ignore"):
    largest = float(np.abs(one - other)[differ].max())
  return (
    f"{count} of {one.size} entries differ, first at {first}, by at most"
    f" {largest:.1e}"
  )


def _logits(
  folder: Path, ours: loading.Checkpoint, kind: str, used: str
) -> Iterator[Check]:
  """Logits of a Hugging Face folder beside ours, of the other checkpoint.

  Args:
    folder: opened by transformers.
    ours: its parameters go to the device, and are rounded.
    kind: what the target's weights are rounded to. Both sides are, so the
      limit is that of float32.
    used: where the target is used in half precision, which: both sides are
      then also compared as they are.
  """
  cases = make_cases(ours.sizes)
  dtypes = list(dict.fromkeys(["float32", kind]))
  # First theirs, then ours: two sets of weights, and never a third.
  theirs = dict(zip(dtypes, peer.logits(folder, cases, dtypes), strict=True))
  params = loading.to_device(ours.params)
  as_used = []
  if used != "float32":
    limit = half_limit(ours.sizes, used)
    for case, wanted in zip(cases, theirs["float32"], strict=True):
      found = _run(ours.model, params, ours, case)
      name = f"in {used}, {case.name}"
      as_used.append(_compare(name, found, wanted, case, limit))
  model = presets.build(ours.sizes)
  if kind != "float32":
    params = _rounded(params, kind)
  for case, wanted in zip(cases, theirs[kind], strict=True):
    found = _run(model, params, ours, case)
    yield _compare(f"logits, {case.name}", found, wanted, case, LIMIT)
  yield from as_used


def _run(model, params, ours: loading.Checkpoint, case: peer.Case):
  predictor = Predictor(model, params, ours.tokenizer)
  has_images = bool(case.images.shape[1])
  # Accelerators would multiply float32 with fewer bits by default.
  with jax.default_matmul_precision("highest"):
    return predictor.logits(
      case.tokens,
      case.images if has_images else None,
      case.image_mask if has_images else None,
    )


def _compare(
  name: str,
  found: np.ndarray,
  wanted: np.ndarray,
  case: peer.Case,
  limit: float,
) -> Check:
  found, wanted = found[case.real], wanted[case.real]
  difference = float(np.abs(found - wanted).max())
  spread = float(np.ptp(wanted))
  ratio = difference / max(spread, 1e-30)  # of a model that is all zeros
  return Check(
    name,
    ratio <= limit,
    f"largest difference {difference:.1e}, spread {spread:.1f}, ratio"
    f" {ratio:.1e}, limit {limit:.1e}",
  )


def _rounded(params: dict[str, Any], dtype: str) -> dict[str, Any]:
  for name, value in params.items():
    params[name] = (
      _rounded(value, dtype)
      if isinstance(value, dict)
      else value.astype(dtype).astype("float32")
    )
  return params


def _numpy_dtype(name: str) -> np.dtype:
  return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def _golden(
  target: Path,
  sizes: Mapping[str, Any],
  kind: str,
  picture: Image.Image | None,
) -> Iterator[Check]:
  if picture is None:
    if not replay.differences(sizes, presets.preset("kosmos2")):
      found = "not replayed: give the released snowman.png as --golden_image"
      yield Check("golden outputs", None, found)
    return
  predictor = Predictor.from_pretrained(target, dtype="float32")
  limit = None if kind == "float32" else half_limit(sizes, kind)
  for golden in GOLDEN:
    yield from replay.replay(predictor, picture, golden, limit)

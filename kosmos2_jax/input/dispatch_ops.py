"""The op that does with an example what its fields ask for."""

from collections.abc import Mapping, Sequence

from kosmos2_jax.input import geometry
from kosmos2_jax.input.text_ops import Context, Example, Op

# Recipes, and the fields that have to be there and filled; the first one that
# an example has decides.
FIELDS = {
  "instruction": ("messages",),
  "grounded_vqa": ("question", "answers"),
  "region_description": ("expressions",),
  "referring": ("expressions",),
  "grounded_caption": ("caption", "noun_chunks"),
  "plain_caption": ("caption",),
}
# Fields that say themselves where the pictures of an example stand.
_PLACING_FIELDS = ("messages", "parts")


def lone_picture(example: Example) -> Example:
  """The example with the only one of its `images` as `image`.

  Then it is known before any recipe which picture its boxes and words are
  about, as augmentation has to. It is left as it is where it has an `image`,
  or not exactly one picture, or words that say where pictures stand.
  """
  images = example.get("images", ())
  if (
    example.get("image")
    or len(images) != 1
    or any(example.get(field) for field in _PLACING_FIELDS)
  ):
    return example
  return {**example, "image": images[0]}


def dispatch(
  ops: Mapping[str, Sequence[Op]], *, describe_probability: float
) -> Op:
  """Does what the ops of one of several recipes do.

  Args:
    ops: of every recipe in `FIELDS`.
    describe_probability: how often an example with expressions is a
      "region_description"; else it is "referring".

  Raises (the op):
    ValueError: an example has none of the fields, or a recipe of one picture
      meets several.
  """
  if not 0 <= describe_probability <= 1:
    raise ValueError(
      f"describe_probability is 0..1, found {describe_probability}"
    )

  def op(example: Example, context: Context) -> Example:
    name = _recipe_of(example)
    if name == "region_description" and (
      example["rng"].random() >= describe_probability
    ):
      name = "referring"
    if name == "instruction":
      example = _all_pictures(example)
    else:
      example = _only_picture(example)
    for each in ops[name]:
      example = each(example, context)
    return example

  return op


def _recipe_of(example: Example) -> str:
  for name, fields in FIELDS.items():
    if all(example.get(field) for field in fields):
      return name
  known = sorted({" with ".join(fields) for fields in FIELDS.values()})
  raise ValueError(
    f"recipe by_fields needs one of {', '.join(known)}; example"
    f" {example.get('id')!r} has none of them filled, only"
    f" {sorted(key for key, value in example.items() if value)}"
  )


def _all_pictures(example: Example) -> Example:
  """The example with `images`, which may be the one of `image`."""
  if example.get("images") or not example.get("image"):
    return {"images": [], **example}
  return {**example, "images": [example["image"]]}


def _only_picture(example: Example) -> Example:
  """The example with its only picture as `image`, where there is none.

  Raises:
    ValueError: it has no picture, or more than one.
  """
  if example.get("image"):
    return example
  images = example.get("images", ())
  if len(images) != 1:
    raise ValueError(
      f"example {example.get('id')!r} has {len(images)} pictures; what it says"
      " needs exactly one. Several pictures go with messages."
    )
  shape = geometry.image_shape(images[0])
  return {**example, "image": images[0], "image_shape": shape}

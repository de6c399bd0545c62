"""Names and layouts of every parameter, here and in other systems' files.

`TABLE` is read in both directions. Files keep one array per layer and PyTorch's
layouts; here layers are stacked along a first axis and kernels are what is
multiplied from the right:

    layout      in a file          here
    same        as it is           as it is
    linear      [out, in]          [in, out]
    heads       [N·H, in]          [in, N, H]
    head_bias   [N·H]              [N, H]
    conv        [out, in, h, w]    [h, w, in, out]
    rows        [V, D]             [V + padding, D], padding is zero

The vision encoder is CLIP's, so the names in files of CLIP alone follow from
the columns that are written out.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple


class Entry(NamedTuple):
  """One parameter; `{}` in a name stands for the number of the layer.

  Attributes:
    path: here, below `params`; stacked if `/layers/` is in it.
    huggingface: in `Kosmos2ForConditionalGeneration`.
    fairseq: in `kosmos-2.pt`.
    layout: see the module.
  """

  path: str
  huggingface: str
  fairseq: str
  layout: str = "same"

  @property
  def openai(self) -> str:
    """Of vision, in OpenAI's and open_clip's files.

    Queries, keys and values are one array there, one below the other; its
    parts are called `…in_proj_weight[q]` and so on, see `clip`.
    """
    name = self.fairseq.removeprefix("img_model.").replace("ts_attn", "attn")
    return re.sub(r"\.([qkv])_proj\.(\w+)$", r".in_proj_\2[\1]", name)

  @property
  def clip(self) -> str:
    """Of vision, in Hugging Face's `CLIPModel`."""
    return self.huggingface.replace("vision_model.model.", "vision_model.")

  @property
  def clip_vision(self) -> str:
    """Of vision, in the `CLIPVisionModel` that newer releases write."""
    return self.huggingface.removeprefix("vision_model.model.")


def _norm(*names: str) -> list[Entry]:
  ours, *theirs = names
  return [
    Entry(f"{ours}/{mine}", *(f"{name}.{other}" for name in theirs))
    for mine, other in (("scale", "weight"), ("bias", "bias"))
  ]


def _linear(*names: str) -> list[Entry]:
  ours, *theirs = names
  return [
    Entry(f"{ours}/kernel", *(f"{name}.weight" for name in theirs), "linear"),
    Entry(f"{ours}/bias", *(f"{name}.bias" for name in theirs)),
  ]


def _attention(*names: str) -> list[Entry]:
  ours, *theirs = names
  entries = []
  for mine in ("query", "key", "value"):
    full = [f"{name}.{mine[0]}_proj" for name in theirs]
    entries += [
      Entry(f"{ours}/{mine}/kernel", *(f"{n}.weight" for n in full), "heads"),
      Entry(f"{ours}/{mine}/bias", *(f"{n}.bias" for n in full), "head_bias"),
    ]
  return entries + _linear(
    f"{ours}/out", *(f"{name}.out_proj" for name in theirs)
  )


def _table() -> Iterator[Entry]:
  here, face, fair = (
    "decoder",
    "text_model.model",
    "gpt_model.decoder",
  )
  yield Entry(
    f"{here}/embedding",
    f"{face}.embed_tokens.weight",
    f"{fair}.embed_tokens.weight",
    "rows",
  )
  yield from _norm(
    f"{here}/final_norm", f"{face}.layer_norm", f"{fair}.layer_norm"
  )

  def layer(mine, other):
    return (
      f"{here}/layers/{mine}",
      f"{face}.layers.{{}}.{other}",
      f"{fair}.layers.{{}}.{other}",
    )

  yield from _norm(*layer("attn_norm", "self_attn_layer_norm"))
  yield from _attention(*layer("attention", "self_attn"))
  yield from _norm(*layer("attention/inner_norm", "self_attn.inner_attn_ln"))
  yield from _norm(*layer("mlp_norm", "final_layer_norm"))
  yield from _linear(*layer("mlp/up", "ffn.fc1"))
  yield from _norm(*layer("mlp/inner_norm", "ffn.ffn_layernorm"))
  yield from _linear(*layer("mlp/down", "ffn.fc2"))

  here, face, fair = (
    "resampler",
    "image_to_text_projection",
    "img_connector",
  )
  yield Entry(f"{here}/latents", f"{face}.latent_query", f"{fair}.latent_query")
  yield from _linear(f"{here}/project", f"{face}.dense", f"{fair}.dense")
  yield from _attention(f"{here}/attention", f"{face}.x_attn", f"{fair}.x_attn")

  here, face, fair = "vision", "vision_model.model", "img_model.visual"
  embeddings = f"{face}.embeddings"
  yield Entry(
    f"{here}/class_token",
    f"{embeddings}.class_embedding",
    f"{fair}.class_embedding",
  )
  yield Entry(
    f"{here}/positions",
    f"{embeddings}.position_embedding.weight",
    f"{fair}.positional_embedding",
  )
  yield Entry(
    f"{here}/stem/kernel",
    f"{embeddings}.patch_embedding.weight",
    f"{fair}.conv1.weight",
    "conv",
  )
  # Hugging Face's own spelling.
  yield from _norm(f"{here}/pre_norm", f"{face}.pre_layrnorm", f"{fair}.ln_pre")
  yield from _norm(
    f"{here}/post_norm", f"{face}.post_layernorm", f"{fair}.ln_post"
  )
  for mine, other, original, make in (
    ("attn_norm", "layer_norm1", "ln_1", _norm),
    ("attention", "self_attn", "ts_attn", _attention),
    ("mlp_norm", "layer_norm2", "ln_2", _norm),
    ("mlp/up", "mlp.fc1", "mlp.c_fc", _linear),
    ("mlp/down", "mlp.fc2", "mlp.c_proj", _linear),
  ):
    yield from make(
      f"{here}/layers/{mine}",
      f"{face}.encoder.layers.{{}}.{other}",
      f"{fair}.transformer.resblocks.{{}}.{original}",
    )


TABLE = tuple(_table())

# Names that stand for another array of the same file: the tied output matrix.
TIED = {
  "text_model.lm_head.weight": "text_model.model.embed_tokens.weight",
  "gpt_model.decoder.output_projection.weight": (
    "gpt_model.decoder.embed_tokens.weight"
  ),
}
# Arrays that hold nothing learned; why they are not needed.
DROPPED = {
  "gpt_model.decoder.embed_positions._float_tensor": "marks a dtype",
  "gpt_model.decoder.self_attn_sope.scale": "of positions that are never used",
  "text_model.model.embed_positions.weights": "sinusoids, computed anew",
  "vision_model.model.embeddings.position_ids": "0, 1, 2, …",
}
# How names of a CLIP begin that is more than the vision encoder; why they are
# not needed.
CLIP_DROPPED = {
  "of the text tower": (
    "text.",
    "text_model.",
    "text_projection",
    "transformer.",
    "token_embedding.",
    "positional_embedding",
    "ln_final.",
    "logit_scale",
    "logit_bias",
    "context_length",
    "vocab_size",
  ),
  "follows from the shapes": ("input_resolution",),
  "the projection to the text's space; features before it are used": (
    "visual.proj",
    "visual_projection.",
  ),
  "0, 1, 2, …": (
    "embeddings.position_ids",
    "vision_model.embeddings.position_ids",
  ),
}

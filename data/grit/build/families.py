"""How each kind of zero-shot detector is asked, and how it answers.

What is asked and how answers are read is written here and in `alignment`, not
taken from the library's processors: those label boxes with decoded strings,
count the padding of a shorter list of texts as a class (OWL), and cannot be
made without torchvision (OMDet-Turbo).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from data.grit.build import alignment


class Answer(NamedTuple):
  """What a detector said about one picture: a box and scores of each query."""

  scores: Float[np.ndarray, "queries phrases"]
  boxes_cxcywh: Float[np.ndarray, "queries 4"]


class Family:
  """How one kind of detector is asked.

  Attributes:
    forbidden: characters that texts must not hold.
  """

  forbidden = ""

  def __init__(self, model: Any, tokenizer: Any, token_score: str):
    self.model, self.tokenizer = model, tokenizer
    self.token_score = token_score

  def num_tokens(self, text: str) -> int:
    """Tokens of a text, without those around it."""
    return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

  def fits(self, text: str) -> bool:
    """Whether the text has tokens, and no more than can be asked."""
    return 0 < self.num_tokens(text) <= self.room() - 2

  def room(self) -> int:
    """The most tokens of a text, with the two around it."""
    return self.model.config.text_config.max_position_embeddings

  def groups(self, texts: Sequence[str]) -> list[list[int]]:
    """Which texts are asked together."""
    return [list(range(len(texts)))]

  def scale_xy(self, width: int, height: int) -> tuple[float, float]:
    """What the detector is shown, as parts of the picture's sides."""
    del width, height
    return 1.0, 1.0

  def ask(self, pixels: Any, texts: Sequence[Sequence[str]]) -> list[Answer]:
    """Answers about pictures of one size, each with its texts.

    Args:
      pixels: float32 [pictures, 3, height, width], a tensor.
      texts: of each picture.
    """
    raise NotImplementedError

  def tokens(self, texts: Sequence[str], **options: Any) -> Any:
    """Token ids and what goes with them, tensors on the model's device."""
    encoded = self.tokenizer(list(texts), return_tensors="pt", **options)
    return encoded.to(self.model.device)


class _GroundingDino(Family):
  """One text of all phrases; scores of its tokens."""

  forbidden = ".?"  # Both end a phrase in the model.

  def room(self) -> int:
    return self.model.config.max_text_len - 1  # A full stop behind each.

  def groups(self, texts: Sequence[str]) -> list[list[int]]:
    sizes = [self.num_tokens(text) + 1 for text in texts]
    return alignment.packed(sizes, self.model.config.max_text_len - 2)

  def ask(self, pixels: Any, texts: Sequence[Sequence[str]]) -> list[Answer]:
    asked = [alignment.joined(some) for some in texts]
    inputs = self.tokens(
      [text for text, _ in asked],
      padding=True,
      return_offsets_mapping=True,
      return_token_type_ids=True,
    )
    offsets = inputs.pop("offset_mapping").tolist()
    output = self.model(pixel_values=pixels, **inputs)
    answers = []
    for tokens, boxes, own, (_, spans) in zip(
      _numbers(output.logits.sigmoid()),
      _numbers(output.pred_boxes),
      offsets,
      asked,
      strict=True,
    ):
      mask = alignment.token_mask(own, spans, tokens.shape[1])
      scores = alignment.phrase_scores(tokens, mask, self.token_score)
      answers.append(Answer(scores, boxes))
    return answers


class _Owl(Family):
  """A list of texts; scores of each. The picture is squashed to a square."""

  def ask(self, pixels: Any, texts: Sequence[Sequence[str]]) -> list[Answer]:
    inputs = self.tokens(
      _even(texts), padding="max_length", max_length=self.room()
    )
    output = self.model(pixel_values=pixels, **inputs)
    logits, boxes = output.logits.sigmoid(), output.pred_boxes
    return [
      Answer(own[:, : len(some)], box)
      for own, box, some in zip(
        _numbers(logits), _numbers(boxes), texts, strict=True
      )
    ]


class _Owl2(_Owl):
  """The same, but the picture is padded to a square, right and below."""

  def scale_xy(self, width: int, height: int) -> tuple[float, float]:
    longer = max(width, height)
    return longer / width, longer / height


class _OmdetTurbo(Family):
  """A list of texts and a task made of them; scores of each text."""

  def ask(self, pixels: Any, texts: Sequence[Sequence[str]]) -> list[Answer]:
    length = {"padding": "max_length", "max_length": self.room()}
    options = {**length, "return_token_type_ids": False}
    tasks = [f"Detect {', '.join(some)}." for some in texts]
    task = self.tokens(tasks, truncation=True, **options)
    classes = self.tokens(_even(texts), **options)
    sizes = [len(classes["input_ids"]) // len(texts)] * len(texts)
    output = self.model(
      pixel_values=pixels,
      tasks_input_ids=task["input_ids"],
      tasks_attention_mask=task["attention_mask"],
      classes_input_ids=classes["input_ids"],
      classes_attention_mask=classes["attention_mask"],
      classes_structure=task["input_ids"].new_tensor(sizes),
    )
    return [
      Answer(own[:, : len(some)], box)
      for own, box, some in zip(
        _numbers(output.decoder_class_logits.sigmoid()),
        _numbers(output.decoder_coord_logits),
        texts,
        strict=True,
      )
    ]


# By `model_type` of the checkpoint's config.
FAMILIES: dict[str, type[Family]] = {
  "grounding-dino": _GroundingDino,
  "mm-grounding-dino": _GroundingDino,
  "owlvit": _Owl,
  "owlv2": _Owl2,
  "omdet-turbo": _OmdetTurbo,
}


def _even(texts: Sequence[Sequence[str]]) -> list[str]:
  """All texts, as many for each picture: shorter lists repeat their last one.

  That adds no score that would be higher than the others.
  """
  most = max(map(len, texts))
  return [
    text for some in texts for text in (*some, *some[-1:] * (most - len(some)))
  ]


def _numbers(tensor: Any) -> Float[np.ndarray, "..."]:
  return tensor.float().cpu().numpy()

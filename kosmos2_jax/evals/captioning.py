"""Captioning: what is in the picture, compared with what people wrote."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.evals import answer_texts
from kosmos2_jax.evals.examples import Example, field
from kosmos2_jax.evals.protocol import (
  Evaluator,
  Json,
  Published,
  Question,
  Record,
  Scores,
  View,
)
from kosmos2_jax.evals.scoring import captions as scoring
from kosmos2_jax.evals.scoring import coco_scorers
from kosmos2_jax.text import prompts

# What of the answer is compared.
SCORED = ("answer", "prompt_and_answer")
# Pictures of the splits that results are published on.
FULL_SIZES = {
  1000: "Flickr30k test",
  1014: "Flickr30k validation",
  5000: "COCO validation or test",
}


class Caption(Evaluator):
  """Asks for a caption and compares it with the reference captions.

  Of the original's captioning nothing but numbers was released. The paper
  names the prompt, "An image of", and a beam of 5; what follows the prompt is
  taken as the caption here, as others do who evaluate models with a prompt.

  Attributes:
    prompt: text after the picture. With `<grounding>` the answer has boxes;
      words are scored without the tags.
    scored: "answer": what follows the prompt; "prompt_and_answer": the words
      of the prompt, too ("An image of a dog").
    num_beams: answers followed at once; 1: greedy.
    length_penalty: of the beams, see `generation.beams.BeamOptions`.
    max_new_tokens: where an answer is cut off.
    no_repeat_ngram_size: no sequence of so many tokens comes twice; 0: any
      may, None: the checkpoint's own (3 for the released model).
    full_size: pictures of the whole split, for the note on CIDEr of fewer;
      None: one of `FULL_SIZES`.
  """

  name = "caption"
  version = "1"

  def __init__(
    self,
    *,
    prompt: str = prompts.caption(),
    scored: str = "answer",
    num_beams: int = 5,
    length_penalty: float = 1.0,
    max_new_tokens: int = 64,
    no_repeat_ngram_size: int | None = None,
    full_size: int | None = None,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for a number out of range, or an unknown `scored`.
    """
    if scored not in SCORED:
      raise ValueError(f"scored is one of {SCORED}; got {scored!r}.")
    if num_beams < 1 or max_new_tokens < 1:
      raise ValueError(
        "num_beams and max_new_tokens are 1 or more; got"
        f" {num_beams} and {max_new_tokens}."
      )
    self.prompt = prompt
    self.scored = scored
    self.num_beams = num_beams
    self.length_penalty = length_penalty
    self.max_new_tokens = max_new_tokens
    self.no_repeat_ngram_size = no_repeat_ngram_size
    self.full_size = full_size

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    compared = (
      "the text after the prompt"
      if self.scored == "answer"
      else "prompt and answer together"
    )
    decoding = answer_texts.decoding(
      self.num_beams,
      self.length_penalty,
      self.max_new_tokens,
      self.no_repeat_ngram_size,
    )
    return (
      f"prompt {self.prompt}, {decoding}; {compared}, without tags, against all"
      " reference captions of the picture, by pycocoevalcap's scorers, x 100;"
      " intervals of CIDEr keep the document frequencies of all answers"
    )

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """One for each picture.

    Args:
      examples: with `image` and `captions`, or else the one `caption`.

    Raises:
      ModuleNotFoundError: pycocoevalcap is missing, found before anything is
        asked.
      ValueError: an example has no caption, or is an earlier one once more.
    """
    coco_scorers.require()
    seen: dict[bytes, str] = {}
    for example in examples:
      texts = example.get("captions")
      if texts is None:
        texts = [field(example, "caption")]
      if not len(texts):
        raise ValueError(
          f"example {example.get('id')!r} has an empty list of captions; choose"
          " other examples with the task's `where`."
        )
      name = str(field(example, "id"))
      image = field(example, "image")
      if example.get("captions") is not None:
        # Records of one picture are anywhere in the order of a dataset.
        other = seen.setdefault(_digest(image, texts), name)
        if other != name:
          raise ValueError(
            f"example {name!r} has the picture and the captions of example"
            f" {other!r}, which would count twice; prepare the dataset without"
            " one_per_caption."
          )
      yield Question(
        id=name,
        group=name,
        images=(image,),
        ask=self.prompt,
        truth=[str(text) for text in texts],
      )

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """Asks for captions.

    Returns:
      For each `text` without tags; `phrases` of it, with boxes; `finished`,
      False if it was cut off.
    """
    answers = predictor.generate(
      [question.ask for question in questions],
      [list(question.images) for question in questions],
      num_beams=self.num_beams,
      length_penalty=self.length_penalty,
      max_new_tokens=self.max_new_tokens,
      no_repeat_ngram_size=self.no_repeat_ngram_size,
    )
    found = []
    for question, answer in zip(questions, answers, strict=True):
      tokens = list(answer.tokens)
      if self.scored != "answer":
        tokens = [*predictor.tokenizer.encode(question.ask), *tokens]
      found.append(
        answer_texts.read(tokens, answer.finished, predictor.tokenizer)
      )
    return found

  def score(self, records: Sequence[Record]) -> Scores:
    """CIDEr, BLEU-1 to 4, ROUGE-L and METEOR, times 100.

    Raises:
      ModuleNotFoundError, ValueError: see `scoring.captions.score`.
    """
    sizes = FULL_SIZES
    if self.full_size is not None:
      sizes = {self.full_size: "the whole split"}
    scores = scoring.score(
      [record.truth for record in records],
      [record.answer["text"] for record in records],
    )
    return dataclasses.replace(
      scores,
      counts={**answer_texts.counts(records), **scores.counts},
      notes=(*scoring.size_notes(len(records), sizes), *scores.notes),
    )

  def view(self, record: Record) -> View:
    """The caption with its boxes, and the references."""
    text = record.answer["text"]
    return View(
      predicted=answer_texts.phrases(record.answer),
      annotated=(),
      lines=(text or "(no text)", *(f"true: {true}" for true in record.truth)),
    )

  def published(self, dataset: str, split: str) -> tuple[Published, ...]:
    """Kosmos-2 on Flickr30k, before and after instruction tuning."""
    if (dataset, split) != ("flickr30k", "test"):
      return ()
    return (
      Published(
        "cider",
        80.5,
        "unilm README, Karpathy test, zero-shot: after instruction tuning, as"
        " the released checkpoint",
      ),
      Published(
        "cider",
        66.7,
        "Kosmos-2 paper, Karpathy test, zero-shot: before instruction tuning",
      ),
    )

  def files(self, records: Sequence[Record]) -> Mapping[str, str]:
    """The answers in the form that COCO's caption server takes."""
    content = [
      {
        "image_id": int(record.id) if record.id.isdecimal() else record.id,
        "caption": record.answer["text"],
      }
      for record in records
    ]
    return {"captions.json": json.dumps(content, ensure_ascii=False) + "\n"}


def _digest(image: np.ndarray, texts: Sequence[str]) -> bytes:
  """Equal for equal pictures with equal captions."""
  found = hashlib.blake2b(json.dumps([image.shape, *texts]).encode())
  found.update(np.ascontiguousarray(image))
  return found.digest()

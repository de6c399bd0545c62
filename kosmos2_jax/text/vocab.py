"""The vocabulary's layout: which id is which token.

The order is the original's and fixed: four specials of the dictionary, the
text pieces of the SentencePiece model, `<mask>`, five document symbols, five
tags of phrases and boxes, `<grounding>`, and one location token for each cell
of a `num_bins` x `num_bins` grid. Only the number of pieces and of bins vary.
"""

import dataclasses
import functools

BOS = "<s>"
PAD = "<pad>"
EOS = "</s>"
UNK = "<unk>"

MASK = "<mask>"
DOC = "</doc>"
IMAGE = "<image>"
IMAGE_END = "</image>"
CHUNK = "</chunk>"
LINE = "</line>"
PHRASE = "<phrase>"
PHRASE_END = "</phrase>"
OBJECT = "<object>"
OBJECT_END = "</object>"
DELIMITER = "</delimiter_of_multi_objects/>"
GROUNDING = "<grounding>"

DICTIONARY_SPECIALS = (BOS, PAD, EOS, UNK)
AFTER_PIECES = (
  MASK,
  DOC,
  IMAGE,
  IMAGE_END,
  CHUNK,
  LINE,
  PHRASE,
  PHRASE_END,
  OBJECT,
  OBJECT_END,
  DELIMITER,
  GROUNDING,
)


def location_text(location_bin: int) -> str:
  """Returns a location token's text, e.g. `<patch_index_0007>`."""
  return f"<patch_index_{location_bin:04d}>"


@dataclasses.dataclass(frozen=True)
class Vocab:
  """Ids of all tokens; a value without behaviour beyond arithmetic.

  Attributes:
    num_pieces: text pieces, not counting SentencePiece's own three specials
      (63,997 for the released model).
    num_bins: cells per side of the location grid.

  Raises:
    ValueError: when either is not positive.
  """

  num_pieces: int
  num_bins: int = 32

  def __post_init__(self):
    if self.num_pieces < 1 or self.num_bins < 1:
      raise ValueError(
        "Vocab needs at least one piece and one bin, got"
        f" num_pieces={self.num_pieces} and num_bins={self.num_bins}."
      )

  @property
  def bos_id(self) -> int:
    return 0

  @property
  def pad_id(self) -> int:
    return 1

  @property
  def eos_id(self) -> int:
    return 2

  @property
  def unk_id(self) -> int:
    return 3

  @property
  def first_piece_id(self) -> int:
    return len(DICTIONARY_SPECIALS)

  @functools.cached_property
  def mask_id(self) -> int:
    """`<mask>`, the first id after the text pieces."""
    return self.first_piece_id + self.num_pieces

  @property
  def doc_id(self) -> int:
    return self.mask_id + 1

  @property
  def image_id(self) -> int:
    """`<image>`: opens an image and fills the slots of its latents."""
    return self.mask_id + 2

  @property
  def image_end_id(self) -> int:
    return self.mask_id + 3

  @property
  def chunk_id(self) -> int:
    return self.mask_id + 4

  @property
  def line_id(self) -> int:
    return self.mask_id + 5

  @property
  def phrase_id(self) -> int:
    return self.mask_id + 6

  @property
  def phrase_end_id(self) -> int:
    return self.mask_id + 7

  @property
  def object_id(self) -> int:
    return self.mask_id + 8

  @property
  def object_end_id(self) -> int:
    return self.mask_id + 9

  @property
  def delimiter_id(self) -> int:
    """Stands between two boxes of one phrase."""
    return self.mask_id + 10

  @property
  def grounding_id(self) -> int:
    """Asks for, and announces, text with boxes."""
    return self.mask_id + 11

  @functools.cached_property
  def first_location_id(self) -> int:
    return self.mask_id + len(AFTER_PIECES)

  @functools.cached_property
  def num_locations(self) -> int:
    return self.num_bins**2

  @functools.cached_property
  def size(self) -> int:
    """Number of ids, before any padding of the embedding's rows."""
    return self.first_location_id + self.num_locations

  def location_id(self, location_bin: int) -> int:
    """Returns the id of a grid cell, counted row by row from the top left.

    Raises:
      ValueError: when the grid has no such cell.
    """
    if not 0 <= location_bin < self.num_locations:
      raise ValueError(
        f"Location bin {location_bin} is outside the grid of"
        f" {self.num_bins} x {self.num_bins} cells; expected 0 to"
        f" {self.num_locations - 1}."
      )
    return self.first_location_id + int(location_bin)

  def is_location(self, token_id: int) -> bool:
    """Tells whether an id is a location token."""
    return self.first_location_id <= token_id < self.size

  def bin_of(self, token_id: int) -> int:
    """Returns the grid cell of a location token; inverts `location_id`.

    Raises:
      ValueError: when the id is not a location token.
    """
    if not self.is_location(token_id):
      raise ValueError(
        f"Token id {token_id} is no location token; those are"
        f" {self.first_location_id} to {self.size - 1}."
      )
    return int(token_id) - self.first_location_id

  def is_special(self, token_id: int) -> bool:
    """Tells whether an id stands behind the text pieces (tags, locations)."""
    return self.mask_id <= token_id < self.size

  @functools.cached_property
  def special_tokens(self) -> dict[str, int]:
    """Text to id of every token that may be written in a prompt.

    `<s>`, `<pad>`, `</s>` and `<unk>` are not among them, as in the original:
    written in a text they are ordinary characters.
    """
    texts = list(AFTER_PIECES)
    texts += [location_text(k) for k in range(self.num_locations)]
    return {text: self.mask_id + i for i, text in enumerate(texts)}

  @functools.cached_property
  def special_texts(self) -> tuple[str, ...]:
    """Texts of the ids from `mask_id` on, in order."""
    return tuple(self.special_tokens)

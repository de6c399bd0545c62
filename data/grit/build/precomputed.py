"""Boxes that were found before, from a JSONL file.

`data.grit.build.box_lines` says what is in a line.
"""

import array
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from data.building import archive
from data.grit.build import box_lines
from data.grit.build.box_lines import BadLine, Phrase
from data.grit.build.grounding import Found, Request, ScoredBox

BATCH_SIZE = 256
MAX_LINE_BYTES = archive.MAX_BYTES["json"]


class PrecomputedGrounder:
  """Answers from a file, by the pair's id and the phrase.

  A phrase has the boxes of its span, if the words there are those that the
  file has for it. What has no span, or a span where this caption has other
  words (it was cleaned since), is found by its words, whatever their case. A
  pair or a phrase that the file does not have has no boxes.

  All of the file is read and checked when it is opened. What stays in memory
  is 16 bytes a line.

  Attributes:
    batch_size: how many requests it likes to be asked at once.
    identity: the kind, the file's name, how many lines it has and a digest of
      their bytes.
  """

  def __init__(self, path: str | os.PathLike, batch_size: int = BATCH_SIZE):
    """Reads the file.

    Raises:
      FileNotFoundError: there is none.
      ValueError: a line that is not as it should be (says which), or an id
        that is there twice.
    """
    self.batch_size = batch_size
    self._path = pathlib.Path(path)
    if not self._path.is_file():
      raise FileNotFoundError(
        f"expected a JSONL file of boxes at {str(path)!r}, found none; see"
        " data/grit/build/box_lines.py for its form"
      )
    hashes, offsets = array.array("Q"), array.array("Q")
    digest = hashlib.blake2b(digest_size=16)
    with open(self._path, "rb") as file:
      for offset, number, line in _lines(file, self._path):
        digest.update(line)
        if line.strip():
          pair_id, _ = self._parse(line, f":{number}")
          hashes.append(_hash(pair_id))
          offsets.append(offset)
      order = np.argsort(np.asarray(hashes), kind="stable")
      self._hashes = np.asarray(hashes, np.uint64)[order]
      self._offsets = np.asarray(offsets, np.uint64)[order]
      self._check_repeated(file)
    self.identity: dict[str, str | int | float | bool] = {
      "kind": "precomputed",
      "file": self._path.name,
      "records": len(self._hashes),
      "digest": digest.hexdigest(),
    }

  def ground(self, requests: Sequence[Request]) -> Found:
    """The boxes of all phrases, as they are in the file, not checked."""
    found: Found = []
    with open(self._path, "rb") as file:
      for request in requests:
        phrases = self._find(file, request.id)
        found.append(
          [_boxes(phrases, request.caption, span) for span in request.spans]
        )
    return found

  def _find(self, file: BinaryIO, pair_id: str) -> list[Phrase]:
    value = np.uint64(_hash(pair_id))
    at = int(np.searchsorted(self._hashes, value))
    while at < len(self._hashes) and self._hashes[at] == value:
      found_id, phrases = self._read(file, at)
      if found_id == pair_id:
        return phrases
      at += 1
    return []

  def _read(self, file: BinaryIO, at: int) -> tuple[str, list[Phrase]]:
    offset = int(self._offsets[at])
    file.seek(offset)
    return self._parse(file.readline(MAX_LINE_BYTES + 1), f", byte {offset}")

  def _parse(self, line: bytes, place: str) -> tuple[str, list[Phrase]]:
    try:
      return box_lines.parse(line)
    except BadLine as bad:
      raise ValueError(f"{self._path}{place}: {bad}") from None

  def _check_repeated(self, file: BinaryIO) -> None:
    """Raises ValueError: an id is there twice."""
    for at in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]):
      first, second = (self._read(file, int(at) + i)[0] for i in range(2))
      if first == second:
        lines = [self._line_number(file, int(at) + i) for i in range(2)]
        raise ValueError(
          f"{self._path}:{lines[1]}: expected one line for each pair, found"
          f" the id {first!r} of line {lines[0]} again; join the two"
        )

  def _line_number(self, file: BinaryIO, at: int) -> int:
    offset, number = int(self._offsets[at]), 1
    file.seek(0)
    while offset > 0 and (chunk := file.read(min(offset, 1 << 20))):
      number += chunk.count(b"\n")
      offset -= len(chunk)
    return number


def _lines(
  file: BinaryIO, path: pathlib.Path
) -> Iterator[tuple[int, int, bytes]]:
  """Offset, number from 1 and bytes of each line. Raises ValueError."""
  offset = number = 0
  while line := file.readline(MAX_LINE_BYTES + 1):
    number += 1
    if len(line) > MAX_LINE_BYTES:
      raise ValueError(
        f"{path}:{number}: expected a line of at most {MAX_LINE_BYTES >> 20}"
        " MiB, found a longer one; is it JSONL?"
      )
    yield offset, number, line
    offset += len(line)


def _boxes(
  phrases: Sequence[Phrase], caption: str, span: tuple[int, int]
) -> list[ScoredBox]:
  """The boxes of a phrase of the caption."""
  words = box_lines.words_of(caption[slice(*span)])
  there = [p for p in phrases if p.span == span and p.words in (None, words)]
  if not there:
    there = [p for p in phrases if p.words == words and not _fits(p, caption)]
  return [box for phrase in there for box in phrase.boxes]


def _fits(phrase: Phrase, caption: str) -> bool:
  """Whether the caption has the words where the file says."""
  if phrase.span is None:
    return False
  return box_lines.words_of(caption[slice(*phrase.span)]) == phrase.words


def _hash(pair_id: str) -> int:
  digest = hashlib.blake2b(pair_id.encode(), digest_size=8).digest()
  return int.from_bytes(digest, "little")

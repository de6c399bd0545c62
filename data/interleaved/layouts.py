r"""The two layouts of documents with pictures: MMC4's and OBELICS's.

MMC4: sentences, and for each picture the sentence it stands before.

  {"text_list": ["A dog.", "It runs."], "image_info": [
    {"image_name": "b9040a.jpg", "raw_url": "https://...",
     "matched_text_index": 1, "matched_sim": 0.31}], ...}

OBELICS: texts and pictures take turns, None where it is the other's.

  {"texts": [None, "A dog.\n\nIt runs."], "images": ["https://...", None],
   "metadata": "[...]", "general_metadata": "{...}"}
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from data.building import archive
from data.building.drops import Drop, Dropped, DropReport


class Wanted(NamedTuple):
  """A picture that a document asks for.

  Attributes:
    name: of its file; "" if the document does not tell.
    url: where it was; "" if the document does not tell.
  """

  name: str
  url: str


Parts = list[str | Wanted]


def parse_document(
  fields: Mapping[str, Any],
  report: DropReport,
  where: str,
  *,
  min_similarity: float = 0.0,
) -> Parts:
  """Texts and pictures in the order of the page.

  Args:
    fields: of one document, in either layout.
    report: is told of pictures that have to be left out; every picture counts
      as an item read.
    where: file and line, for the report.
    min_similarity: MMC4's pictures with a lower `matched_sim` are left out;
      0 keeps all.

  Raises Dropped: BAD_DOCUMENT, BAD_TEXT, EMPTY_TEXT.
  """
  if "text_list" in fields:
    parts = _parse_mmc4(fields, report, where, min_similarity)
  elif "texts" in fields:
    parts = _parse_obelics(fields, report, where)
  else:
    raise Dropped(Drop.BAD_DOCUMENT)
  return parts


def _parse_mmc4(
  fields: Mapping[str, Any],
  report: DropReport,
  where: str,
  min_similarity: float,
) -> Parts:
  sentences, infos = fields["text_list"], fields.get("image_info")
  if not isinstance(sentences, list) or not isinstance(infos, list):
    raise Dropped(Drop.BAD_DOCUMENT)
  _check_texts(sentences)
  before: dict[int, list[Wanted]] = {}
  for info in infos:
    report.items_read += 1
    try:
      at, wanted = _parse_info(info, len(sentences), min_similarity)
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    before.setdefault(at, []).append(wanted)
  parts: Parts = []
  for at, sentence in enumerate(sentences):
    parts += before.get(at, [])
    if sentence.strip():
      parts.append(sentence)
  return parts


def _parse_info(
  info: Any, num_sentences: int, min_similarity: float
) -> tuple[int, Wanted]:
  """The sentence a picture stands before, and the picture. Raises Dropped."""
  if not isinstance(info, dict):
    raise Dropped(Drop.BAD_PLACE)
  at = info.get("matched_text_index")
  name, url = info.get("image_name") or "", info.get("raw_url") or ""
  if isinstance(at, bool) or not isinstance(at, int):
    raise Dropped(Drop.BAD_PLACE)
  if not (isinstance(name, str) and isinstance(url, str) and (name or url)):
    raise Dropped(Drop.BAD_PLACE)
  if not 0 <= at < num_sentences:
    raise Dropped(Drop.BAD_PLACE)
  # Names are looked up in one folder or in the shards, where no name has one.
  if archive.is_unsafe(name) or "/" in name or "\0" in name:
    raise Dropped(Drop.UNSAFE_PICTURE)
  if not _encodes(name) or not _encodes(url):
    raise Dropped(Drop.BAD_PLACE)
  if min_similarity:
    similarity = info.get("matched_sim")
    if isinstance(similarity, bool) or not isinstance(similarity, int | float):
      raise Dropped(Drop.UNLIKE_PICTURE)
    if not math.isfinite(similarity) or similarity < min_similarity:
      raise Dropped(Drop.UNLIKE_PICTURE)
  return at, Wanted(name, url)


def _parse_obelics(
  fields: Mapping[str, Any], report: DropReport, where: str
) -> Parts:
  texts, images = fields["texts"], fields.get("images")
  if not isinstance(texts, list) or not isinstance(images, list):
    raise Dropped(Drop.BAD_DOCUMENT)
  if len(texts) != len(images):
    raise Dropped(Drop.BAD_DOCUMENT)
  _check_texts([text for text in texts if text is not None])
  parts: Parts = []
  for text, url in zip(texts, images, strict=True):
    if url is not None:
      report.items_read += 1
      if isinstance(url, str) and url and _encodes(url):
        parts.append(Wanted("", url))
      else:
        report.add(Drop.BAD_PLACE, where)
    if text is not None and text.strip():
      parts.append(text)
  return parts


def _check_texts(texts: list[Any]) -> None:
  """Raises Dropped: BAD_TEXT, EMPTY_TEXT."""
  if not all(isinstance(text, str) and _encodes(text) for text in texts):
    raise Dropped(Drop.BAD_TEXT)
  if not any(text.strip() for text in texts):
    raise Dropped(Drop.EMPTY_TEXT)


def _encodes(text: str) -> bool:
  """Whether UTF-8 holds it: half of a surrogate pair it does not."""
  try:
    text.encode()
  except UnicodeEncodeError:
    return False
  return True

"""What can be wrong with downloaded data, and the account of it.

Four levels are counted apart: files (a tar shard, an annotation file), members
of a tar file, records (what becomes one example) and items (a part of a
record: a box of a phrase, a picture of a document). Notes count what was
repaired or looks odd; the data they name was kept.
"""

import collections
import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any

LEVELS = ("file", "member", "record", "item", "note")
# Places named for each reason; enough to look at, few enough to read.
MAX_EXAMPLES = 3


class Drop(enum.Enum):
  """A reason: its level and what it means. The name, in lower case, is told."""

  UNREADABLE_FILE = "file", "cannot be opened, or is not what it should be"
  TRUNCATED_FILE = "file", "ends early or is damaged; the rest is lost"
  DATA_AFTER_END = "file", "has bytes after the end mark, which are not read"

  UNSAFE_MEMBER = "member", "absolute or .. path, link, device, sparse file"
  UNKNOWN_MEMBER = "member", "not a jpg, jpeg, png, webp, json or txt file"
  REPEATED_MEMBER = "member", "the sample has this kind of member already"
  MEMBER_TOO_LARGE = "member", "larger than any picture or text should be"

  NEVER_FETCHED = "record", "not in the shard, says img2dataset's _stats.json"
  UNREADABLE_SAMPLE = "record", "reading it from the disk failed"
  MISSING_JSON = "record", "the sample has no json"
  BAD_JSON = "record", "the json is not a JSON object in UTF-8"
  FAILED_DOWNLOAD = "record", "img2dataset's status is not success"
  MISSING_PICTURE = "record", "the sample has no jpg, jpeg, png or webp"
  PICTURE_NOT_FOUND = "record", "no picture of this name where they should be"
  UNSAFE_NAME = "record", "the picture's name leads out of its folder"
  UNKNOWN_FIELD = "record", "a field of a name that the format does not have"
  MISSING_FIELD = "record", "a field that the others need is not there"
  CONFLICTING_FIELDS = "record", "fields that do not go together"
  BAD_VALUE = "record", "a field's value is of the wrong type or form"
  MISPLACED_PHRASE = "record", "a phrase is not in its text, or not once"
  MISPLACED_BOX = "record", "a box is not four numbers in the picture"
  EMPTY_CAPTION = "record", "no caption in the json nor in the txt"
  BAD_CAPTION = "record", "the caption is no text that UTF-8 can hold"
  BAD_ID = "record", "the id is neither a number nor a text"
  DUPLICATE_ID = "record", "a record with this id was kept before"
  CORRUPT_PICTURE = "record", "the picture does not decode to its last row"
  PICTURE_TOO_SMALL = "record", "a side is shorter than min_side"
  PICTURE_TOO_LARGE = "record", "more pixels than is safe to decode"
  UNKNOWN_IMAGE = "record", "the annotations do not list its picture"
  MISSING_ANNOTATION = "record", "the annotations have no box for it"
  BAD_RECORD = "record", "a field is missing, or is not what it should be"
  BAD_MARKUP = "record", "the phrases of the sentence are not well marked"
  ASPECT_CHANGED = "record", "cropped, padded or squashed: boxes do not fit"
  MISSING_ITEMS = "record", "the json has neither noun_chunks nor ref_exps"
  NO_BOX_LEFT = "record", "none of its items is good"
  LOW_SIMILARITY = "record", "picture and words are less alike than asked for"
  NO_SIMILARITY = "record", "no word of how alike they are, which is asked for"
  MISSING_TEXT = "record", "has nothing under the name of the text's field"
  BAD_TEXT = "record", "the text is none that UTF-8 can hold"
  EMPTY_TEXT = "record", "there is no word in the text"
  TEXT_TOO_LARGE = "record", "larger than any document should be"
  BAD_DOCUMENT = "record", "fields are neither those of MMC4 nor of OBELICS"
  NO_PICTURE_LEFT = "record", "none of the document's pictures is good"
  BAD_ROLES = "record", "not user and assistant by turns, user first"
  IMAGE_COUNT = "record", "not one <image> in the questions for each picture"
  UNKNOWN_LAYOUT = "record", "its fields are those of no known layout"
  BAD_SPLIT = "record", "its split is none of train, restval, val and test"
  NO_CAPTION_LEFT = "record", "none of its captions is good"
  UNANSWERED = "record", "no annotation has its question_id"
  ANOTHER_PICTURE = "record", "its annotation has another image_id"
  NO_ANSWER_LEFT = "record", "none of its answers is good"
  NO_PICTURE = "record", "it asks about something else than one picture"

  CAPTION_TOO_SHORT = "record", "fewer words than min_words"
  CAPTION_TOO_LONG = "record", "more words or characters than are allowed"
  NOT_ENGLISH = "record", "the caption is in another language, or in none"
  MARKUP_CAPTION = "record", "the caption is mostly markup, a link or a name"
  UNSAFE_CAPTION = "record", "the caption has a word of the list of unsafe ones"
  NO_CHUNK_LEFT = "record", "the caption names nothing that could be seen"
  NO_BOX_FOUND = "record", "the grounder found none of its phrases"
  GROUNDER_FAILED = "record", "the grounder raised an error for it"

  BAD_ITEM = "item", "not seven numbers"
  NOT_FINITE = "item", "a number is NaN or infinite"
  SPAN_OUTSIDE = "item", "start, end is not a part of the caption with text"
  BAD_BOX = "item", "the box is not four numbers"
  EMPTY_PHRASE = "item", "the phrase or expression is no text, or empty"
  SECOND_BOX = "item", "the expression has a box already"
  STRAY_ANNOTATION = "item", "it belongs to no picture or phrase of the file"
  BOX_OUTSIDE = "item", "a corner lies outside the picture"
  BOX_EMPTY = "item", "x2 <= x1 or y2 <= y1"
  BAD_SCORE = "item", "the score is not within 0 and 1"
  BAD_PLACE = "item", "does not say which picture stands where"
  UNSAFE_PICTURE = "item", "the picture's name leads out of its folder"
  LOST_PICTURE = "item", "not among the pictures that were fetched"
  BROKEN_PICTURE = "item", "the document's picture does not decode"
  SMALL_PICTURE = "item", "the document's picture is smaller than min_side"
  HUGE_PICTURE = "item", "the document's picture is larger than is safe"
  UNLIKE_PICTURE = "item", "less like its sentence than min_similarity"
  SPARE_PICTURE = "item", "beyond the max_images of a document"
  BAD_SENTENCE = "item", "a caption or an answer without words, or no text"

  ABSTRACT_CHUNK = "item", "the chunk names nothing that could be seen"
  PRONOUN_CHUNK = "item", "the chunk is a pronoun"
  FRAME_CHUNK = "item", "the chunk names the picture: a photo of"
  ODD_CHUNK = "item", "the chunk is a tag, an address, quoted or no word"
  LOW_SCORE = "item", "a box with a score below the threshold"
  SMALL_BOX = "item", "a box smaller than asked for"
  LARGE_BOX = "item", "a box larger than asked for"
  SUPPRESSED_BOX = "item", "overlaps a box with a higher score"
  REPEATED_BOX = "item", "the same box of the same phrase again"
  CONTAINED_EXPRESSION = "item", "its words are a part of another expression"

  CAPTION_CLEANED = "note", "blanks, line ends or control characters changed"
  CAPTION_FROM_TXT = "note", "the json has no caption, the txt's is taken"
  TXT_DIFFERS = "note", "the txt is not the json's caption, which is taken"
  BOX_CLIPPED = "note", "a corner was moved onto the picture's border"
  PICTURE_REENCODED = "note", "not 8-bit RGB in a JPEG or PNG; made so"
  TEXT_SPLIT = "note", "another part of a document of over max_chars"
  TEXT_ALONE = "note", "a document that lost its pictures, kept as text"
  PICTURE_RESIZED = "note", "shorter side above shorter_side; resized to it"
  BAD_STATS = "note", "img2dataset's _stats.json cannot be read"
  BAD_ANNOTATION = "note", "an annotation without question_id or image_id"
  SECOND_ANNOTATION = "note", "a question's second annotation, not read"
  LONE_ANNOTATION = "note", "an annotation of no good question"
  ANSWER_COUNT = "note", "not ten good answers"
  UNNATURAL_PAIR = "note", "read: an instance of Unnatural Instructions"
  REFORMULATED_PAIR = "note", "read: a reformulation of such an instance"
  FLAN_PAIR = "note", "read: inputs and targets, as in FLAN"
  ALPACA_PAIR = "note", "read: instruction and output, as in Alpaca"

  @property
  def level(self) -> str:
    """One of LEVELS."""
    return self.value[0]

  @property
  def meaning(self) -> str:
    """The reason in words."""
    return self.value[1]


class Dropped(Exception):
  """Raised where a record or an item turns out to be unusable."""

  def __init__(self, reason: Drop):
    """Takes the reason."""
    super().__init__(reason.name)
    self.reason = reason


@dataclasses.dataclass
class DropReport:
  """Everything that was read, kept and dropped. Counts only, no data.

  Every record read is kept or dropped for one reason, and so is every item
  of the records that came as far as having their items read.

  Attributes:
    title: what `table` calls the data.
  """

  title: str = "data"
  files_read: int = 0
  records_read: int = 0
  records_kept: int = 0
  items_read: int = 0
  items_kept: int = 0
  counts: collections.Counter[Drop] = dataclasses.field(
    default_factory=collections.Counter
  )
  examples: dict[Drop, list[str]] = dataclasses.field(default_factory=dict)

  def add(self, reason: Drop, where: str, count: int = 1) -> None:
    """Counts a drop (or a note); `where` names the file and the place."""
    self.counts[reason] += count
    places = self.examples.setdefault(reason, [])
    if len(places) < MAX_EXAMPLES and where not in places:
      places.append(where)

  def read_item(
    self, read: Callable[[], tuple[Any, bool]], where: str
  ) -> Any | None:
    """What `read` returns with whether a box was clipped, or None.

    Counts the item as read, and as kept or, if `read` raises `Dropped`, as
    dropped.
    """
    self.items_read += 1
    try:
      item, clipped = read()
    except Dropped as dropped:
      self.add(dropped.reason, where)
      return None
    if clipped:
      self.add(Drop.BOX_CLIPPED, where)
    self.items_kept += 1
    return item

  def merge(self, other: "DropReport") -> None:
    """Adds the counts of another part of the same data, read after this."""
    self.files_read += other.files_read
    self.records_read += other.records_read
    self.records_kept += other.records_kept
    self.items_read += other.items_read
    self.items_kept += other.items_kept
    self.counts.update(other.counts)
    for reason, places in other.examples.items():
      known = self.examples.setdefault(reason, [])
      new = [place for place in places if place not in known]
      known += new[: MAX_EXAMPLES - len(known)]

  def total(self, level: str) -> int:
    """Drops (or notes) of one level."""
    return sum(n for reason, n in self.counts.items() if reason.level == level)

  def as_dict(self) -> dict[str, Any]:
    """The report as JSON can hold it; the same for the same files."""
    result: dict[str, Any] = {
      "files_read": self.files_read,
      "records": {"read": self.records_read, "kept": self.records_kept},
      "items": {"read": self.items_read, "kept": self.items_kept},
      "dropped": {level: {} for level in LEVELS[:-1]},
      "notes": {},
    }
    for reason in Drop:
      if not self.counts[reason]:
        continue
      entry = {
        "count": self.counts[reason],
        "meaning": reason.meaning,
        "examples": self.examples[reason],
      }
      kind = "notes" if reason.level == "note" else "dropped"
      table = result[kind] if kind == "notes" else result[kind][reason.level]
      table[reason.name.lower()] = entry
    return result

  @classmethod
  def from_dict(cls, told: Mapping[str, Any], title: str) -> "DropReport":
    """The report that `as_dict` told."""
    report = cls(
      title=title,
      files_read=told["files_read"],
      records_read=told["records"]["read"],
      records_kept=told["records"]["kept"],
      items_read=told["items"]["read"],
      items_kept=told["items"]["kept"],
    )
    for entries in (*told["dropped"].values(), told["notes"]):
      for name, entry in entries.items():
        reason = Drop[name.upper()]
        report.counts[reason] = entry["count"]
        report.examples[reason] = list(entry["examples"])
    return report

  def table(self) -> str:
    """The report for the console, a row for each reason that occurred."""
    lines = [
      f"{self.title}: {self.files_read} file(s),"
      f" {self.records_kept} of {self.records_read} records and"
      f" {self.items_kept} of {self.items_read} items kept"
    ]
    rows = [
      (
        reason.level,
        reason.name.lower(),
        str(self.counts[reason]),
        reason.meaning,
        ", ".join(self.examples[reason]),
      )
      for reason in Drop
      if self.counts[reason]
    ]
    if not rows:
      return lines[0] + "; nothing dropped"
    rows.insert(0, ("level", "reason", "count", "meaning", "for example"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
      cells = [
        cell.ljust(width) for cell, width in zip(row, widths, strict=True)
      ]
      cells[2] = row[2].rjust(widths[2])
      lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)

"""English about a picture, rewritten for the picture's mirror image.

"Left" and "right" change places, or nothing is changed at all: where one of
them may mean something else ("right behind", "has left", "all right"), where
the words name something that looks different in a mirror (writing, clocks,
screws), and where the text is not in the Latin script, `mirror` refuses.

What it cannot know: whether the picture shows writing that the words do not
mention, whether "the right shoe" is the one of a pair or the correct one, and
whether Latin letters spell English.

The rules do not tell "left" from "right", and none refuses what `mirror`
wrote: twice mirrored is the text itself.
"""

import re
import unicodedata
from collections.abc import Sequence

Span = tuple[int, int]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")

_PAIRS = {
  f"left{ending}": f"right{ending}"
  for ending in ("", "most", "hand", "handed", "side", "ward", "wards")
}
_OTHER = _PAIRS | {right: left for left, right in _PAIRS.items()}


def _words(text: str) -> frozenset[str]:
  return frozenset(text.split())


# Further parts of a word with hyphens, such as "right-hand" or "top-left".
_COMPOUND = _words("""
  back bottom center centre facing far footed front hand handed hander left
  lower mid middle most near rear right sided side to top upper ward
""")

# Before "left" or "right": these make a direction of whatever follows.
_DIRECTION = _words("""
  at back bottom center centre corner extreme face facing faces far front
  furthest her his immediate its lower middle mid my near of on our rear side
  slightly the their to top toward towards upper your
""")

# Right before "left" or "right": a verb ("has left"), a remainder ("one left"),
# or agreement ("all right", "is right").
_NOT_AFTER = _words("""
  all already am any anything are be been being both do does doesn't doing
  don't exactly few get gets getting go goes going got gotten had has hasn't
  have haven't having he he's he'd he'll hence how i i've i'm is isn't it it's
  just little lot lots many more much never no not nothing one only or out
  quite recently remaining she she's she'd some something space that that's
  there these they they're they've this those time was we we've were what when
  which who who's yes yet you you're you've
""")

# Right after: adverbs ("right behind", "right now"), verbs ("left the room")
# and what is left over ("left open").
_NOT_BEFORE = _words("""
  a about above across after again against ago alive alone along already an
  and as at away back before behind below beneath beside between beyond but by
  down due earlier empty for from her here him his home if immediately in
  inside into it its later me my near next now off on open opposite our out
  outside over past since so standing than that the their them then there
  these this those through throughout to today together toward towards
  unattended under underneath undone unfinished until untouched up us what
  when where which while who with within without you your
""")

# Right after, whatever comes before: correct or political, not on that side.
_NEVER_BEFORE = _words("""
  amount angle angled angles answer answers attitude brain choice choices
  click decision decisions direction directions equipment information kind
  moment order people person place places reason size sort spot thing things
  time times tool tools track triangle triangles way ways wing winger word
  words wrong
""")

# Two words before a last "left": "one slice left".
_COUNTS = _words("""
  any few five four last more no one only six some single three two
""")

# Between the two: both are sides.
_BETWEEN = frozenset(("and", "or", "to"))

# These refuse wherever they stand: other ways to say a side, what turns, and
# signs that the picture shows something written.
_NEVER = _words("""
  anticlockwise anti-clockwise alphabet clock clocks clockwise
  counterclockwise digit digits inscribed inscription kanji l label labeled
  labelled lefts letter lettering letters lft lh lhs license logo lt map maps
  mirrored monogram number numbered numbers oclock o'clock r reads rh rhs
  righted righthander rightly rights rt say saying says screw sign signage
  signs spell spelled spelling spells starboard text texts titled words
  writing written wrote
""")


def mirror(
  text: str, spans: Sequence[Span] = ()
) -> tuple[str, list[Span]] | None:
  """Writes a text anew for the mirror image of the picture it is about.

  Args:
    text: a caption, an expression, a question or an answer, in English.
    spans: half-open ranges of its characters, such as phrases.

  Returns:
    The text with "left" and "right" in each other's place, capitals kept, and
    where the same words stand in it; None where that is not safe, or where a
    span begins or ends inside of such a word.
  """
  if not _is_latin(text) or '"' in text or "\u201c" in text:
    return None
  words = list(_WORD.finditer(text))
  plain = [word.group().lower().replace("\u2019", "'") for word in words]
  changes = []
  for i, (word, name) in enumerate(zip(words, plain, strict=True)):
    if name in _NEVER:
      return None
    if name in _OTHER:
      other = _like(_OTHER[name], word.group())
      if other is None or not _is_direction(text, words, plain, i):
        return None
      changes.append((word.start(), word.end(), other))
    elif name.startswith(("left", "right")):
      return None
  moved = [_move(span, changes) for span in spans]
  if None in moved:
    return None
  parts, done = [], 0
  for start, end, other in changes:
    parts += [text[done:start], other]
    done = end
  return "".join([*parts, text[done:]]), moved


def _is_latin(text: str) -> bool:
  return text.isascii() or all(
    unicodedata.name(letter, "").startswith(("LATIN", "COMBINING"))
    for letter in text
    if unicodedata.category(letter)[0] in "LM"
  )


def _like(word: str, model: str) -> str | None:
  """The word with the capitals of the model; None for capitals inside."""
  for style in (str.lower, str.capitalize, str.upper):
    if style(model) == model:
      return style(word)
  return None


def _is_direction(
  text: str, words: Sequence[re.Match], plain: Sequence[str], i: int
) -> bool:
  """Whether "left" or "right" can only be a side here."""
  before, joint_before = _neighbour(text, words, plain, i, -1)
  after, joint_after = _neighbour(text, words, plain, i, 1)
  if joint_before == "-" and before not in _COMPOUND:
    return False
  if joint_after == "-" and after not in _COMPOUND:
    return False
  if after in ("hand", "handed") and _neighbour(text, words, plain, i + 1, 1)[
    0
  ] in ("man", "woman"):
    return False
  if after in _NEVER_BEFORE:
    return False
  if after == "of":
    return _neighbour(text, words, plain, i + 1, 1)[0] != "way"
  for near, k, step in ((after, i + 1, 1), (before, i - 1, -1)):
    # "Left to right", "left or right".
    if (
      near in _BETWEEN and _neighbour(text, words, plain, k, step)[0] in _OTHER
    ):
      return True
  if before in _DIRECTION:
    # "On the right in a hat", but not "the right to" or "to right the boat".
    return after not in ("to", "a", "an") and not (
      before == "to" and after in ("the", "it", "them", "his", "her", "its")
    )
  if before in _NOT_AFTER or after in _NOT_BEFORE:
    return False
  if after is None and i > 1 and plain[i - 2] in _COUNTS:
    return False
  # ", right?" and "Right, ..." ask and agree.
  behind = text[words[i].end() :].lstrip()[:1]
  alone = joint_before in (",", ";", ":") or before is None
  return not (alone and len(words) > 1 and behind and behind in ",?!")


def _neighbour(
  text: str,
  words: Sequence[re.Match],
  plain: Sequence[str],
  i: int,
  step: int,
) -> tuple[str | None, str]:
  """The word beside word i, and what joins them.

  The word is None where the text ends or a punctuation mark stands between;
  the joint is "-", " " or the mark.
  """
  k = i + step
  if not 0 <= k < len(words):
    return None, ""
  first, second = sorted((i, k))
  between = text[words[first].end() : words[second].start()]
  if between == "-":
    return plain[k], "-"
  if not between.strip():
    return plain[k], " "
  return None, between.strip()


def _move(span: Span, changes: Sequence[tuple[int, int, str]]) -> Span | None:
  """The span in the new text; None if it cuts a word that changes."""
  moved = []
  for place in span:
    shift = 0
    for start, end, other in changes:
      if start < place < end:
        return None
      if place >= end:
        shift += len(other) - (end - start)
    moved.append(place + shift)
  return moved[0], moved[1]

"""What scenes are made of: words, objects, and when a word is true of them.

Lengths are in units of 1/64 of the picture's side, so a scene means the same
at every resolution.

Truth has three values. `True` and `False` are for what a person would say
without hesitation; `None` means "unclear". Captions only say what is `True`,
and an expression only counts as unique when every other object is clearly not
meant.
"""

from typing import NamedTuple

CANVAS = 64.0

# RGB in 0..255. Far from each other and, by saturation or brightness, from
# every background of `drawing`.
COLORS = {
  "red": (219, 30, 32),
  "green": (34, 160, 48),
  "blue": (38, 66, 226),
  "yellow": (246, 226, 32),
  "purple": (142, 42, 184),
  "orange": (248, 132, 18),
  "cyan": (28, 216, 228),
  "white": (247, 247, 247),
}

# Width and height of each kind's bounding box, as parts of its size.
KINDS = {
  "circle": (1.0, 1.0),
  "square": (1.0, 1.0),
  "triangle": (1.0, 0.9),
  "star": (1.0, 0.9510565162951535),  # (1 + cos 36) / (2 cos 18)
  "cross": (1.0, 1.0),
  "diamond": (0.78, 1.0),
}

MIN_SIZE, MAX_SIZE = 14.0, 30.0
SMALL_AT_MOST, NOT_SMALL_FROM = 17.0, 22.0
BIG_FROM, NOT_BIG_AT_MOST = 24.0, 19.0
SIZES = ("small", "big")

# One pair for every kind, no colour twice: each colour and each kind is still
# seen in training, these combinations never are.
HELD_OUT_PAIRS = frozenset(
  {
    ("red", "star"),
    ("green", "diamond"),
    ("blue", "triangle"),
    ("yellow", "cross"),
    ("purple", "circle"),
    ("orange", "square"),
  }
)

# Relation -> direction (x, y) from the second object to the first one.
RELATIONS = {
  "left of": (-1, 0),
  "right of": (1, 0),
  "above": (0, -1),
  "below": (0, 1),
}
CLEARLY_APART, NOT_APART = 9.0, 2.0


class SceneObject(NamedTuple):
  """One shape: its words, and its bounding box in units of 1/64."""

  kind: str
  color: str
  size: float
  x: float
  y: float

  @property
  def pair(self) -> tuple[str, str]:
    return self.color, self.kind

  @property
  def center(self) -> tuple[float, float]:
    width, height = KINDS[self.kind]
    return (
      self.x + 0.5 * width * self.size,
      self.y + 0.5 * height * self.size,
    )

  @property
  def corners(self) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 in units of 1/64 of the picture's side."""
    width, height = KINDS[self.kind]
    return (
      self.x,
      self.y,
      self.x + width * self.size,
      self.y + height * self.size,
    )

  @property
  def box_xyxy(self) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2, normalised."""
    x1, y1, x2, y2 = self.corners
    return x1 / CANVAS, y1 / CANVAS, x2 / CANVAS, y2 / CANVAS


def size_word(item: SceneObject) -> str | None:
  """The size word that is clearly true of the object, if there is one."""
  if item.size <= SMALL_AT_MOST:
    return "small"
  return "big" if item.size >= BIG_FROM else None


def size_truth(word: str, item: SceneObject) -> bool | None:
  """Whether "small" or "big" is true of the object; None where unclear."""
  if word == "small":
    if item.size <= SMALL_AT_MOST:
      return True
    return False if item.size >= NOT_SMALL_FROM else None
  if item.size >= BIG_FROM:
    return True
  return False if item.size <= NOT_BIG_AT_MOST else None


def relation_truth(
  relation: str, first: SceneObject, second: SceneObject
) -> bool | None:
  """Whether `first` is e.g. "left of" `second`; None where unclear.

  True needs the centres clearly apart, and further in this direction than
  across it; False needs that there is no step in this direction at all.
  """
  right, down = RELATIONS[relation]
  x1, y1 = first.center
  x2, y2 = second.center
  along = (x1 - x2) * right + (y1 - y2) * down
  across = abs((x1 - x2) * down) + abs((y1 - y2) * right)
  if along <= NOT_APART:
    return False
  return True if along >= CLEARLY_APART and along >= across else None

"""What decides which pairs, phrases and boxes are kept."""

import dataclasses
from typing import Any

from data.grit import shards
from data.grit.build.captions import CaptionOptions
from data.grit.build.selection import SelectionOptions

NESTED = ("drop", "keep")


@dataclasses.dataclass(frozen=True)
class BuildOptions:
  """What decides, beside pairs, parser and grounder, what is built.

  captions      which captions are good
  selection     which boxes are good
  nested        expressions inside others: "drop" as the paper says, "keep" as
                the released files have them; their boxes stay in noun_chunks
  min_side      shorter side in pixels below which a picture is dropped
  shorter_side  to which larger pictures are resized; 0: none are
  upright       whether pictures are turned as their EXIF says
  """

  captions: CaptionOptions = dataclasses.field(default_factory=CaptionOptions)
  selection: SelectionOptions = dataclasses.field(
    default_factory=SelectionOptions
  )
  nested: str = "drop"
  min_side: int = shards.MIN_SIDE
  shorter_side: int = 0
  upright: bool = True

  def __post_init__(self) -> None:
    """Checks what the parts do not check themselves."""
    if self.nested not in NESTED:
      raise ValueError(
        f"expected one of {', '.join(NESTED)} for nested, found {self.nested!r}"
      )
    if self.min_side < 1:
      raise ValueError(f"expected min_side of at least 1, not {self.min_side}")
    if self.shorter_side and self.shorter_side < self.min_side:
      raise ValueError(
        f"expected shorter_side of at least min_side ({self.min_side}) or 0,"
        f" found {self.shorter_side}; every resized picture would be dropped"
      )

  def as_dict(self) -> dict[str, Any]:
    """The options as JSON has them."""
    return dataclasses.asdict(self)

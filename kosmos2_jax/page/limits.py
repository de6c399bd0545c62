"""What the page takes: pictures, texts, numbers; all else is refused."""

import base64
import dataclasses
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from kosmos2_jax.generation import pictures

# Longest side of what is shown; the model sees a smaller square.
_SHOWN_SIDE = 1024
_JPEG_QUALITY = 88


@dataclasses.dataclass(frozen=True)
class Limits:
  """How much one visitor may ask for.

  Attributes:
    picture_bytes: of an uploaded file.
    picture_pixels: of the picture in it.
    text_chars: of a question or an expression.
    new_tokens: of an answer.
    messages: of a conversation.
    seconds: until an answer is cut off.
    at_once: answers that are computed at the same time.
    waiting: visitors that may wait for their turn.
  """

  picture_bytes: int = 20_000_000
  picture_pixels: int = pictures.MAX_FILE_PIXELS
  text_chars: int = 2_000
  new_tokens: int = 256
  messages: int = 40
  seconds: float = 120.0
  at_once: int = 1
  waiting: int = 16


class Picture(NamedTuple):
  """A picture that was opened.

  Attributes:
    name: of its file.
    width: in pixels, upright.
    height: in pixels, upright.
    seen: the square that the model sees.
    url: a JPEG of it, as a data URL, for the page.
  """

  name: str
  width: int
  height: int
  seen: Image.Image
  url: str


def open_picture(path: str, size: int, limits: Limits) -> Picture:
  """Opens an uploaded file.

  Args:
    path: of the file.
    size: side of the square that the model sees.
    limits: how large it may be.

  Raises:
    ValueError: a sentence that names the file without its folder.
  """
  name = Path(path).name
  size_bytes = os.path.getsize(path)
  if size_bytes > limits.picture_bytes:
    raise ValueError(
      f"The file {name!r} has {size_bytes:,} bytes and the limit is"
      f" {limits.picture_bytes:,}: make the picture smaller."
    )
  _check_pixels(path, name, limits)
  try:
    picture = pictures.read_image(path)
  except (ValueError, OSError) as error:
    raise ValueError(
      f"The file {name!r} is not a readable picture; give a JPEG, a PNG or"
      " another picture that Pillow opens."
    ) from error
  width, height = picture.size
  # The very resampling of `prompting.prepare_image`, which leaves it alone.
  seen = picture
  if picture.size != (size, size):
    seen = picture.resize((size, size), Image.Resampling.BICUBIC)
  picture.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
  file = io.BytesIO()
  picture.save(file, "JPEG", quality=_JPEG_QUALITY)
  data = base64.b64encode(file.getvalue()).decode()
  url = f"data:image/jpeg;base64,{data}"
  return Picture(name, width, height, seen, url)


def _check_pixels(path: str, name: str, limits: Limits) -> None:
  """Reads the head of the file alone: how large it says it is."""
  try:
    with Image.open(path) as opened:
      width, height = opened.size
  except Image.DecompressionBombError:
    raise ValueError(
      f"The picture {name!r} is far too large: the limit is"
      f" {limits.picture_pixels:,} pixels. Make it smaller."
    ) from None
  except (OSError, SyntaxError, ValueError):
    return  # No picture; the reader says so.
  if width * height > limits.picture_pixels:
    raise ValueError(
      f"The picture {name!r} has {width:,} x {height:,} ="
      f" {width * height:,} pixels and the limit is"
      f" {limits.picture_pixels:,}: make it smaller."
    )


def words(text: Any, what: str, limits: Limits) -> str:
  """A text that was typed in.

  Args:
    text: what came.
    what: it is, for the error.
    limits: how long it may be.

  Raises:
    ValueError: it is empty or too long.
  """
  text = text.strip() if isinstance(text, str) else ""
  if not text:
    raise ValueError(f"Type {what} first.")
  if len(text) > limits.text_chars:
    raise ValueError(
      f"The text has {len(text):,} characters and the limit is"
      f" {limits.text_chars:,}: shorten it."
    )
  return text


def box(text: Any) -> tuple[float, float, float, float]:
  """A box as "x1, y1, x2, y2", normalised to 0..1.

  Raises:
    ValueError: it is none.
  """
  try:
    values = tuple(float(part) for part in str(text or "").split(","))
  except ValueError:
    values = ()
  inside = all(0 <= value <= 1 for value in values)
  if len(values) != 4 or not inside:
    raise ValueError(
      "Draw a box on the picture, or type its corners x1, y1, x2, y2 as"
      " numbers from 0 to 1, such as 0.1, 0.2, 0.5, 0.9."
    )
  if not (values[0] < values[2] and values[1] < values[3]):
    raise ValueError(
      f"The box {', '.join(map(str, values))} has no area: x1 must be less"
      " than x2, and y1 less than y2."
    )
  return values


def sampling(
  temperature: Any,
  top_p: Any,
  top_k: Any,
  seed: Any,
  new_tokens: Any,
  limits: Limits,
) -> dict[str, Any]:
  """Options of `Predictor.stream` from what the controls say.

  Raises:
    ValueError: a number is missing or out of range.
  """
  asked = {
    "temperature": float(_number(temperature, "temperature", 0, 2)),
    "top_p": float(_number(top_p, "top-p", 0.01, 1)),
    "top_k": int(_number(top_k, "top-k", 0, 1_000)),
    "seed": int(_number(seed, "seed", 0, 2**31 - 1)),
    "max_new_tokens": int(
      _number(new_tokens, "new tokens", 1, limits.new_tokens)
    ),
  }
  if not asked["temperature"]:
    # Without drawing there is nothing to draw from.
    asked |= {"top_p": 1.0, "top_k": 0}
  return asked


def _number(
  value: Any, what: str, least: float | int, most: float | int
) -> float | int:
  number = value if isinstance(value, int | float) else float("nan")
  if not least <= number <= most:
    raise ValueError(
      f"The {what} must be a number from {least:g} to {most:g}; got {value}."
    )
  return number

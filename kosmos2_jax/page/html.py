"""What the page shows of an answer, as HTML; all words are escaped.

A phrase, its boxes and its line in the list have the same `data-p`: the page's
script lights them up together.
"""

import base64
import html
import json
from collections.abc import Sequence
from typing import Any

from kosmos2_jax import visualize
from kosmos2_jax.text.grounded import Box, GroundedText, Phrase

# Side of the drawing that lies over a picture, and a box's smallest side.
_CANVAS = 1000
_MIN_SIDE = 4


def picture(url: str, name: str, width: int, height: int) -> str:
  """The picture, on which boxes are drawn and by hand, too."""
  alt = html.escape(f"{name}, {width} by {height} pixels", quote=True)
  return (
    f'<img class="k2-picture" src="{html.escape(url, quote=True)}"'
    f' alt="{alt}" draggable="false">'
  )


def overlay(phrases: Sequence[Phrase]) -> str:
  """The boxes of phrases, to be laid over the picture."""
  shapes = []
  # Large ones first, so that the small ones in them can be pointed at.
  drawn = [
    (number, phrase, box)
    for number, phrase in enumerate(phrases)
    for box in phrase.boxes
  ]
  for number, phrase, box in sorted(drawn, key=lambda one: -_area(one[2])):
    x1, y1, x2, y2 = (value * _CANVAS for value in box.xyxy)
    size = f'width="{_side(x2 - x1)}" height="{_side(y2 - y1)}"'
    place = f'x="{x1:g}" y="{y1:g}" {size} vector-effect="non-scaling-stroke"'
    title = html.escape(_named(phrase, box))
    shapes.append(
      f'<g class="k2-box" data-p="{number}" style="--c:{_color(number)}">'
      f"<title>{title}</title>"
      f'<rect class="k2-halo" {place}/><rect class="k2-line" {place}/></g>'
    )
  return (
    f'<svg class="k2-boxes" viewBox="0 0 {_CANVAS} {_CANVAS}"'
    f' preserveAspectRatio="none" aria-hidden="true">{"".join(shapes)}</svg>'
  )


def words(text: GroundedText) -> str:
  """The text with its phrases marked; the innermost one where they nest."""
  inner: list[int | None] = [None] * len(text.text)
  by_size = sorted(
    enumerate(text.phrases), key=lambda item: item[1].span[0] - item[1].span[1]
  )
  for number, phrase in by_size:
    start, end = phrase.span
    inner[start:end] = [number] * (end - start)
  result, start = "", 0
  for end in range(1, len(inner) + 1):
    if end < len(inner) and inner[end] == inner[start]:
      continue
    piece, number = html.escape(text.text[start:end]), inner[start]
    if number is not None:
      piece = (
        f'<mark data-p="{number}" style="--c:{_color(number)}">{piece}</mark>'
      )
    result, start = result + piece, end
  return result


def answer(
  text: GroundedText,
  entry: dict[str, Any] | None = None,
  note: str = "",
  done: bool = True,
) -> str:
  """Text, list of phrases with places and scores, and the JSON to take away.

  Args:
    text: to be shown.
    entry: what the link saves; None: no link.
    note: a sentence about the answer.
    done: no more comes; else a cursor stands behind the text.
  """
  cursor = "" if done else '<span class="k2-cursor" aria-hidden="true"></span>'
  parts = [f'<p class="k2-text">{words(text)}{cursor}</p>']
  lines = [
    f'<li tabindex="0" data-p="{number}" style="--c:{_color(number)}">'
    f"<b>{html.escape(phrase.text or '(no words)')}</b>"
    f" <span>{_places(phrase)}</span></li>"
    for number, phrase in enumerate(text.phrases)
  ]
  if lines:
    items = "".join(lines)
    parts.append(
      f'<ul class="k2-list" aria-label="Phrases and their boxes">{items}</ul>'
    )
  if note:
    parts.append(f'<p class="k2-note">{html.escape(note)}</p>')
  if done and entry is not None:
    data = json.dumps(entry, indent=2, allow_nan=False).encode()
    url = f"data:application/json;base64,{base64.b64encode(data).decode()}"
    parts.append(
      f'<a class="k2-save" download="kosmos2.json" href="{url}">Export JSON</a>'
    )
  busy = "false" if done else "true"
  return f'<div class="k2-answer" aria-busy="{busy}">{"".join(parts)}</div>'


def talk(
  turns: Sequence[tuple[str, GroundedText]], done: bool = True, note: str = ""
) -> str:
  """A conversation; only the last answer's phrases are lit on the picture.

  Args:
    turns: role and text of each message.
    done: the last message is complete.
    note: a sentence about the last answer.
  """
  items = []
  for number, (role, text) in enumerate(turns):
    last = number == len(turns) - 1
    shown = words(text) if last else html.escape(text.text)
    if last and not done:
      shown += '<span class="k2-cursor" aria-hidden="true"></span>'
    who = "You" if role == "user" else "Model"
    items.append(
      f'<li class="k2-{role}"><span class="k2-who">{who}:</span> {shown}</li>'
    )
  below = f'<p class="k2-note">{html.escape(note)}</p>' if note else ""
  return (
    '<ol class="k2-talk" role="log" aria-label="Conversation">'
    f"{''.join(items)}</ol>{below}"
  )


def error(sentence: str) -> str:
  """What went wrong, read aloud at once; "" takes it away."""
  if not sentence:
    return '<div role="alert"></div>'
  return f'<div role="alert" class="k2-error">{html.escape(sentence)}</div>'


def _color(number: int) -> str:
  return "rgb({} {} {})".format(
    *visualize.COLORS[number % len(visualize.COLORS)]
  )


def _area(box: Box) -> float:
  x1, y1, x2, y2 = box.xyxy
  return (x2 - x1) * (y2 - y1)


def _side(value: float) -> str:
  return f"{max(value, _MIN_SIDE):g}"


def _named(phrase: Phrase, box: Box) -> str:
  score = "" if box.score is None else f" {box.score:.2f}"
  return f"{phrase.text}{score}"


def _places(phrase: Phrase) -> str:
  places = []
  for box in phrase.boxes:
    corners = ", ".join(f"{value:.2f}" for value in box.xyxy)
    score = "" if box.score is None else f" score {box.score:.2f}"
    places.append(f"[{corners}]{score}")
  return "; ".join(places)

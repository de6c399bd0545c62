"""What a line says: one of four forms, checked field by field."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from data.building.drops import Drop
from data.jsonl import dialogue, grounding, values
from data.jsonl.dialogue import Message
from data.jsonl.grounding import Boxes, BoxStyle, Phrase, Size
from data.jsonl.values import Fault

# The fields of each form; every line has the fields of exactly one.
FORMS = {
  "caption": ("caption", "phrases"),
  "question": ("question", "answer", "answers"),
  "expression": ("expression", "box", "boxes", "expressions"),
  "messages": ("messages",),
}
# Which of its fields say that a line is of a form.
_SIGNS = {
  "caption": "caption",
  "question": "question",
  "expression": "expression",
  "expressions": "expression",
  "messages": "messages",
}
COMMON = ("id", "split", "image", "images", "box_format", "box_order")
FIELDS = (*COMMON, *(name for names in FORMS.values() for name in names))
DEFAULT_SPLIT = "train"


class Expression(NamedTuple):
  """Words for what is in the boxes."""

  text: str
  boxes: Boxes


@dataclasses.dataclass(frozen=True)
class Line:
  """A good line.

  Attributes:
    id: as given, or file and line.
    split: see `split_of`.
    form: one of `FORMS`.
    images: names of the pictures, as given.
    caption, phrases: of the form "caption"; phrases may be missing.
    question, answers: of the form "question".
    expressions: of the form "expression".
    messages: of the form "messages".
  """

  id: str
  split: str
  form: str
  images: tuple[str, ...]
  caption: str = ""
  phrases: tuple[Phrase, ...] = ()
  question: str = ""
  answers: tuple[str, ...] = ()
  expressions: tuple[Expression, ...] = ()
  messages: tuple[Message, ...] = ()

  def boxes(self) -> list[Boxes]:
    """Those of all its parts."""
    turns = [phrase for turn in self.messages for phrase in turn.phrases]
    return [part.boxes for part in (*self.phrases, *self.expressions, *turns)]


class Faulty(Exception):
  """A line that cannot be used.

  Attributes:
    faults: what is wrong with it, at least one.
  """

  def __init__(self, faults: Sequence[Fault]):
    """Takes the attribute."""
    super().__init__("; ".join(map(str, faults)))
    self.faults = tuple(faults)


def split_of(fields: dict[str, Any]) -> str:
  """The split that a line is for. Raises Fault: BAD_VALUE."""
  split = values.text_at(fields.get("split", DEFAULT_SPLIT), "split")
  if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", split) or split == "all":
    raise Fault(
      Drop.BAD_VALUE,
      "split",
      "expected a name of letters, digits and _ that begins with a letter and"
      f' is not "all", found {values.show(split)}; rename it',
    )
  return split


def parse(
  fields: dict[str, Any],
  *,
  default_id: str,
  style: BoxStyle,
  measure: Callable[[str, str], Size],
) -> Line:
  """Checks a line.

  Args:
    fields: the line's object.
    default_id: for a line without one.
    style: how boxes are written where the line does not say.
    measure: width and height of a picture, by its name and the field that
      names it; raises Fault where there is no such picture.

  Raises Faulty: with all that is wrong.
  """
  return _Parser(fields, style, measure).parse(default_id)


class _Parser:
  """Reads one line and collects its faults."""

  def __init__(
    self,
    fields: dict[str, Any],
    style: BoxStyle,
    measure: Callable[[str, str], Size],
  ):
    self._fields = fields
    self._style = style
    self._measure = measure
    self._faults: list[Fault] = []

  def parse(self, default_id: str) -> Line:
    form = self._form()
    self._attempt(self._set_style)
    identity = self._attempt(self._id, default_id)
    split = self._attempt(split_of, self._fields)
    images = self._attempt(self._images, form) or ()
    sizes = [self._attempt(self._measure, *image) for image in images]
    parts = {}
    if form is not None:
      parts = getattr(self, f"_{form}")(sizes)
    if self._faults:
      raise Faulty(self._faults)
    names = tuple(name for name, _ in images)
    return Line(identity, split, form, names, **parts)

  def _attempt(self, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function gives; None, and a fault more, where it raises one."""
    try:
      return function(*arguments)
    except Fault as fault:
      self._faults.append(fault)
      return None

  def _each(
    self, function: Callable[..., Any], given: Sequence[Any], field: str, *more
  ) -> tuple[Any, ...]:
    """The function of each item, its field, and more."""
    found = [
      self._attempt(function, value, f"{field}[{i}]", *more)
      for i, value in enumerate(given)
    ]
    return tuple(value for value in found if value is not None)

  def _form(self) -> str | None:
    """The line's form, if it can be told."""
    strange = [name for name in self._fields if name not in FIELDS]
    self._faults += [values.unknown(name, "", FIELDS) for name in strange]
    signs = [name for name in _SIGNS if name in self._fields]
    if len(signs) == 1:
      form = _SIGNS[signs[0]]
      for name in self._fields:
        if name in FIELDS and name not in (*COMMON, *FORMS[form]):
          self._faults.append(
            Fault(
              Drop.CONFLICTING_FIELDS,
              name,
              f"expected only fields that go with {values.show(signs[0])}"
              f" ({values.listed(FORMS[form])}), found {values.show(name)};"
              " take it out, or write two lines",
            )
          )
      return form
    if signs:
      self._faults.append(
        Fault(
          Drop.CONFLICTING_FIELDS,
          "",
          f"expected one of {values.listed(_SIGNS)}, found"
          f" {values.listed(signs)} in one line; write a line for each",
        )
      )
    elif not strange:  # Else the field that is meant is probably among these.
      self._faults.append(
        Fault(
          Drop.MISSING_FIELD,
          "",
          f"expected one of {values.listed(_SIGNS)}, found"
          f" {values.listed(self._fields) or 'an empty object'}; say what the"
          " model should learn",
        )
      )
    return None

  def _set_style(self) -> None:
    form, order = self._style
    for name, choices in (
      ("box_format", grounding.BOX_FORMATS),
      ("box_order", grounding.BOX_ORDERS),
    ):
      if name in self._fields:
        value = values.choice_at(self._fields[name], name, choices)
        if name == "box_format":
          form = value
        else:
          order = value
    self._style = BoxStyle(form, order)

  def _id(self, default: str) -> str:
    value = self._fields.get("id", default)
    if isinstance(value, int) and not isinstance(value, bool):
      return str(value)
    return values.text_at(value, "id")

  def _images(self, form: str | None) -> list[tuple[str, str]]:
    """Names of the pictures, each with the field that names it."""
    if "image" in self._fields and "images" in self._fields:
      raise Fault(
        Drop.CONFLICTING_FIELDS,
        "images",
        'expected either "image" or "images", found both; leave one',
      )
    if "image" in self._fields:
      return [(values.text_at(self._fields["image"], "image"), "image")]
    if "images" in self._fields:
      given = values.list_at(self._fields["images"], "images", "paths")
      if len(given) > 1 and form not in (None, "messages"):
        raise Fault(
          Drop.BAD_VALUE,
          "images",
          f"expected one picture with {values.show(form)}, found"
          f' {len(given)}; several go with "messages"',
        )
      names = [(name, f"images[{i}]") for i, name in enumerate(given)]
      return [(values.text_at(*image), image[1]) for image in names]
    if form in (None, "messages"):
      return []
    raise Fault(
      Drop.MISSING_FIELD,
      "image",
      'expected "image", the path of a picture beside this file, found none;'
      " add it",
    )

  def _caption(self, sizes: Sequence[Size | None]) -> dict[str, Any]:
    caption = self._attempt(values.text_at, self._fields["caption"], "caption")
    return {
      "caption": caption,
      "phrases": self._phrases(
        self._fields, "phrases", caption, sizes or [None]
      ),
    }

  def _phrases(
    self,
    fields: dict[str, Any],
    field: str,
    text: str | None,
    sizes: Sequence[Size | None],
  ) -> tuple[Phrase, ...]:
    """The phrases of a caption or message, if it has any."""
    if "phrases" not in fields or text is None:
      return ()
    given = self._attempt(values.list_at, fields["phrases"], field, "phrases")
    return self._each(
      grounding.phrase_of, given or [], field, text, self._style, sizes
    )

  def _question(self, sizes: Sequence[Size | None]) -> dict[str, Any]:
    del sizes
    question = self._attempt(
      values.text_at, self._fields["question"], "question"
    )
    given = [name for name in ("answer", "answers") if name in self._fields]
    answers = ()
    if len(given) != 1:
      self._faults.append(
        Fault(
          Drop.CONFLICTING_FIELDS if given else Drop.MISSING_FIELD,
          "answer",
          'expected either "answer" or "answers" beside "question", found'
          f" {'both' if given else 'neither'}; write one of them",
        )
      )
    elif given == ["answer"]:
      answers = (
        self._attempt(values.text_at, self._fields["answer"], "answer"),
      )
    else:
      texts = self._attempt(
        values.list_at, self._fields["answers"], "answers", "texts"
      )
      answers = self._each(values.text_at, texts or [], "answers")
    return {"question": question, "answers": answers}

  def _expression(self, sizes: Sequence[Size | None]) -> dict[str, Any]:
    size = sizes[0] if sizes else None
    fields = self._fields
    if "expression" in fields:
      text = self._attempt(values.text_at, fields["expression"], "expression")
      boxes = self._attempt(grounding.boxes_of, fields, "", self._style, size)
      return {"expressions": (Expression(text, boxes),)}
    for name in ("box", "boxes"):
      if name in fields:
        self._faults.append(
          Fault(
            Drop.CONFLICTING_FIELDS,
            name,
            'expected the boxes inside of "expressions", found them beside it;'
            ' write "expressions": [{"text": ..., "boxes": [...]}, ...]',
          )
        )
    given = self._attempt(
      values.list_at, fields["expressions"], "expressions", "objects"
    )
    expressions = self._each(
      self._one_expression, given or [], "expressions", size
    )
    return {"expressions": expressions}

  def _one_expression(
    self, value: Any, field: str, size: Size | None
  ) -> Expression:
    names = ("text", "box", "boxes")
    fields = values.object_at(value, field, names)
    if "text" not in fields:
      raise Fault(
        Drop.MISSING_FIELD,
        field,
        'expected "text", words for what is in the boxes, found none; add it',
      )
    text = values.text_at(fields["text"], f"{field}.text")
    return Expression(
      text, grounding.boxes_of(fields, field, self._style, size)
    )

  def _messages(self, sizes: Sequence[Size | None]) -> dict[str, Any]:
    given = self._attempt(
      values.list_at, self._fields["messages"], "messages", "objects"
    )
    turns = self._each(dialogue.turn_of, given or [], "messages")
    if given is None or len(turns) < len(given):
      return {}
    self._attempt(dialogue.check_roles, [role for role, _, _ in turns])
    texts = [text for _, text, _ in turns]
    shift_of = (
      self._attempt(dialogue.place_pictures, turns, texts, len(sizes)) or {}
    )
    messages = []
    for i, (role, text, fields) in enumerate(turns):
      phrases = self._phrases(fields, f"messages[{i}].phrases", text, sizes)
      shift = shift_of.get(i, 0)
      moved = tuple(
        p._replace(start=p.start + shift, end=p.end + shift) for p in phrases
      )
      messages.append(Message(role, texts[i], moved))
    return {"messages": tuple(messages)}

"""What is said about a scene: captions and referring expressions."""

from typing import NamedTuple

from data.shapes import world
from data.shapes.draws import Draws

_NUMBERS = {1: "a", 2: "two", 3: "three", 4: "four"}
_PLURALS = {"cross": "crosses"}
_OPENINGS = ("An image of ", "A picture of ", "There")

_SIZE_WORD_CHANCE = 0.15
_RELATION_CHANCE = 0.5
_CHAIN_CHANCE = 0.25
_ALTERNATIVE_CHANCE = 0.3


class Span(NamedTuple):
  """One box of one phrase; `start:end` are characters of the caption."""

  start: int
  end: int
  box_xyxy: tuple[float, float, float, float]
  score: float = 1.0


class Expression(NamedTuple):
  """A text that means exactly one object of its scene."""

  text: str
  box_xyxy: tuple[float, float, float, float]


class Caption(NamedTuple):
  text: str
  noun_chunks: tuple[Span, ...]
  ref_exps: tuple[Span, ...]


class Reference(NamedTuple):
  """A referring expression, taken apart; None means "not said"."""

  color: str | None = None
  kind: str | None = None
  size: str | None = None
  relation: str | None = None
  anchor: "Reference | None" = None

  @property
  def text(self) -> str:
    words = ["the"]
    words += [word for word in (self.size, self.color) if word]
    words.append(self.kind or "one")
    if self.relation:
      words += [self.relation, self.anchor.text]
    return " ".join(words)


def truth(
  reference: Reference, index: int, objects: tuple[world.SceneObject, ...]
) -> bool | None:
  """Whether a reference fits object `index`; None where unclear."""
  item = objects[index]
  if reference.color and reference.color != item.color:
    return False
  if reference.kind and reference.kind != item.kind:
    return False
  verdict = True
  if reference.size:
    verdict = world.size_truth(reference.size, item)
    if verdict is False:
      return False
  if reference.relation:
    anchor = resolve(reference.anchor, objects)
    if anchor is None:
      return None
    if anchor == index:
      return False
    related = world.relation_truth(reference.relation, item, objects[anchor])
    if related is False:
      return False
    verdict = verdict and related
  return verdict


def resolve(
  reference: Reference, objects: tuple[world.SceneObject, ...]
) -> int | None:
  """The one object a reference means, or None if it does not mean one.

  It means one when it is true of that object and clearly false of all others.
  """
  found = None
  for index in range(len(objects)):
    verdict = truth(reference, index, objects)
    if verdict is None or (verdict and found is not None):
      return None
    if verdict:
      found = index
  return found


def _plain_reference(
  index: int, objects: tuple[world.SceneObject, ...]
) -> Reference | None:
  """Colour and kind, with the size if needed; None if that is not enough."""
  item = objects[index]
  reference = Reference(item.color, item.kind)
  if resolve(reference, objects) is not None:
    return reference
  reference = reference._replace(size=world.size_word(item))
  if reference.size and resolve(reference, objects) is not None:
    return reference
  return None


def _related_reference(
  index: int,
  objects: tuple[world.SceneObject, ...],
  plain: list[Reference | None],
  draws: Draws,
) -> Reference | None:
  """Colour and kind, and where it is from another object."""
  item = objects[index]
  options = [
    (relation, anchor)
    for anchor, reference in enumerate(plain)
    if reference is not None and anchor != index
    for relation in world.RELATIONS
    if world.relation_truth(relation, item, objects[anchor])
  ]
  draws.shuffle(options)
  for relation, anchor in options:
    reference = Reference(
      item.color, item.kind, relation=relation, anchor=plain[anchor]
    )
    if resolve(reference, objects) is not None:
      return reference
  return None


def _alternative(
  index: int,
  objects: tuple[world.SceneObject, ...],
  plain: list[Reference | None],
  draws: Draws,
) -> Reference | None:
  """Another unique name of an object that has a plain one."""
  item = objects[index]
  style = draws.integer(0, 3)
  if style == 0:
    return _related_reference(index, objects, plain, draws)
  reference = (
    Reference(kind=item.kind),
    Reference(color=item.color),
    Reference(kind=item.kind, size=world.size_word(item)),
  )[style - 1]
  return reference if resolve(reference, objects) is not None else None


def refer(
  objects: tuple[world.SceneObject, ...], draws: Draws
) -> list[tuple[Reference, int]]:
  """Unique references with the index of the object each one means.

  Every object that can be named gets one; some get a second, different one.
  """
  plain = [_plain_reference(index, objects) for index in range(len(objects))]
  found = []
  for index, reference in enumerate(plain):
    if reference is None:
      reference = _related_reference(index, objects, plain, draws)
      if reference is not None:
        found.append((reference, index))
      continue
    found.append((reference, index))
    if draws.chance(_ALTERNATIVE_CHANCE):
      other = _alternative(index, objects, plain, draws)
      if other is not None and other != reference:
        found.append((other, index))
  return found


class _Phrase(NamedTuple):
  text: str
  members: tuple[int, ...]


def _phrase(
  members: list[int],
  objects: tuple[world.SceneObject, ...],
  size: str | None,
) -> _Phrase:
  color, kind = objects[members[0]].pair
  words = f"{size} {color}" if size else color
  if len(members) > 1:
    number, noun = _NUMBERS[len(members)], _PLURALS.get(kind, kind + "s")
  else:
    number, noun = "an" if words[0] in "aeiou" else "a", kind
  return _Phrase(f"{number} {words} {noun}", tuple(members))


def _phrases(
  objects: tuple[world.SceneObject, ...], draws: Draws
) -> list[_Phrase]:
  """Noun phrases that together name every object once."""
  groups: dict[tuple[str, str], list[int]] = {}
  for index, item in enumerate(objects):
    groups.setdefault(item.pair, []).append(index)
  phrases = []
  for members in groups.values():
    by_size: dict[str | None, list[int]] = {}
    for index in members:
      by_size.setdefault(world.size_word(objects[index]), []).append(index)
    if set(by_size) == set(world.SIZES) and draws.chance(0.6):
      phrases += [_phrase(same, objects, s) for s, same in by_size.items()]
    else:
      size = next(iter(by_size)) if len(by_size) == 1 else None
      spoken = size if draws.chance(_SIZE_WORD_CHANCE) else None
      phrases.append(_phrase(members, objects, spoken))
  draws.shuffle(phrases)
  return phrases


def _true_relations(
  first: _Phrase, second: _Phrase, objects: tuple[world.SceneObject, ...]
) -> list[str]:
  """Relations that hold between all members of two phrases."""
  return [
    relation
    for relation in world.RELATIONS
    if all(
      world.relation_truth(relation, objects[i], objects[j])
      for i in first.members
      for j in second.members
    )
  ]


def _clauses(
  phrases: list[_Phrase],
  objects: tuple[world.SceneObject, ...],
  draws: Draws,
) -> list[list[_Phrase | str]]:
  """Joins some neighbours to "phrase relation phrase [relation phrase]"."""
  clauses: list[list[_Phrase | str]] = [[phrases[0]]]
  for phrase in phrases[1:]:
    last = clauses[-1]
    chance = _RELATION_CHANCE if len(last) == 1 else _CHAIN_CHANCE
    if len(last) < 5 and draws.chance(chance):
      relations = _true_relations(last[-1], phrase, objects)
      if relations:
        last += [draws.choice(relations), phrase]
        continue
    clauses.append([phrase])
  return clauses


def describe(objects: tuple[world.SceneObject, ...], draws: Draws) -> Caption:
  """A caption that names all objects, with the spans of its phrases.

  `noun_chunks` are the phrases themselves. In `ref_exps` the phrase at the
  head of a relation reaches to the end of its clause, so spans are nested:
  "a red circle left of a blue square" is the circle, and "a blue square" in
  it the square. A phrase for several objects appears once for each box.
  """
  clauses = _clauses(_phrases(objects, draws), objects, draws)
  text = draws.choice(_OPENINGS) if draws.chance(0.5) else ""
  if text == "There":
    many = len(clauses[0][0].members) > 1
    text += " are " if many else " is "
  simple = all(len(clause) == 1 for clause in clauses)
  noun_chunks, ref_exps = [], []
  for number, clause in enumerate(clauses):
    if number:
      last = number == len(clauses) - 1
      # The comma keeps "a and b above c" from meaning that a is above c.
      text += (" and " if simple else ", and ") if last else ", "
    spans = []
    for part in clause:
      if isinstance(part, str):
        text += f" {part} "
      else:
        spans.append((len(text), len(text) + len(part.text), part.members))
        text += part.text
    for start, end, members in spans:
      boxes = [objects[index].box_xyxy for index in members]
      noun_chunks += [Span(start, end, box) for box in boxes]
      ref_exps += [Span(start, len(text), box) for box in boxes]
  return Caption(text, tuple(noun_chunks), tuple(ref_exps))

"""Makes the small tokenizer: `python -m kosmos2_jax.tools.make_tokenizer`.

Writes `kosmos2_jax/text/small.model` from the sentences beside this file and
from sentences about coloured shapes, which are all made here. One version of
SentencePiece always writes the same bytes, so the model can be checked against
its corpus. Every text can be coded: what no piece spells is spelled in bytes.
"""

import io
import itertools
import pathlib
from collections.abc import Iterator, Sequence

import sentencepiece
from absl import app, flags

from kosmos2_jax import text

COLORS = [
  "red",
  "green",
  "blue",
  "yellow",
  "purple",
  "orange",
  "cyan",
  "pink",
  "brown",
  "white",
  "black",
  "gray",
]
KINDS = [
  "circle",
  "square",
  "triangle",
  "star",
  "cross",
  "diamond",
  "ring",
  "heart",
  "hexagon",
]
SIZES = ["small", "big", "large", "tiny"]
RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = ("two", "three", "four")
# With SentencePiece's three specials. The tags and 8 x 8 location tokens bring
# this to 765 ids, just below a multiple of 128, to which models pad.
VOCAB_SIZE = 688

_CORPUS = pathlib.Path(__file__).with_name("tokenizer_corpus.txt")
# Copies of the everyday sentences, so that the shapes do not take all pieces.
_REPEATS = 8

_OUTPUT = flags.DEFINE_string(
  "output",
  str(pathlib.Path(text.__file__).with_name("small.model")),
  "File to write.",
)


def shape_sentences() -> Iterator[str]:
  """Yields sentences with every colour, kind, size, number and relation."""
  pairs = list(itertools.product(COLORS, KINDS))
  for i, (color, kind) in enumerate(pairs):
    size = SIZES[i % len(SIZES)]
    relation = RELATIONS[i % len(RELATIONS)]
    # 7 and the number of pairs have no common factor, so all others come by.
    other_color, other_kind = pairs[(i * 7 + 5) % len(pairs)]
    article = "an" if color[0] in "aeiou" else "a"
    plural = plural_of(kind)
    yield f"{article} {color} {kind}"
    yield f"the {color} {kind} {relation} the {other_color} {other_kind}"
    yield f"An image of {article} {color} {kind} {relation} a {size} {kind}."
    yield f"A picture of the {size} {color} {kind} and the {size} one"
    yield f"There is a {size} {color} {kind} in the picture."
    for number in NUMBERS:
      yield f"{number} {color} {plural}"
    yield (
      f"There are two {color} {plural}, three {size} {other_color}"
      f" {plural_of(other_kind)} and four {plural}."
    )


def plural_of(noun: str) -> str:
  """Returns "crosses" for "cross", "circles" for "circle"."""
  return noun + ("es" if noun.endswith("s") else "s")


def corpus() -> list[str]:
  """Returns all sentences the tokenizer is made from."""
  everyday = _CORPUS.read_text(encoding="utf-8").splitlines()
  sentences = list(shape_sentences()) + everyday * _REPEATS
  words = {word.strip(".,?") for line in sentences for word in line.split()}
  # Only what occurs in two different words can become a piece, so each word
  # comes once more with a full stop glued to it.
  return sentences + [f"{word}." for word in sorted(words)]


def train(sentences: Sequence[str]) -> bytes:
  """Returns a SentencePiece unigram model of the sentences."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(sentences),
    model_writer=model,
    model_type="unigram",
    vocab_size=VOCAB_SIZE,
    byte_fallback=True,
    character_coverage=1.0,
    # The layout that `text.Vocab` expects, as in the released model.
    unk_id=0,
    bos_id=1,
    eos_id=2,
    pad_id=-1,
    # For the same bytes on every machine.
    num_threads=1,
    shuffle_input_sentence=False,
    minloglevel=2,
  )
  return model.getvalue()


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"This command takes no arguments, got {argv[1:]}.")
  model = train(corpus())
  path = pathlib.Path(_OUTPUT.value)
  path.write_bytes(model)
  size = text.Tokenizer.from_bytes(model).vocab.num_pieces
  print(f"Wrote {path}: {size} pieces, {len(model)} bytes.")


if __name__ == "__main__":
  app.run(main)

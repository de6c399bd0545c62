"""The official scorers of captions: the package pycocoevalcap, and its jars.

They are called one by one. `pycocoevalcap.eval` is not used: it runs SPICE,
too, which downloads a parser when it is called.
"""

import importlib.util
import pathlib
from typing import NamedTuple


class CocoScorers(NamedTuple):
  """What is used of pycocoevalcap.

  Attributes:
    cider: class `Cider`.
    rouge: class `Rouge`, of ROUGE-L.
    bleu: class `BleuScorer`.
    meteor: class `Meteor`.
    meteor_jar: what `Meteor` runs.
    tokenizer_jar: Stanford's, with the PTB tokenizer.
    punctuation: tokens that are taken out of captions.
  """

  cider: type
  rouge: type
  bleu: type
  meteor: type
  meteor_jar: pathlib.Path
  tokenizer_jar: pathlib.Path
  punctuation: frozenset[str]


def require() -> None:
  """Says so early where the package is missing; loads nothing.

  Raises:
    ModuleNotFoundError: it is.
  """
  if importlib.util.find_spec("pycocoevalcap") is None:
    raise ModuleNotFoundError(
      "captions are scored by the package pycocoevalcap, which is not"
      " installed: pip install 'kosmos2_jax[eval]'"
    )


def load() -> CocoScorers:
  """Returns the scorers.

  Raises:
    ModuleNotFoundError: the package is not installed.
  """
  require()
  from pycocoevalcap.bleu.bleu_scorer import BleuScorer
  from pycocoevalcap.cider.cider import Cider
  from pycocoevalcap.meteor import meteor
  from pycocoevalcap.rouge.rouge import Rouge
  from pycocoevalcap.tokenizer import ptbtokenizer

  def beside(module, name: str) -> pathlib.Path:
    return pathlib.Path(module.__file__).resolve().with_name(name)

  return CocoScorers(
    cider=Cider,
    rouge=Rouge,
    bleu=BleuScorer,
    meteor=meteor.Meteor,
    meteor_jar=beside(meteor, meteor.METEOR_JAR),
    tokenizer_jar=beside(ptbtokenizer, ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR),
    punctuation=frozenset(ptbtokenizer.PUNCTUATIONS),
  )

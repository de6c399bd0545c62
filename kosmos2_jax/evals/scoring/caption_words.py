"""Captions as words: by the official tokenizer, or without Java by our own.

The official one is Stanford's PTB tokenizer (a Java program), lower case, with
punctuation taken out afterwards as pycocoevalcap does it.
"""

import re
import unicodedata
from collections.abc import Sequence

from kosmos2_jax.evals.scoring import coco_scorers, java

# To start Java on a busy machine, and for a caption.
START_S, CAPTION_S = 120.0, 0.01

# Words that are two; the official tokenizer's list is a little longer.
_TWO_WORDS = {
  "cannot": ("can", "not"),
  "gimme": ("gim", "me"),
  "gonna": ("gon", "na"),
  "gotta": ("got", "ta"),
  "lemme": ("lem", "me"),
  "wanna": ("wan", "na"),
}
_BRACKETS = {
  "(": "-lrb-",
  ")": "-rrb-",
  "[": "-lsb-",
  "]": "-rsb-",
  "{": "-lcb-",
  "}": "-rcb-",
}
# Alike letters, and the currencies that are written in ASCII.
_ALIKE = str.maketrans({"’": "'", "‘": "'", "£": "#", "€": "$"})
_TOKEN = re.compile(
  r"""
    https?://\S+
  | [\w.+-]+@\w+(?:[.-]\w+)+                      # an address
  | (?:[^\W\d_]\.){2,}                            # u.s.
  | (?:mr|mrs|ms|dr|st|jr|sr|vs|etc)\.
  | no\.(?=\ \d)
  | \d+(?:,\d{3})+(?:\.\d+)?                      # 1,000
  | \d+:\d+
  | [@#][^\W\d_]\w*
  | '(?:s|re|ve|ll|d|m)\b                         # of a split word
  | '\d0s\b
  | \w+(?:(?:[-/._]|'(?!\d))\w+)*                 # t-shirt, o'brien
  | [?!]{2,}
  | [()\[\]{}$%&#*^~=+<>|/@]
  """,
  re.VERBOSE,
)
_ENDING = re.compile(r"(.+?)(n't|'(?:s|re|ve|ll|d|m))$")


def official(
  captions: Sequence[str], timeout_s: float | None = None
) -> list[str]:
  """Captions as the published scorers see them: words, a space between.

  Args:
    captions: any text; what breaks lines counts as a space.
    timeout_s: Java is given up after so many seconds; None: a time that grows
      with the number of captions.

  Raises:
    java.JavaTrouble: Java is missing, too slow, or has failed.
    ModuleNotFoundError: see `coco_scorers.load`.
  """
  scorers = coco_scorers.load()
  if timeout_s is None:
    timeout_s = START_S + CAPTION_S * len(captions)
  # The program answers line by line, and more characters break its lines than
  # pycocoevalcap's own caller knows of: one would shift all captions after it.
  lines = [" ".join(caption.splitlines()) + "\n" for caption in captions]
  arguments = ["-cp", str(scorers.tokenizer_jar)]
  arguments += ["edu.stanford.nlp.process.PTBTokenizer"]
  arguments += ["-preserveLines", "-lowerCase", "-encoding", "utf-8"]
  with java.program(arguments, timeout_s=timeout_s) as program:
    said, _ = program.process.communicate(
      "".join(lines).encode(errors="replace")
    )
    found = said.decode(errors="replace").split("\n")
    if program.process.returncode or len(found) != len(lines) + 1:
      raise program.trouble("the PTB tokenizer")
  return [
    " ".join(w for w in line.split(" ") if w and w not in scorers.punctuation)
    for line in found[:-1]
  ]


def plain(caption: str) -> str:
  """The same for one caption, nearly, without Java.

  Plain English comes out alike: words, contractions, possessives, hyphens,
  numbers, common abbreviations, brackets, symbols. Numbers of captions that
  were split so do not compare with published ones all the same.
  """
  # Composed, so that a letter with its accent is one letter.
  text = unicodedata.normalize("NFC", caption).lower().translate(_ALIKE)
  words: list[str] = []
  for token in _TOKEN.findall(text):
    ending = _ENDING.match(token)
    if token in _TWO_WORDS:
      words += _TWO_WORDS[token]
    elif ending:
      words += ending.groups()
    else:
      words.append(_BRACKETS.get(token, token))
  return " ".join(words)

"""Text: vocabulary, tokenizer, location codec, markup, prompts.

Nothing here imports jax or tensorflow.
"""

from kosmos2_jax.text.grounded import Box, GroundedText, Phrase
from kosmos2_jax.text.markup import build, build_text, parse
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.text.vocab import Vocab

__all__ = [
  "Box",
  "GroundedText",
  "Phrase",
  "Tokenizer",
  "Vocab",
  "build",
  "build_text",
  "parse",
]

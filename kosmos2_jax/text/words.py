"""New words for a tokenizer: each becomes one piece behind those there are."""

from collections.abc import Sequence

from sentencepiece import sentencepiece_model_pb2

from kosmos2_jax.text.tokenizer import Tokenizer

_SPACE = "\u2581"


def with_words(tokenizer: Tokenizer, words: Sequence[str]) -> bytes:
  """The tokenizer's SentencePiece model with a piece for each word.

  A piece is taken where a new word begins with it, as it is likelier than any
  two pieces that spell it. The file is written anew only if there are words.

  Args:
    tokenizer: has the pieces there are.
    words: without spaces, as they are written; "Wug" is not "wug".

  Raises:
    ValueError: for a word that is a piece already, is there twice, or that the
      tokenizer would not read as one.
  """
  if not words:
    return tokenizer.model_bytes
  model = sentencepiece_model_pb2.ModelProto.FromString(tokenizer.model_bytes)
  known = {piece.piece for piece in model.pieces}
  # Two pieces are less likely than the likeliest one.
  score = max(piece.score for piece in model.pieces[3:])
  for word in words:
    piece = f"{_SPACE}{word}"
    if piece in known or not word or set(word) & {" ", _SPACE, "<"}:
      raise ValueError(
        "expected words of the text that are no token yet, without spaces and"
        f" '<', each once; found {word!r} in resize.words: leave it out"
      )
    known.add(piece)
    model.pieces.add(
      piece=piece,
      score=score,
      type=sentencepiece_model_pb2.ModelProto.SentencePiece.NORMAL,
    )
  model.trainer_spec.vocab_size = len(model.pieces)
  made = model.SerializeToString()
  new = Tokenizer(made, tokenizer.vocab.num_bins)
  for word in words:
    if len(new.encode(word)) != 1:
      raise ValueError(
        f"expected a word that is read as one token, found {word!r} in"
        " resize.words, which the tokenizer normalises: write it as"
        f" {new.decode(new.encode(word))!r}"
      )
  return made

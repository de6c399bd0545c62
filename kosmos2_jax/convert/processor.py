"""The tokenizer and the picture settings of a Hugging Face folder.

sentencepiece.bpe.model  the original's model, where there is one
tokenizer.json           the same pieces for `tokenizers`, specials included
tokenizer_config.json    names of special tokens
processor_config.json    picture size, normalisation, number of location tokens

`transformers.AutoProcessor` opens what `write` leaves. Its `tokenizer.json`
knows no Unicode normalisation, the original's SentencePiece model does: they
split "½" or full-width letters in different ways, and all else alike. Here the
original's way is taken whichever file the tokenizer is read from.
"""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from kosmos2_jax.batch import IMAGE_MEAN, IMAGE_STDDEV
from kosmos2_jax.convert.weights import read_json
from kosmos2_jax.text import vocab as vocab_lib
from kosmos2_jax.text.tokenizer import MODEL_FILE, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
PROCESSOR_FILE = "processor_config.json"

_SPACE = "\u2581"
_LOCATION = re.compile(r"<patch_index_\d+>")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_HEAD = (vocab_lib.BOS, vocab_lib.PAD, vocab_lib.EOS, vocab_lib.UNK)
_MASK = "<mask>"


def read(folder: Path) -> Tokenizer:
  """The tokenizer of a folder: of its SentencePiece model, else of its JSON.

  Raises:
    FileNotFoundError: when the folder has neither.
    ValueError: for files that are no such tokenizer.
  """
  content = None
  if (folder / TOKENIZER_FILE).is_file():
    content = read_json(folder / TOKENIZER_FILE)
  num_bins = _num_bins(folder, content)
  if (folder / MODEL_FILE).is_file():
    return Tokenizer.from_file(folder / MODEL_FILE, num_bins)
  if content is None:
    raise FileNotFoundError(
      f"{str(folder)!r} has no tokenizer: neither {MODEL_FILE} nor"
      f" {TOKENIZER_FILE}; copy one of them into it"
    )
  return Tokenizer(_model_of(content, folder / TOKENIZER_FILE), num_bins)


def write(folder: Path, tokenizer: Tokenizer, image_size: int) -> None:
  """Writes the four files."""
  vocab = tokenizer.vocab
  model = sentencepiece_model_pb2.ModelProto.FromString(tokenizer.model_bytes)
  (folder / MODEL_FILE).write_bytes(tokenizer.model_bytes)
  _write_json(folder / TOKENIZER_FILE, _json_of(model, vocab))
  _write_json(
    folder / TOKENIZER_CONFIG_FILE,
    {
      "add_prefix_space": True,
      "backend": "tokenizers",
      "bos_token": vocab_lib.BOS,
      "cls_token": vocab_lib.BOS,
      "eos_token": vocab_lib.EOS,
      "mask_token": _MASK,
      "model_max_length": int(1e30),  # transformers' word for no limit
      "pad_token": vocab_lib.PAD,
      "processor_class": "Kosmos2Processor",
      "sep_token": vocab_lib.EOS,
      # The first is the released one's, and knows no pieces that are bytes.
      "tokenizer_class": "TokenizersBackend"
      if model.trainer_spec.byte_fallback
      else "XLMRobertaTokenizer",
      "unk_token": vocab_lib.UNK,
    },
  )
  side = {"height": image_size, "width": image_size}
  _write_json(
    folder / PROCESSOR_FILE,
    {
      "image_processor": {
        "crop_size": side,
        "do_center_crop": False,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(IMAGE_MEAN),
        "image_processor_type": "CLIPImageProcessor",
        "image_std": list(IMAGE_STDDEV),
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": side,
      },
      "num_patch_index_tokens": vocab.num_locations,
      "processor_class": "Kosmos2Processor",
    },
  )


def _num_bins(folder: Path, content: dict[str, Any] | None) -> int:
  """Cells per side, from the number of location tokens."""
  settings = {}
  if (folder / PROCESSOR_FILE).is_file():
    settings = read_json(folder / PROCESSOR_FILE)
  count = settings.get("num_patch_index_tokens")
  if count is None and content is not None:
    added = content.get("added_tokens", [])
    count = sum(bool(_LOCATION.fullmatch(t["content"])) for t in added)
  if not count:
    return 32  # a folder of the original's tokenizer alone
  side = math.isqrt(count)
  if side**2 != count:
    raise ValueError(
      f"{str(folder)!r} has {count} location tokens, which is no square grid"
    )
  return side


def _model_of(content: dict[str, Any], path: Path) -> bytes:
  """A SentencePiece model that splits as `tokenizer.json` says."""
  model = content.get("model") or {}
  pieces = model.get("vocab")
  if model.get("type") != "Unigram" or not isinstance(pieces, list):
    raise ValueError(
      f"{str(path)!r} is a {model.get('type')} tokenizer; Kosmos-2 has a"
      " Unigram one"
    )
  names = [name for name, _ in pieces]
  if tuple(names[:4]) != _HEAD or names[-1] != _MASK:
    raise ValueError(
      f"{str(path)!r} has the pieces {names[:4]} … {names[-1:]}; a Kosmos-2"
      f" tokenizer begins with {list(_HEAD)} and ends with {_MASK!r}"
    )
  proto = sentencepiece_model_pb2.ModelProto()
  types = proto.SentencePiece
  for name, kind in (
    (vocab_lib.UNK, types.UNKNOWN),
    (vocab_lib.BOS, types.CONTROL),
    (vocab_lib.EOS, types.CONTROL),
  ):
    proto.pieces.add(piece=name, score=0.0, type=kind)
  has_bytes = bool(model.get("byte_fallback"))
  for name, score in pieces[4:-1]:
    is_byte = has_bytes and _BYTE.fullmatch(name)
    kind = types.BYTE if is_byte else types.NORMAL
    proto.pieces.add(piece=name, score=score, type=kind)
  trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
  trainer.model_type = trainer.UNIGRAM
  trainer.byte_fallback = has_bytes
  trainer.vocab_size = len(proto.pieces)
  trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
  normalizer.name = "nmt_nfkc"
  normalizer.precompiled_charsmap = _charsmap(content)
  normalizer.add_dummy_prefix = True
  normalizer.remove_extra_whitespaces = True
  normalizer.escape_whitespaces = True
  return proto.SerializeToString()


def _charsmap(content: dict[str, Any]) -> bytes:
  """The rules of Unicode normalisation: the file's own, else SentencePiece's.

  The released tokenizer was trained with the rules named nmt_nfkc, which every
  SentencePiece model carries along; the project's small one has them, too.
  """
  normalizer = content.get("normalizer") or {}
  for part in (normalizer, *normalizer.get("normalizers", ())):
    if part.get("type") == "Precompiled":
      return base64.b64decode(part["precompiled_charsmap"])
  small = sentencepiece_model_pb2.ModelProto.FromString(
    Tokenizer.small().model_bytes
  )
  return small.normalizer_spec.precompiled_charsmap


def _json_of(
  model: sentencepiece_model_pb2.ModelProto, vocab: vocab_lib.Vocab
) -> dict[str, Any]:
  """The content of tokenizer.json."""
  metaspace = {
    "type": "Metaspace",
    "replacement": _SPACE,
    "prepend_scheme": "always",
    "split": True,
  }
  has_bytes = model.trainer_spec.byte_fallback
  decoders = [
    {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
  ]
  specials = [(name, i, True) for i, name in enumerate(_HEAD)]
  specials += [
    (name, i, name == _MASK) for name, i in vocab.special_tokens.items()
  ]
  pieces = [(piece.piece, piece.score) for piece in model.pieces[3:]]
  begin, end = (
    {"SpecialToken": {"id": t, "type_id": 0}} for t in ("<s>", "</s>")
  )
  first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
  return {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
      {
        "id": token_id,
        "content": name,
        "single_word": False,
        # Tags take the space before them, as the original's prompts do.
        "lstrip": not special,
        "rstrip": False,
        "normalized": False,
        "special": special,
      }
      for name, token_id, special in specials
    ],
    "normalizer": None,
    "pre_tokenizer": {
      "type": "Sequence",
      "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace],
    },
    "post_processor": {
      "type": "TemplateProcessing",
      "single": [begin, first, end],
      "pair": [begin, first, end, end, second, end],
      "special_tokens": {
        name: {"id": name, "ids": [token_id], "tokens": [name]}
        for name, token_id in (("</s>", vocab.eos_id), ("<s>", vocab.bos_id))
      },
    },
    "decoder": {"type": "Sequence", "decoders": decoders}
    if has_bytes
    else metaspace,
    "model": {
      "type": "Unigram",
      "unk_id": vocab.unk_id,
      "vocab": [
        *([name, 0.0] for name in _HEAD),
        *([name, score] for name, score in pieces),
        [_MASK, 0.0],
      ],
      "byte_fallback": has_bytes,
    },
  }


def _write_json(path: Path, content: dict[str, Any]) -> None:
  text = json.dumps(content, indent=2, ensure_ascii=False)
  path.write_text(text + "\n", encoding="utf-8")

"""Detectors with random weights, in folders as they are on the hub."""

import pathlib

WORDS = ("a", "the", "red", "blue", "dog", "ball", "##s", "man", "hat", "in")
# Places of BERT's vocabulary that Grounding DINO knows by number.
SPECIAL = {
  0: "[PAD]",
  100: "[UNK]",
  101: "[CLS]",
  102: "[SEP]",
  103: "[MASK]",
  1012: ".",
  1029: "?",
}
MAX_TEXT = 24  # tokens of one text of Grounding DINO
MAX_PHRASE = 40  # tokens of a text of the others


def grounding_dino(folder: pathlib.Path) -> None:
  """As `save_pretrained` of a processor writes it."""
  import torch
  import transformers as library

  words = {**SPECIAL, **dict(enumerate(WORDS, 200))}
  folder.mkdir()
  vocab = folder / "vocab.txt"
  vocab.write_text(
    "".join(f"{words.get(i, f'[unused{i}]')}\n" for i in range(1030))
  )
  tokenizer = library.BertTokenizer(str(vocab))
  prepare = library.GroundingDinoImageProcessorPil(
    size={"shortest_edge": 64, "longest_edge": 96}
  )
  library.GroundingDinoProcessor(prepare, tokenizer).save_pretrained(folder)
  torch.manual_seed(0)
  model = library.GroundingDinoForObjectDetection(
    library.GroundingDinoConfig(
      backbone_config=_swin(64),
      text_config=library.BertConfig(
        vocab_size=1030,
        hidden_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        intermediate_size=16,
        max_position_embeddings=64,
      ),
      d_model=32,
      encoder_layers=1,
      decoder_layers=2,
      encoder_ffn_dim=16,
      decoder_ffn_dim=16,
      encoder_attention_heads=2,
      decoder_attention_heads=2,
      num_queries=12,
      max_text_len=MAX_TEXT,
    )
  )
  _vary(model)
  model.save_pretrained(folder)


def owl(folder: pathlib.Path, version: int) -> None:
  """OWL-ViT (1) or OWLv2 (2), as the files of the hub are."""
  import torch
  import transformers as library

  name = {1: "OwlViT", 2: "Owlv2"}[version]

  def get(rest):
    return getattr(library, f"{name}{rest}")

  tokenizer = _clip_tokenizer()
  tokenizer.save_pretrained(folder)
  prepare = get("ImageProcessorPil")(size={"height": 32, "width": 32})
  prepare.save_pretrained(folder)
  torch.manual_seed(0)
  model = get("ForObjectDetection")(
    get("Config")(
      text_config=_clip_text(tokenizer),
      vision_config={
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
      },
      projection_dim=16,
    )
  )
  _vary(model)
  model.save_pretrained(folder)


def omdet_turbo(folder: pathlib.Path) -> None:
  """Without its processor, which needs torchvision."""
  import torch
  import transformers as library

  tokenizer = _clip_tokenizer()
  tokenizer.save_pretrained(folder)
  library.DetrImageProcessorPil(
    size={"height": 64, "width": 64}, do_pad=False
  ).save_pretrained(folder)
  torch.manual_seed(0)
  model = library.OmDetTurboForObjectDetection(
    library.OmDetTurboConfig(
      text_config={"model_type": "clip_text_model", **_clip_text(tokenizer)},
      backbone_config=_swin(64),
      image_size=64,
      # The normalisation is for backbones of timm, channels last.
      apply_layernorm_after_vision_backbone=False,
      text_projection_in_dim=16,
      text_projection_out_dim=16,
      class_embed_dim=16,
      task_encoder_hidden_dim=16,
      num_queries=12,
      encoder_hidden_dim=32,
      encoder_in_channels=[16, 32, 64],
      vision_features_channels=[32, 32, 32],
      encoder_dim_feedforward=16,
      encoder_attention_heads=2,
      decoder_hidden_dim=32,
      decoder_num_heads=2,
      decoder_num_layers=1,
      decoder_dim_feedforward=16,
    )
  )
  _vary(model)
  model.save_pretrained(folder)


def _vary(model) -> None:
  """Boxes of many sizes, scores neither 0 nor 1, texts unlike each other."""
  import torch

  with torch.no_grad():
    for name, value in model.named_parameters():
      if "box" in name and value.ndim > 1:
        value.normal_(0, 0.3)
      if "logit_s" in name and value.ndim:
        value.normal_(0, 0.02)
      if "token_embedding" in name:
        value.normal_(0, 1)


def _swin(image_size: int):
  import transformers as library

  return library.SwinConfig(
    window_size=7,
    embed_dim=8,
    depths=[1] * 4,
    num_heads=[1] * 4,
    image_size=image_size,
    out_indices=[2, 3, 4],
  )


def _clip_tokenizer():
  """Bytes, and nothing merged; the end has the largest id, as CLIP asks."""
  import tokenizers
  import transformers as library

  letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
  names = [*letters, *(f"{letter}</w>" for letter in letters)]
  names += ["<|startoftext|>", "<|endoftext|>"]
  vocab = {name: i for i, name in enumerate(names)}
  return library.CLIPTokenizer(
    vocab=vocab, merges=[], pad_token="!", model_max_length=MAX_PHRASE
  )


def _clip_text(tokenizer) -> dict[str, int]:
  size = len(tokenizer)
  return {
    "vocab_size": size,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": MAX_PHRASE,
    "bos_token_id": size - 2,
    "eos_token_id": size - 1,
  }

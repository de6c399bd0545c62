r"""Pre-trains on the paper's mix: text, captions, grounded captions, documents.

  python train.py --config=configs/pretrain.py --workdir=runs/pretrain \
    --config.data.tokenizer=sentencepiece.bpe.model \
    --config.vision_from=ViT-L-14.pt \
    --config.data.builders.text.files='pile/*.jsonl.gz' \
    --config.data.builders.image_text.shards='laion/*.tar' \
    --config.data.builders.grit.shards='grit/*.tar' \
    --config.data.builders.interleaved.documents='mmc4/*.jsonl.zip' \
    --config.data.builders.interleaved.pictures='mmc4/{name}'

Every step has 93 texts, 1,117 captioned pictures, 1,117 grounded captions and
47 documents with pictures, packed into rows of 2,048: about 419,000 tokens.

Cost, as published: 60,000 steps in a day on 256 V100. Score: none is claimed;
this project has not trained it at that size.

`pretrain.py:mesh=v5e-256` sets mesh, rows, remat and microbatches for a
machine. Predicted:

  mesh=        PFLOP/step          MFU  s/step  tokens/s (a chip)   60,000 steps
  v5e-256            6.62         45 %    0.29  1,440,000 (5,600)          4.9 h
  v5p-128            6.62         45 %    0.50    840,000 (13,100)         8.3 h
  v6e-256            6.62         30 %    0.094 4,500,000 (17,400)         1.6 h
  2xv6e-256          6.62         25 %    0.056 7,400,000 (14,500)         0.9 h
  8xh100             6.23         28 %    2.81    149,000 (18,600)          47 h

FLOPs are those of `models.flops` for 256 rows of 2,048 (208 on 8 H100) with 16
(24) places for pictures each, empty ones included; tokens are the 419,000 of a
step that are no padding. Seconds are FLOPs / (MFU x peak of the chips). The MFU
of TPUs is assumed: others reach 55 % at this size on v5e, and the compiled
steps allow more than is assumed here (docs/training.md has the reports); a v6e
has one row to work on, or half a row in two slices, and waits for memory. That
of 8 H100 is what one reached with four rows (measured, docs/training.md), as if
the others cost nothing. A step has 2,375 pictures: v6e-256 wants 25,000 a
second.

`pretrain.py:text_only` trains the decoder alone, on as many tokens of text.

A part of each step, for machines that are smaller: `pretrain.py:divide=16`. All
of it with a model of no use, to see that the data is in order:
`pretrain.py:divide=100,preset=tiny`, without tokenizer and vision encoder.
"""

from ml_collections import ConfigDict

from configs import common

# Examples of a step, as published.
TEXT, IMAGE_TEXT, GROUNDED, INTERLEAVED = 93, 1117, 1117, 47
# Words and tags of a caption, tokens of a document without its pictures, and
# its pictures, on average; from the published 419,000 tokens of a step. What
# finds no room is counted, and tools.packing recommends numbers for other data.
CAPTION_TOKENS, DOCUMENT_TOKENS, DOCUMENT_PICTURES = 28, 200, 3
# Rows come in multiples of this, for as many devices; as many parts of a step
# are packed by themselves, for as many hosts.
GROUPS = 8
VOCAB_SIZE = 65_037
FILLED = 0.99


def get_config(arg: str = "") -> ConfigDict:
  """The run.

  `arg` may set `divide`, by which the examples of a step are divided,
  `preset`, the model, and `mesh`, one of `common.MESHES`; `text_only` says
  that the decoder alone is trained, on text.
  """
  args = common.parse_arg(
    arg, divide=1, preset="kosmos2", mesh="", text_only=False
  )
  if args.divide < 1:
    raise ValueError(f"divide is at least 1, found {args.divide}")
  config = common.base(args.preset)
  full = args.preset == "kosmos2"
  config.num_steps = 60_000
  config.model.dtype = "bfloat16" if full else "float32"
  config.model.remat = "dots" if full else "none"
  if full:
    # Of the released tokenizer, which the command line names.
    config.model.vocab_size = VOCAB_SIZE
    config.mesh.data, config.mesh.fsdp = 1, -1
  config.data.kinds = (
    common.kind("text", "text", "text", _share(TEXT, args.divide)),
    common.kind(
      "image_text",
      "image_text",
      "plain_caption",
      _share(IMAGE_TEXT, args.divide),
    ),
    # As in the published script: the outermost expressions, half of the
    # captions without their boxes.
    common.kind(
      "grounded_caption",
      "grit",
      "grounded_caption",
      _share(GROUNDED, args.divide),
      mode="expression",
      markup="maximal",
      tag_probability=0.5,
    ),
    common.kind(
      "interleaved",
      "interleaved",
      "interleaved",
      _share(INTERLEAVED, args.divide),
      max_pictures=5,
    ),
  )
  config.data.seq_len = 2048 if full else 256
  config.data.pack = True
  config.data.pack_groups = GROUPS
  config.data.rows_per_step = _num_rows(config)
  # A row may be all captions, of which some are short.
  shortest = config.model.resampler.num_latents + CAPTION_TOKENS - 4
  config.data.images_per_row = max(5, -(-config.data.seq_len // shortest))
  config.data.num_threads = 16 if full else 2
  # Examples, not paths of anyone's: the command line says where the files are.
  # Pictures larger than the model sees are stored smaller, once.
  config.data.builders = ConfigDict(
    {
      "text": {"files": "pile/*.jsonl.gz"},
      "image_text": {
        "shards": "laion/*.tar",
        "min_side": 200,
        "shorter_side": 256,
      },
      "grit": {"shards": "grit/*.tar"},
      "interleaved": {
        "documents": "mmc4/*.jsonl.zip",
        "pictures": "mmc4/{name}",
        "pictures_by": "name",
        "min_side": 64,
        "shorter_side": 256,
      },
    }
  )
  # The optimizer is the published one, the default of `common`.
  config.save_every = 1000
  if args.text_only:
    _text_only(config)
  if args.mesh:
    common.on_mesh(config, args.mesh)
  # What a preemption without a warning may cost at most.
  config.save_every_minutes = 20.0
  return config


def _text_only(config: ConfigDict) -> None:
  """As many tokens a step, all of them text; no picture, and no encoder."""
  rows = config.data.rows_per_step
  config.model.text_only = True
  config.model.remat = "full"
  config.mesh.data, config.mesh.fsdp = 1, -1
  # A document fills a row more often than not; of others there are several.
  config.data.kinds = (common.kind("text", "text", "text", rows),)
  config.data.images_per_row = 0
  config.data.builders = ConfigDict({"text": config.data.builders.text})


def _share(count: int, divide: int) -> int:
  """The examples of a kind, at least one."""
  return max(1, round(count / divide))


def _num_rows(config: ConfigDict) -> int:
  """Rows that hold a step's examples if they are as long as is thought."""
  latents = 2 + config.model.resampler.num_latents
  seq_len = config.data.seq_len
  tokens = {
    "text": seq_len,  # Documents are longer than a row more often than not.
    "image_text": latents + CAPTION_TOKENS,
    "grounded_caption": latents + CAPTION_TOKENS,
    "interleaved": latents * DOCUMENT_PICTURES + DOCUMENT_TOKENS,
  }
  total = sum(kind.per_step * tokens[kind.name] for kind in config.data.kinds)
  return GROUPS * -(-int(total / FILLED) // (seq_len * GROUPS))

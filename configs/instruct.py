r"""Instruction tuning as published: six kinds of data from what was trained.

  python train.py --config=configs/instruct.py --workdir=runs/instruct \
    --config.init_from=CHECKPOINT --config.data.tokenizer=SENTENCEPIECE_MODEL

Cost: 10,000 steps of about 420,000 tokens, 4 billion tokens in all, of a model
of 1.6 billion parameters. Score, published for the released model, which was
tuned this way: CIDEr 80.5 on Flickr30k's test pictures, 51.1 on VQAv2 test-dev.

`mesh=` sets mesh, rows, remat and microbatches for a machine. Predicted, not
measured, for 10,000 steps: v5e-256 49 minutes, v5p-128 1.4 hours, v6e-256 16
minutes, two slices of it (2xv6e-256) 10, 8xh100 7.8 hours. Steps have the
shape, FLOPs and seconds of configs/pretrain.py, where the derivation is; on 8
H100 they have 6.25 PFLOP.

A step has 117 language instructions, 351 conversations about pictures, 1,404
grounded captions and grounded instructions, 30 texts and 15 interleaved
documents. How the 1,404 are shared out is not published: here one half are
captions, a quarter expressions to be found, a quarter boxes to be described.

`divide=64` takes a 64th of each, at least one, for small machines. Raw files
are looked for in `raw/`, see the README of each data set; other places:

  --config.data.builders.grit.shards='/data/grit/*.tar'
"""

import math

from ml_collections import ConfigDict

from configs import common

# Name, data set, recipe and its options, examples a step, and tokens of an
# example, pictures' latents included: what rows are made for.
_KINDS = (
  (
    "language_instruction",
    "instructions",
    "language_instruction",
    {},
    117,
    150,
  ),
  ("instruction", "llava_instruct", "instruction", {}, 351, 470),
  (
    "grounded_caption",
    "grit",
    "grounded_caption",
    {"mode": "phrase", "tag_probability": 1.0},
    702,
    115,
  ),
  ("referring", "grit", "referring", {"items": "ref_exps"}, 351, 110),
  (
    "region_description",
    "grit",
    "region_description",
    {"items": "ref_exps"},
    351,
    110,
  ),
  ("text", "text", "text", {}, 30, 2048),
  ("interleaved", "interleaved", "interleaved", {}, 15, 1300),
)
_SEQ_LEN = 2048
_VOCAB_SIZE = 65_037
# Rows are not filled to the last token, and steps differ.
_FILLED = 0.95
# A number of rows that divides among devices.
_ROWS_AT_A_TIME = 8


def get_config(arg: str = "") -> ConfigDict:
  """The run.

  `arg` may set `divide`, `preset`, a name of `presets.py`, `mesh`, one of
  `common.MESHES`, and `tune`, one of `common.TUNES`.
  """
  args = common.parse_arg(arg, divide=1, preset="kosmos2", mesh="", tune="full")
  if args.divide < 1:
    raise ValueError(f"divide is at least 1, found {args.divide}")
  config = common.base(args.preset)
  config.num_steps = 10_000
  config.model.dtype = "bfloat16"
  config.model.remat = "dots"
  if args.preset == "kosmos2":
    # Of the released tokenizer, which comes with the checkpoint.
    config.model.vocab_size = _VOCAB_SIZE
    config.mesh.data, config.mesh.fsdp = 1, -1
  config.data.kinds, num_tokens = (), 0
  for name, dataset, recipe, options, per_step, tokens in _KINDS:
    per_step = max(1, per_step // args.divide)
    num_tokens += per_step * tokens
    config.data.kinds += (
      common.kind(name, dataset, recipe, per_step, **options),
    )
  config.data.seq_len = _SEQ_LEN
  config.data.pack = True
  rows = num_tokens / (_FILLED * _SEQ_LEN)
  config.data.rows_per_step = _ROWS_AT_A_TIME * math.ceil(
    rows / _ROWS_AT_A_TIME
  )
  # Captions are short: a row of them alone has as many.
  config.data.images_per_row = 20
  config.data.builders = ConfigDict(
    {
      "instructions": {"files": "raw/instructions/*.jsonl"},
      "llava_instruct": {
        "conversations": "raw/llava/llava_instruct_150k.json",
        "pictures": "raw/coco/train2017.zip",
        "shorter_side": 256,
      },
      "grit": {"shards": "raw/grit/*.tar"},
      "text": {"files": "raw/text/*.jsonl"},
      "interleaved": {
        "documents": "raw/interleaved/*.jsonl",
        "pictures": "raw/interleaved/pictures",
      },
    }
  )
  config.optimizer.learning_rate = 1e-5
  common.tune(config, args.tune)
  if args.mesh:
    common.on_mesh(config, args.mesh)
  return config

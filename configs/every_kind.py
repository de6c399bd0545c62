"""Trains on every kind of data at once, from the examples in `data/`.

  python train.py --config=configs/every_kind.py --workdir=runs/every_kind

Cost: two minutes on two CPU cores. There is nothing to learn from so few
examples: this run shows that all kinds read, mix and pack, logs the loss of
each, and is a place to copy the lines for one's own mixture from.

`packed=false` gives every example a row of its own.
"""

from ml_collections import ConfigDict

from configs import common

_PHOTOS = "data/jsonl/example"


def get_config(arg: str = "") -> ConfigDict:
  """The run; `arg` may set `packed`."""
  args = common.parse_arg(arg, packed=True)
  config = common.base("shapes")
  config.num_steps = 200
  config.model.unroll = 8
  config.data.kinds = (
    common.kind("text", "text", "text", 2),
    common.kind("image_caption", "image_text", "plain_caption", 2),
    common.kind(
      "grounded_phrases", "grit", "grounded_caption", 2, mode="phrase"
    ),
    common.kind(
      "grounded_expressions", "grit", "grounded_caption", 2, mode="expression"
    ),
    common.kind("referring", "grit", "referring", 2, items="ref_exps"),
    common.kind(
      "region_description", "grit", "region_description", 2, items="ref_exps"
    ),
    common.kind("shapes", "shapes", "referring", 2),
    common.kind("interleaved", "interleaved", "interleaved", 2),
    common.kind("captions", "flickr30k", "plain_caption", 1),
    common.kind("questions", "vqav2", "grounded_vqa", 1),
    common.kind("conversations", "llava_instruct", "instruction", 1),
    common.kind(
      "language_instruction", "instructions", "language_instruction", 1
    ),
    common.kind("ref_expressions", "refcoco", "referring", 1),
    common.kind("entities", "flickr30k_entities", "grounded_caption", 1),
    common.kind("regions", "visual_genome", "region_description", 1),
    common.kind("own", "jsonl", "by_fields", 5),
  )
  config.data.seq_len = 256
  config.data.view = "squash"
  config.data.images_per_row = 6
  config.data.pack = args.packed
  config.data.rows_per_step = 12
  config.data.pack_groups = 4
  config.data.builders = ConfigDict(
    {
      "text": {"files": "data/text/example/example.jsonl"},
      "image_text": {"shards": "data/grit/photos/*.tar"},
      "grit": {"shards": "data/grit/photos/*.tar"},
      "shapes": {"config": "tiny"},
      "interleaved": {
        "documents": "data/interleaved/example/docs.jsonl",
        "pictures": _PHOTOS,
      },
      "flickr30k": {
        "captions": "data/flickr30k/example/dataset_flickr30k.json",
        "pictures": _PHOTOS,
        "splits": "train",
        "one_per_caption": True,
      },
      "vqav2": {
        "questions": "data/vqav2/example/v2_*_questions.json",
        "annotations": "data/vqav2/example/v2_*_annotations.json",
        "pictures": "data/vqav2/example",
      },
      "llava_instruct": {
        "conversations": "data/llava_instruct/example/example.json",
        "pictures": _PHOTOS,
      },
      "instructions": {"files": "data/instructions/example/example.jsonl"},
      "refcoco": {
        "dataset": "refcoco",
        "annotations": "data/refcoco/example",
        "pictures": _PHOTOS,
      },
      "flickr30k_entities": {
        "annotations": "data/flickr30k_entities/example",
        "pictures": _PHOTOS,
      },
      "visual_genome": {
        "annotations": "data/visual_genome/example",
        "pictures": _PHOTOS,
      },
      "jsonl": {"files": f"{_PHOTOS}/example.jsonl"},
    }
  )
  config.optimizer.learning_rate = 1e-3
  config.optimizer.warmup_steps = 20
  config.log_every = 20
  config.save_every = 100
  return config

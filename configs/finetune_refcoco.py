"""Fine-tunes Kosmos-2 on RefCOCO: the box of an expression.

  python train.py --config=configs/finetune_refcoco.py --workdir=runs/refcoco \
    --config.init_from=CHECKPOINT \
    --config.data.tokenizer=sentencepiece.bpe.model \
    --config.data.builders.refcoco.annotations=mdetr_annotations \
    --config.data.builders.refcoco.pictures=train2014.zip

The data is fetched by hand, see data/refcoco/README.md. `dataset=refcoco+` or
`refcocog` after the config's name and a colon takes one of the other two, and
`tune=lora`, `decoder`, `resampler` or `vision_last_2` trains a part of the
model (docs/finetuning.md).

Cost: 5,000 updates of 64 pictures, about 19 times through the 16,994 pictures
of RefCOCO's training split; it has not been run at full size.
Score: Kosmos-2's own, tuned on RefCOCO, was never published. Without tuning it
has 52.3 / 57.4 / 47.3 (val / testA / testB); Florence-2-L, tuned, has
93.4 / 95.3 / 92.0.
"""

from ml_collections import ConfigDict

from configs import common, tunes

# Splits that are evaluated.
SPLITS = {
  "refcoco": ("val", "testA", "testB"),
  "refcoco+": ("val", "testA", "testB"),
  "refcocog": ("val", "test"),
}


def get_config(arg: str = "") -> ConfigDict:
  """The run; `arg` may set `batch`, `dataset`, `preset` and `tune`."""
  args = common.parse_arg(
    arg, batch=64, dataset="refcoco", preset="kosmos2", tune="full"
  )
  if args.dataset not in SPLITS:
    raise ValueError(
      f"dataset is one of {', '.join(SPLITS)}, found {args.dataset!r}"
    )
  config = common.base(args.preset)
  config.num_steps = 5000
  config.model.dtype = "bfloat16"
  config.model.remat = "full"
  # 64 image tokens, and ten expressions of a picture.
  config.data.seq_len = 256
  # What is evaluated is the whole picture, so that is what is learnt.
  config.data.view = "squash"
  config.data.kinds = (
    common.kind("referring", "refcoco", "referring", args.batch),
  )
  config.data.builders.refcoco = ConfigDict(
    {
      "dataset": args.dataset,
      "annotations": "data/refcoco/annotations",
      "pictures": "data/refcoco/train2014.zip",
      "group_by_image": True,
      # Twice what the model sees.
      "shorter_side": 448,
    }
  )
  config.optimizer.learning_rate = 1e-5
  config.optimizer.warmup_steps = 200
  tunes.tune(config, args.tune)
  config.save_every = 1000
  config.checkpoint.best_metric = "val/accuracy"
  config.evals.every_steps = 1000
  config.evals.tasks = tuple(
    common.evaluation(
      split,
      "refcoco",
      split,
      evaluator="referring",
      num_examples=500 if split == "val" else 0,
      final_examples=-1,
    )
    for split in SPLITS[args.dataset]
  )
  return config

"""Every benchmark of the Kosmos-2 paper, for `eval.py`.

  python eval.py --config=configs/benchmarks.py:files=DIR \
    --checkpoint=CHECKPOINT --output=evals/kosmos2

`files` is a folder with the benchmarks' own files, as they are published:

  mdetr_annotations/finetune_{refcoco,refcoco+,refcocog}_{split}.json
  mdetr_annotations/final_flickr_separateGT_{val,test}.json
  flickr30k_entities/{Annotations,Sentences,val.txt,test.txt}  instead of those
  flickr30k-images/                     pictures of Flickr30k
  karpathy/dataset_{flickr30k,coco}.json
  train2014.zip val2014.zip test2015.zip                       COCO's pictures
  vqav2/v2_*_questions.json vqav2/v2_*_annotations.json
  pope/coco_pope_{random,popular,adversarial}.json
  seed_bench/SEED-Bench.json seed_bench/pictures/
  language/{hellaswag,…}/{split}.jsonl

What is not there is not run, and said so; any place can be changed, such as
--config.data.builders.vqav2.pictures=/coco/val2014.zip. Data sets are prepared
on first use. `docs/benchmarks/` has each task's source, protocol and published
numbers.

Cost: not measured at full size; it is asked in batches, and goes on where it
was killed. Score: the table in docs/evaluation.md is what is published.
"""

from ml_collections import ConfigDict

from configs import common

# Splits whose expressions are asked about.
EXPRESSIONS = {
  "refcoco": ("val", "testA", "testB"),
  "refcoco+": ("val", "testA", "testB"),
  "refcocog": ("val", "test"),
}
# The paper's names, and those of lm-evaluation-harness.
LANGUAGE = {
  "storycloze": "storycloze_2016",
  "hellaswag": "hellaswag",
  "winograd": "wsc273",
  "winogrande": "winogrande",
  "piqa": "piqa",
  "boolq": "boolq",
  "cb": "cb",
  "copa": "copa",
}
# Stored pictures are twice what the model sees.
SIDE = 448


def get_config(arg: str = "") -> ConfigDict:
  """The tasks; `arg` may set `files` and `batch`."""
  args = common.parse_arg(arg, files="benchmarks", batch=64)
  config = common.base("kosmos2")
  config.evals.batch_size = args.batch
  config.evals.num_pictures = 400
  config.data.builders = _builders(args.files)
  config.evals.tasks = (
    *_referring(),
    *_grounding(),
    *_words(),
    *_questions(),
    *_language(f"{args.files}/language"),
  )
  return config


def _task(
  name: str, dataset: str, split: str, evaluator: str, **options
) -> ConfigDict:
  return common.evaluation(
    name,
    dataset,
    split,
    evaluator=evaluator,
    num_examples=0,
    final_examples=-1,
    **options,
  )


def _referring():
  for dataset, splits in EXPRESSIONS.items():
    for split in splits:
      for protocol in ("original", "constrained"):
        # The published protocol has the plain name.
        ending = "" if protocol == "original" else f"_{protocol}"
        yield _task(
          f"{dataset}_{split}{ending}",
          dataset,
          split,
          "referring",
          protocol=protocol,
        )


def _grounding():
  for split in ("val", "test"):
    name = f"flickr30k_entities_{split}"
    dataset = "flickr30k_entities"
    yield _task(name, dataset, split, "phrase_grounding", protocol="original")
    yield _task(
      f"{name}_exact", dataset, split, "phrase_grounding", protocol="exact"
    )


def _words():
  for shots in (0, 2, 4):
    ending = f"_{shots}_shot" if shots else ""
    yield _task(
      f"reg_refcocog{ending}",
      "refcocog",
      "val",
      "expression_generation",
      shots=shots,
    )
  yield _task("flickr30k_caption", "flickr30k", "test", "caption")
  yield _task("coco_caption", "coco_captions", "test", "caption")


def _questions():
  yield _task("vqav2_val", "vqav2", "validation", "vqa")
  yield _task("vqav2_test_dev", "vqav2_test_dev", "test_dev", "vqa")
  for split in ("random", "popular", "adversarial"):
    yield _task(f"pope_{split}", "pope", split, "pope")
  yield _task("seed_bench", "seed_bench", "test", "seed_bench")


def _language(files: str):
  for name, task in LANGUAGE.items():
    yield _task(name, "", "", "language", task=task, files=files)


def _builders(files: str) -> ConfigDict:
  """Where the files of every data set lie."""
  builders = {
    dataset: {
      "builder": "refcoco",
      "dataset": dataset,
      "annotations": f"{files}/mdetr_annotations",
      "pictures": f"{files}/train2014.zip",
      "shorter_side": SIDE,
    }
    for dataset in EXPRESSIONS
  }
  builders["flickr30k_entities"] = {
    "annotations": f"{files}/mdetr_annotations",
    "pictures": f"{files}/flickr30k-images",
    "shorter_side": SIDE,
  }
  builders["flickr30k"] = {
    "captions": f"{files}/karpathy/dataset_flickr30k.json",
    "pictures": f"{files}/flickr30k-images",
    "splits": "test",
    "shorter_side": SIDE,
  }
  builders["coco_captions"] = {
    "captions": f"{files}/karpathy/dataset_coco.json",
    "pictures": f"{files}/val2014.zip",
    "splits": "test",
    "shorter_side": SIDE,
  }
  questions = f"{files}/vqav2/v2_OpenEnded_mscoco"
  builders["vqav2"] = {
    "questions": f"{questions}_val2014_questions.json",
    "annotations": f"{files}/vqav2/v2_mscoco_val2014_annotations.json",
    "pictures": f"{files}/val2014.zip",
    "shorter_side": SIDE,
  }
  # Apart, so that one is run where the other's pictures are not there.
  builders["vqav2_test_dev"] = {
    "builder": "vqav2",
    "questions": f"{questions}_test-dev2015_questions.json",
    "pictures": f"{files}/test2015.zip",
    "shorter_side": SIDE,
  }
  builders["pope"] = {
    "questions": f"{files}/pope/coco_pope_*.json",
    "pictures": f"{files}/val2014.zip",
    "shorter_side": SIDE,
  }
  builders["seed_bench"] = {
    "questions": f"{files}/seed_bench/SEED-Bench.json",
    "pictures": f"{files}/seed_bench/pictures",
    "shorter_side": SIDE,
  }
  return ConfigDict(builders)

"""Every benchmark of the paper, each with its data set."""

import pathlib

import pytest

import data
from configs import benchmarks
from kosmos2_jax import evals

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config():
  return benchmarks.get_config("files=/x,batch=8")


def tasks_of(config):
  return {task.name: task for task in config.evals.tasks}


def test_all_tasks_of_the_paper_are_there(config):
  names = set(tasks_of(config))
  assert len(names) == len(config.evals.tasks)
  expressions = {
    f"{dataset}_{split}"
    for dataset, splits in benchmarks.EXPRESSIONS.items()
    for split in splits
  }
  assert len(expressions) == 8
  assert names >= expressions | {f"{name}_constrained" for name in expressions}
  assert names >= {
    "flickr30k_entities_val",
    "flickr30k_entities_test",
    "reg_refcocog",
    "reg_refcocog_2_shot",
    "reg_refcocog_4_shot",
    "flickr30k_caption",
    "coco_caption",
    "vqav2_val",
    "vqav2_test_dev",
    "pope_random",
    "pope_popular",
    "pope_adversarial",
    "seed_bench",
    *benchmarks.LANGUAGE,
  }
  assert len(benchmarks.LANGUAGE) == 8


def test_they_can_be_made_and_their_names_are_folders(config):
  entries = [task.to_dict() for task in config.evals.tasks]
  tasks = evals.make_tasks(entries)
  assert len(tasks) == len(entries)
  protocols = {task.evaluator.protocol for task in tasks.values()}
  assert all("\n" not in protocol for protocol in protocols)
  # The published protocol has the plain name, the constrained one says so.
  plain = tasks["refcoco_val"].evaluator.protocol
  assert plain.startswith("original")
  assert tasks["refcoco_val_constrained"].evaluator.protocol != plain


def test_published_numbers_are_found_by_the_names_of_the_data(config):
  tasks = evals.make_tasks([task.to_dict() for task in config.evals.tasks])
  without = {
    name
    for name, task in tasks.items()
    if not task.evaluator.published(task.dataset, task.split)
  }
  # What the paper does not print.
  assert without <= {
    "coco_caption",
    "pope_random",
    "pope_popular",
    "pope_adversarial",
    "seed_bench",
  }


def test_every_data_set_has_its_builder_and_takes_its_options(config):
  builders = config.data.builders.to_dict()
  for task in config.evals.tasks:
    if not task.dataset:
      continue
    options = builders[task.dataset]
    name = options.pop("builder", task.dataset)
    builders[task.dataset] = {"builder": name, **options}
    known = set(data.builder_class(name).ARGUMENTS)
    assert set(options) <= known, task.name
  # Paths begin where the argument says.
  for options in builders.values():
    assert any(str(value).startswith("/x/") for value in options.values())


def test_a_data_set_that_is_not_there_says_so(config, tmp_path):
  load = data.loader(tmp_path, config.data.builders.to_dict())
  for task in config.evals.tasks:
    if task.dataset:
      with pytest.raises(FileNotFoundError, match="/x/"):
        load(task.dataset, task.split)


def test_one_builder_under_several_names(tmp_path):
  files = {
    "annotations": str(ROOT / "data/refcoco/example"),
    "pictures": str(ROOT / "data/jsonl/example"),
    "dataset": "refcoco",
  }
  load = data.loader(
    tmp_path, {"mine": {"builder": "refcoco", **files}, "refcoco": files}
  )
  mine, plain = load("mine", "val"), load("refcoco", "val")
  assert mine.name == plain.name
  assert len(mine) == len(plain) > 0
  with pytest.raises(ValueError, match="one of .* found 'other'"):
    load("other", "val")

"""The eight language tasks on local files, as lm-evaluation-harness knows them.

What is asked and how it is scored are the harness's own definitions; only
where their data come from is changed, from a data set of a hub to JSON Lines
on the disk, one row a line with the fields of that data set:

    FOLDER/hellaswag/validation.jsonl    asked
    FOLDER/hellaswag/train.jsonl         examples for few-shot prompts
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kosmos2_jax.evals import harness


class LanguageTask(NamedTuple):
  """Where a task comes from.

  Attributes:
    definition: of the harness, beneath its folder of tasks.
    asked: the split whose rows are asked.
    shots: the split that few-shot examples are drawn from.
    fields: what every row has, and of which types.
  """

  definition: str
  asked: str
  shots: str
  fields: Mapping[str, tuple[type, ...]]


def _texts(names: str, **others: tuple[type, ...]) -> Mapping[str, Any]:
  return dict.fromkeys(names.split(), (str,)) | others


_LABEL = (int,)
_STORY = "input_sentence_1 input_sentence_2 input_sentence_3 input_sentence_4"

TASKS = {
  "storycloze_2016": LanguageTask(
    "storycloze/storycloze_2016.yaml",
    "test",
    "validation",
    _texts(
      f"{_STORY} sentence_quiz1 sentence_quiz2", answer_right_ending=_LABEL
    ),
  ),
  "hellaswag": LanguageTask(
    "hellaswag/hellaswag.yaml",
    "validation",
    "train",
    _texts("activity_label ctx_a ctx_b", endings=(list,), label=(str, int)),
  ),
  "wsc273": LanguageTask(
    "wsc273/default.yaml",
    "test",
    "test",
    _texts("text pronoun", pronoun_loc=(int,), options=(list,), label=_LABEL),
  ),
  "winogrande": LanguageTask(
    "winogrande/default.yaml",
    "validation",
    "train",
    _texts("sentence option1 option2 answer"),
  ),
  "piqa": LanguageTask(
    "piqa/piqa.yaml",
    "validation",
    "train",
    _texts("goal sol1 sol2", label=_LABEL),
  ),
  "boolq": LanguageTask(
    "super_glue/boolq/default.yaml",
    "validation",
    "train",
    _texts("passage question", label=_LABEL),
  ),
  "cb": LanguageTask(
    "super_glue/cb/default.yaml",
    "validation",
    "train",
    _texts("premise hypothesis", label=_LABEL),
  ),
  "copa": LanguageTask(
    "super_glue/copa/default.yaml",
    "validation",
    "train",
    _texts("premise choice1 choice2 question", label=_LABEL),
  ),
}


def files(
  folder: str | os.PathLike, name: str, num_fewshot: int = 0
) -> dict[str, Path]:
  """Returns the files of a task: split -> path.

  Args:
    folder: see the module.
    name: of `TASKS`.
    num_fewshot: examples before each question; above 0 their split is needed.

  Raises:
    FileNotFoundError: if one is missing.
    ValueError: for a file whose rows are not the task's.
  """
  task = TASKS[name]
  found = {}
  for split in dict.fromkeys((task.asked, task.shots)):
    path = Path(folder) / name / f"{split}.jsonl"
    needed = split == task.asked or num_fewshot > 0
    if path.is_file():
      count = _check(path, task)
      if needed and split == task.shots and count <= num_fewshot:
        raise ValueError(
          f"{str(path)!r} has {count} rows; {num_fewshot} examples before each"
          f" question need at least {num_fewshot + 1}."
        )
      found[split] = path
    elif needed:
      raise FileNotFoundError(
        f"the task {name!r} reads {str(path)!r}, which is not there; its rows"
        f" have the fields {sorted(task.fields)}, see"
        " docs/benchmarks/language.md."
      )
  return found


def _check(path: Path, task: LanguageTask) -> int:
  """Looks at every row of a file; returns how many they are."""
  count = 0
  with path.open(encoding="utf-8") as lines:
    for number, line in enumerate(lines, 1):
      if not line.strip():
        continue
      where = f"{str(path)!r}, line {number}"
      try:
        row = json.loads(line)
      except json.JSONDecodeError as error:
        raise ValueError(f"{where}: this is no JSON ({error}).") from error
      if not isinstance(row, dict):
        raise ValueError(f"{where}: a row is a JSON object; got {line[:40]!r}.")
      for field, types in task.fields.items():
        if not isinstance(row.get(field), types):
          raise ValueError(
            f"{where}: {field!r} must be"
            f" {' or '.join(kind.__name__ for kind in types)}; got"
            f" {row.get(field, 'nothing')!r}."
          )
      count += 1
  if not count:
    raise ValueError(f"{str(path)!r} has no rows.")
  return count


def write_definition(
  name: str, paths: Mapping[str, Path], target: Path
) -> Path:
  """Writes the harness's definition of a task with its data taken from files.

  Args:
    name: of `TASKS`.
    paths: split -> file; splits that are not here do not exist for the task.
    target: folder for the definition and what is cached of the files.

  Returns:
    The definition, a YAML file, as `lm_eval --tasks` takes it.

  Raises:
    ModuleNotFoundError, FileNotFoundError: if the harness is not installed,
      or does not have the task.
  """
  task = TASKS[name]
  folder = Path(harness.library().__file__).parent / "tasks"
  if not (folder / task.definition).is_file():
    raise FileNotFoundError(
      f"the installed lm_eval has no {task.definition!r}; install the version"
      " that kosmos2_jax[eval] asks for."
    )
  splits = {
    f"{kind}_split": split if split in paths else None
    for kind, split in (
      ("training", "train"),
      ("validation", "validation"),
      ("test", "test"),
    )
  }
  content = {
    "include": str(folder / task.definition),
    "dataset_path": "json",
    "dataset_name": None,
    "dataset_kwargs": {
      "data_files": {
        split: str(path.resolve()) for split, path in paths.items()
      },
      "cache_dir": str(target / "cache"),
      "keep_in_memory": True,  # the folder may go before the task
    },
    **splits,
  }
  if task.shots == task.asked:
    # Named so that the harness leaves out the row that is asked.
    content["fewshot_split"] = task.shots
  path = target / f"{name}.yaml"
  path.write_text(json.dumps(content, indent=2) + "\n")  # JSON is YAML
  return path


def load(
  name: str,
  paths: Mapping[str, Path],
  *,
  num_fewshot: int = 0,
  seed: int = 0,
) -> Any:
  """Returns the harness's `Task` of some files; nothing else is read.

  Args:
    name: of `TASKS`.
    paths: see `write_definition`.
    num_fewshot: examples before each question.
    seed: which examples.

  Raises:
    ModuleNotFoundError, FileNotFoundError: see `write_definition`.
  """
  with tempfile.TemporaryDirectory() as folder:
    definition = write_definition(name, paths, Path(folder))
    task = harness.load_task(definition)
  task.set_config("num_fewshot", num_fewshot)
  task.set_fewshot_seed(seed)
  return task

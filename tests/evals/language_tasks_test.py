"""Local files of language tasks: where they lie, what is wrong with them."""

import json

import pytest

from kosmos2_jax.evals import harness, language_tasks
from tests.evals import language_rows


@pytest.fixture
def folder(tmp_path):
  return language_rows.write(tmp_path / "language")


def test_every_task_finds_its_files(folder):
  for name, task in language_tasks.TASKS.items():
    found = language_tasks.files(folder, name, num_fewshot=1)
    assert set(found) == {task.asked, task.shots}
    assert all(path.is_file() for path in found.values())


def test_examples_need_not_be_there_where_none_is_shown(tmp_path):
  folder = language_rows.write(tmp_path / "language", shots=False)
  assert set(language_tasks.files(folder, "piqa")) == {"validation"}
  with pytest.raises(FileNotFoundError, match="'piqa' reads .*train.jsonl'"):
    language_tasks.files(folder, "piqa", num_fewshot=1)


def test_a_missing_file_is_one_sentence(tmp_path):
  with pytest.raises(FileNotFoundError) as raised:
    language_tasks.files(tmp_path, "copa")
  message = str(raised.value)
  assert "copa/validation.jsonl', which is not there" in message
  assert "'choice1', 'choice2', 'label', 'premise', 'question'" in message
  assert "\n" not in message


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("{", "line 2: this is no JSON"),
    ("[1]", r"line 2: a row is a JSON object; got '\[1\]"),
    ('{"premise": "a"}', "line 2: 'choice1' must be str; got 'nothing'"),
    (
      json.dumps(language_rows.COPA[0] | {"label": "0"}),
      "line 2: 'label' must be int; got '0'",
    ),
  ],
)
def test_a_wrong_row_is_named(folder, line, message):
  path = folder / "copa" / "validation.jsonl"
  path.write_text(f"{json.dumps(language_rows.COPA[0])}\n{line}\n")
  with pytest.raises(ValueError, match=message):
    language_tasks.files(folder, "copa")


def test_a_file_without_rows_is_refused(folder):
  (folder / "copa" / "validation.jsonl").write_text("\n\n")
  with pytest.raises(ValueError, match="has no rows"):
    language_tasks.files(folder, "copa")


def test_examples_must_suffice(folder):
  rows = len(language_rows.SHOTS["copa"])
  language_tasks.files(folder, "copa", rows - 1)
  with pytest.raises(ValueError, match=f"has {rows} rows; {rows} examples"):
    language_tasks.files(folder, "copa", rows)


def test_a_definition_is_the_harnesss_with_other_data(folder, tmp_path):
  paths = language_tasks.files(folder, "hellaswag")
  path = language_tasks.write_definition("hellaswag", paths, tmp_path)
  content = json.loads(path.read_text())
  assert content["include"].endswith("lm_eval/tasks/hellaswag/hellaswag.yaml")
  assert content["dataset_path"] == "json"
  assert content["dataset_kwargs"]["data_files"] == {
    split: str(file) for split, file in paths.items()
  }
  task = harness.load_task(path)
  assert task.config.doc_to_text == "{{query}}"
  assert task.VERSION == 1.0


def test_a_harness_without_the_task_is_told(folder, tmp_path, monkeypatch):
  task = language_tasks.TASKS["copa"]._replace(definition="gone.yaml")
  monkeypatch.setitem(language_tasks.TASKS, "copa", task)
  with pytest.raises(FileNotFoundError, match="has no 'gone.yaml'"):
    language_tasks.load("copa", language_tasks.files(folder, "copa"))

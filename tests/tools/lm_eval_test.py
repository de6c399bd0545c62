"""The command: the harness's own, with our model and local files."""

import argparse
import json
import os
import subprocess
import sys

import jax
import pytest

from kosmos2_jax.evals import language
from kosmos2_jax.evals.protocol import Record
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.tools import lm_eval
from tests.convert.samples import huggingface_folder
from tests.evals import language_rows


def read(**values):
  given = {"data": None, "tasks": [], "num_fewshot": None, "traceback": False}
  return argparse.Namespace(**given | values)


def test_our_model_and_its_own_batch_size_are_the_defaults(tmp_path):
  words = ["--model_args", "pretrained=runs/a"]
  assert lm_eval.arguments(read(tasks=["a,b", "c"]), words, tmp_path) == [
    "run",
    *words,
    *["--tasks", "a", "b", "c", "--model", "kosmos2_jax"],
    *["--batch_size", "auto"],
  ]


def test_what_is_given_stays(tmp_path):
  words = ["run", "--model=hf", "-b", "4"]
  assert lm_eval.arguments(
    read(tasks=["a"], num_fewshot="3"), words, tmp_path
  ) == [*words, "--tasks", "a", "--num_fewshot", "3"]


def test_other_commands_pass(tmp_path):
  assert lm_eval.arguments(read(), ["ls", "tasks"], tmp_path) == ["ls", "tasks"]
  assert lm_eval.arguments(read(), ["--help"], tmp_path) == ["--help"]


def test_tasks_with_local_files_become_definitions(tmp_path):
  data = language_rows.write(tmp_path / "language")
  words = lm_eval.arguments(
    read(tasks=["piqa,other"], data=str(data)), [], tmp_path
  )
  definition = tmp_path / "piqa.yaml"
  assert words[:4] == ["run", "--tasks", str(definition), "other"]
  files = json.loads(definition.read_text())["dataset_kwargs"]["data_files"]
  assert files["validation"] == str(data / "piqa" / "validation.jsonl")


def test_a_mistake_is_one_sentence(tmp_path, capsys, monkeypatch):
  for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
    monkeypatch.setenv(name, "1")  # and are taken back
  command = ["lm_eval", f"--data={tmp_path}", "--tasks", "copa"]
  assert lm_eval.main(command) == 2
  error = capsys.readouterr().err
  assert error.startswith("lm_eval: the task 'copa' reads '")
  assert error.count("\n") == 1
  with pytest.raises(FileNotFoundError):
    lm_eval.main([*command, "--traceback"])


@pytest.mark.slow
def test_all_tasks_on_a_checkpoint_offline(tmp_path):
  """Their file of results and our records say the same."""
  folder, _ = huggingface_folder(tmp_path / "checkpoint")
  data = language_rows.write(tmp_path / "language")
  home = tmp_path / "home"
  home.mkdir()
  output = tmp_path / "output"
  command = [
    *[sys.executable, "-m", "kosmos2_jax.tools.lm_eval"],
    *[f"--data={data}", "--model_args", f"pretrained={folder}"],
    *["--tasks", ",".join(language_rows.ROWS), "--num_fewshot=1"],
    *[f"--output_path={output}", "--log_samples"],
  ]
  environment = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("HF_", "XDG_"))
  }
  environment |= {
    "HOME": str(home),
    "https_proxy": "http://127.0.0.1:9",  # where nobody answers
    # What earlier runs compiled.
    "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
  }
  done = subprocess.run(
    command,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert "|piqa" in done.stdout.replace(" ", "")
  [file] = output.rglob("results_*.json")
  theirs = json.loads(file.read_text())
  predictor = Predictor.from_pretrained(folder)
  for name in language_rows.ROWS:
    evaluator = language.LanguageChoice(task=name, files=data, num_fewshot=1)
    questions = list(evaluator.questions())
    records = [
      Record(q.id, q.group, q.ask, q.truth, answer)
      for q, answer in zip(
        questions, evaluator.ask(predictor, questions), strict=True
      )
    ]
    for metric, found in evaluator.score(records).metrics.items():
      assert 100 * theirs["results"][name][f"{metric},none"] == found.value
    [file] = output.rglob(f"samples_{name}_*.jsonl")
    samples = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(samples) == len(records)
    for sample, record in zip(samples, records, strict=True):
      log_probs = [float(answer[0][0]) for answer in sample["resps"]]
      # The same rows in batches of another size.
      assert log_probs == pytest.approx(record.answer["log_probs"], abs=1e-3)
  # Nothing is kept where nobody asked for it.
  kept = [path for path in home.rglob("*") if path.is_file()]
  assert not kept

"""The folder of an evaluation.

results.json results.md       numbers, and the table of published ones beside
report.html predictions.png   cases with their pictures
TASK/predictions.jsonl        see `store`; beside it a task's further files
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from kosmos2_jax.evals import html_report, report
from kosmos2_jax.evals.results import Results
from kosmos2_jax.evals.store import Store
from kosmos2_jax.evals.tasks import Task
from kosmos2_jax.training.processes import ALONE, Group

PREDICTIONS_FILE = "predictions.jsonl"
RESULTS_FILE = "results.json"
TABLE_FILE = "results.md"
REPORT_FILE = "report.html"
PICTURES_FILE = "predictions.png"


def open_stores(
  folder: str | os.PathLike,
  tasks: Mapping[str, Task],
  counts: Mapping[str, int],
  model: Mapping[str, Any],
  restart: bool = False,
  group: Group = ALONE,
  *,
  other: str = "refuse",
) -> dict[str, Store]:
  """Where the answers of each task are kept.

  Args:
    folder: of the evaluation. Lines can be added on disks alone: where it is
      remote (`gs://…`), nothing is kept.
    tasks: that are run.
    counts: how many examples of each are asked about; all if not here.
    model: whose answers they are: `checkpoint`, `checkpoint_hash`, `step`.
    restart: see `Store`.
    group: see `Store`.
    other: see `Store`.
  """
  if "://" in os.fspath(folder):
    return {}
  return {
    name: Store(
      epath.Path(folder) / name / PREDICTIONS_FILE,
      {**task.header(counts.get(name, -1)), **model},
      restart=restart,
      other=other,
      group=group,
    )
    for name, task in tasks.items()
  }


def write_all(
  results: Results,
  folder: str | os.PathLike,
  *,
  tasks: Mapping[str, Task],
  config: str,
  checkpoint: str,
  checkpoint_hash: str | None,
  step: int | None,
  command: Sequence[str],
  with_report: bool = True,
  report_file: str = REPORT_FILE,
) -> None:
  """Writes everything but the predictions, which are there already.

  Args:
    results: of `evals.run`.
    folder: where to; it is made.
    tasks: that were run.
    config: name of the config.
    checkpoint: where the parameters came from.
    checkpoint_hash: what tells them from all others.
    step: their training step, where known.
    command: that was given, word by word.
    with_report: also the files with pictures.
    report_file: what the HTML report is called; the end of a training run has
      a report of the whole run beside it.
  """
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  report.write_results(
    results,
    folder / RESULTS_FILE,
    tasks=tasks,
    config=config,
    checkpoint=checkpoint,
    checkpoint_hash=checkpoint_hash,
    step=step,
    command=command,
    not_run=results.not_run,
  )
  (folder / TABLE_FILE).write_text(report.markdown_table(results, tasks))
  for name, outcome in results.items():
    for file, content in outcome.evaluator.files(outcome.records).items():
      path = folder / name / file
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(content)
  if not with_report:
    return
  html_report.write(
    results,
    tasks,
    folder / report_file,
    title=f"{checkpoint} on {config}",
    checkpoint=checkpoint,
    config=config,
    command=command,
    step=step,
    not_run=results.not_run,
  )
  if any(outcome.cases for outcome in results.values()):
    report.draw_predictions(results, folder / PICTURES_FILE)

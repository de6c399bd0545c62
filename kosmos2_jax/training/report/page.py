"""A run in one HTML file, which needs nothing beside itself.

Pictures, styles and one small script are in it, and its content policy forbids
everything else. Every text is escaped by Jinja2.
"""

import base64
import functools
import hashlib
import importlib.resources
import os
import time
from collections.abc import Mapping
from typing import Any

import jinja2

from kosmos2_jax.evals import html_cards
from kosmos2_jax.training import ledger, workdir
from kosmos2_jax.training.report import (
  curves,
  reading,
  samples,
  settings,
  story,
)
from kosmos2_jax.training.report.reading import Run

# Rows of the tables that say what the charts show.
MAX_ROWS = 60
# Colours that lines have before they begin again, dashed.
NUM_COLORS = 6
# What told a page of an evaluation at the end, when it still had this name.
_OF_EVALUATION = b'<p class="kicker">Evaluation</p>'


def write(folder: str | os.PathLike, *, is_going: bool = False) -> Run:
  """Writes `report.html` of a workdir, whole or not at all.

  Args:
    folder: the workdir.
    is_going: whether this process trains it.

  Returns:
    What was read.

  Raises:
    FileNotFoundError: if there is no run.
    OSError: if the file cannot be written.
  """
  path = workdir.open_folder(folder)
  _make_room(path)
  run = reading.read(path)
  text = render(run, is_going=is_going, now=time.time())
  # Half of a surrogate pair is no character; a model may have copied one.
  content = text.encode("utf-8", "replace")
  workdir.write_whole(path / workdir.REPORT_FILE, content)
  return run


def _make_room(path) -> None:
  """Of an older version the page of the evaluation has this page's name."""
  old, new = path / workdir.REPORT_FILE, path / workdir.EVALUATION_FILE
  if old.exists() and not new.exists() and _OF_EVALUATION in old.read_bytes():
    old.replace(new)


def render(run: Run, *, is_going: bool, now: float) -> str:
  """The page.

  Args:
    run: read from a workdir.
    is_going: whether this process trains it.
    now: seconds since 1970.
  """
  numbers = curves.collect(run.rows)
  starts = story.processes(run.events)
  done = story.steps_done(run)
  last = max([done, *(row["step"] for row in run.rows)])
  again = sorted({start.first for start in starts[1:]})
  account = ledger.account(run.events)
  listed, omitted = story.listed(starts)
  files = {name: f"p{i}" for i, name in enumerate(run.pictures)}
  strips = _strips(run, files)
  cards = [card for *_, rows in strips for row in rows for _, card, _ in row]
  script = _file("run.js")
  return _template().render(
    run=run,
    state=story.state(run, is_going=is_going),
    done=done,
    facts=_facts(run, numbers, account, now),
    command=run.environment.get("command", ""),
    charts=curves.training_charts(numbers, last, again),
    scores=curves.score_charts(numbers, last, again),
    tables=_tables(numbers),
    canvas=curves.CANVAS,
    num_colors=NUM_COLORS,
    has_starts=bool(again),
    final=story.final_scores(run.results),
    final_step=run.results.get("step"),
    evaluation_file=workdir.EVALUATION_FILE,
    strips=strips,
    most_steps=samples.MAX_STEPS,
    card_canvas=html_cards.CANVAS,
    num_phrases=max((len(card.entries) for card in cards), default=0),
    pictures=[
      (name, _url(file, run.pictures[file])) for file, name in files.items()
    ],
    first_batch=run.first_batch and _url("first.png", run.first_batch),
    sections=settings.sections(
      run.config, str(run.environment.get("command", ""))
    ),
    packages=run.environment.get("packages") or {},
    environment=_environment(run.environment),
    account=account,
    uses=story.uses(account),
    total=story.clock(account.total),
    away=story.clock(account.away) if account.away > 0 else "",
    starts=listed,
    num_omitted=omitted,
    script=script,
    script_hash=_hash(script),
  )


@functools.cache
def _template() -> jinja2.Template:
  environment = jinja2.Environment(
    loader=jinja2.ChoiceLoader(
      [
        jinja2.PackageLoader("kosmos2_jax.training.report", "templates"),
        jinja2.PackageLoader("kosmos2_jax.evals", "templates"),
      ]
    ),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  return environment.get_template("run.html")


@functools.cache
def _file(name: str) -> str:
  folder = importlib.resources.files("kosmos2_jax.training.report")
  return (folder / "templates" / name).read_text("utf-8")


def _hash(script: str) -> str:
  digest = hashlib.sha256(script.encode()).digest()
  return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _url(file: str, content: bytes) -> str:
  return html_cards.data_url(content, file.rpartition(".")[2])


def _facts(run, numbers, account, now) -> dict[str, str]:
  """The first lines of the page."""
  found = {}
  if account.starts:
    found["trained for"] = story.clock(account.total)
    found["goodput"] = f"{100 * account.goodput:.1f} %"
    found["starts"] = f"{account.starts:,}"
  kind = run.environment.get("device_kind")
  if kind:
    hosts = run.environment.get("num_hosts", 1)
    on = f" on {hosts:,} hosts" if hosts != 1 else ""
    found["devices"] = f"{run.environment.get('num_devices')} × {kind}{on}"
  if "train/loss" in numbers:
    step, loss = numbers["train/loss"][-1]
    found["loss"] = f"{curves.precise(loss)} at step {step:,}"
  best = story.best(numbers, run.config)
  if best:
    name, value, step = best
    found[f"best {name}"] = f"{curves.precise(value)} at step {step:,}"
  found["this page is of"] = story.moment(now)
  return found


def _environment(environment: Mapping[str, Any]) -> dict[str, str]:
  """What the environment says beside packages and command."""
  names = {
    "device_kind": "device",
    "num_devices": "devices",
    "num_hosts": "hosts",
    "backend": "backend",
    "python": "Python",
    "platform": "platform",
    "kosmos2_jax": "kosmos2_jax",
    "git": "git commit",
  }
  return {
    shown: str(environment[name])
    for name, shown in names.items()
    if environment.get(name) not in (None, "")
  }


def _tables(numbers) -> list[tuple[str, list[str], list[Any]]]:
  """Title, columns and rows: numbers of training, and scores."""
  training = [name for name in numbers if name.startswith("train/")]
  scores = [name for name in numbers if name not in training]
  return [
    (
      title,
      [name.removeprefix("train/") for name in names],
      curves.table(numbers, names, MAX_ROWS),
    )
    for title, names in (("Training", training), ("Evaluations", scores))
    if names
  ]


def _strips(
  run: Run, files: Mapping[str, str]
) -> list[tuple[str, int | None, list]]:
  """Tasks with their only step, if there is just one, and their examples.

  An example is cards by step: the step, the card, and the class of its picture
  with the ratio of its sides, or None.
  """
  found: dict[str, dict[str, list]] = {}
  for step, entries in run.samples.items():
    for entry in entries:
      picture = entry["picture"]
      shown = None
      if picture and picture["file"] in files:
        width, height = picture["size"]
        small = " small" if picture["is_small"] else ""
        shown = f"{files[picture['file']]}{small}", f"{width} / {height}"
      card = html_cards.view_card(
        entry["id"], samples.view_of(entry), entry["quality"]
      )
      rows = found.setdefault(entry["task"], {})
      rows.setdefault(entry["id"], []).append((step, card, shown))
  strips = []
  for task, rows in found.items():
    steps = {step for row in rows.values() for step, _, _ in row}
    only = steps.pop() if len(steps) == 1 else None
    strips.append((task, only, list(rows.values())))
  return strips

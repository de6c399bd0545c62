"""The folder of a run: what is needed to use it without anything else.

config.json              the config it was last started with
model.json               {"sizes": …, "dtype": …}, see `models.presets.build`,
                         and "lora" where there are adapters, see `optim.lora`
sentencepiece.bpe.model  its tokenizer
checkpoints/ metrics/    see `checkpoint` and `metrics`
metrics.jsonl wandb.json see `writers` and `wandb_writer`
environment.json samples/        see `report.environment`, `report.samples`
report.html                      of the run, see `report`
results.json evaluation.html predictions.png     of the evaluation at the end
"""

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from etils import epath

from kosmos2_jax.training.processes import ALONE, Group

CONFIG_FILE = "config.json"
MODEL_FILE = "model.json"
TOKENIZER_FILE = "sentencepiece.bpe.model"
METRICS_FOLDER = "metrics"
RESULTS_FILE = "results.json"
PICTURES_FILE = "predictions.png"
REPORT_FILE = "report.html"
EVALUATION_FILE = "evaluation.html"
_SHARED_SECONDS = 30.0  # shared folders may show new files late


def open_folder(workdir: str | os.PathLike) -> epath.Path:
  """The folder of a run: a local one, made absolute, or `gs://…`."""
  local = "://" not in os.fspath(workdir)
  return epath.Path(os.path.abspath(workdir) if local else workdir)


def read_lora(workdir: str | os.PathLike) -> dict[str, Any] | None:
  """What a run's `MODEL_FILE` says of adapters; None if it has none."""
  file = open_folder(workdir) / MODEL_FILE
  return json.loads(file.read_text()).get("lora") if file.exists() else None


def describe_run(
  workdir: str | os.PathLike,
  config_json: str | None,
  sizes: Mapping[str, Any],
  dtype: str,
  tokenizer_model: bytes,
  *,
  lora: Mapping[str, Any] | None = None,
  group: Group = ALONE,
) -> list[str]:
  """Writes the description of a run, or compares it with the one there is.

  Process 0 does; the others wait, and look whether they see it.

  Args:
    workdir: made if it does not exist; a local path or `gs://…`.
    config_json: the whole config, as JSON; None where no run was.
    sizes: of the model, see `models.presets`.
    dtype: compute type of the model.
    tokenizer_model: the bytes of a SentencePiece model.
    lora: describes the adapters, if there are any; see `optim.lora`.
    group: the processes of the run.

  Returns:
    For each field of the config that differs from the run's last start, one
    line "name: old -> new". Such a run goes on, with the new values.

  Raises:
    ValueError: if the folder holds a run with another model or tokenizer,
      naming the first field that differs and both values.
    OSError: if the folder cannot be written, or is not the same folder for all
      processes.
  """
  folder = epath.Path(workdir)
  if not group.is_main:
    group.wait("the workdir")
    _check_shared(folder)
    return []
  model = {"sizes": sizes, "dtype": dtype}
  if lora is not None:
    model["lora"] = lora
  changes = _describe(folder, config_json, model, tokenizer_model)
  group.wait("the workdir")
  return changes


def _describe(folder, config_json, model, tokenizer_model):
  folder.mkdir(parents=True, exist_ok=True)
  advice = "restore the old value, or start in another --workdir."
  changes = _changes(_read(folder / MODEL_FILE), model)
  if changes:
    raise ValueError(
      f"{str(folder)!r} holds a run with another model ({changes[0]}): {advice}"
    )
  tokenizer_file = folder / TOKENIZER_FILE
  if tokenizer_file.exists() and tokenizer_file.read_bytes() != tokenizer_model:
    raise ValueError(
      f"{str(tokenizer_file)!r} is not the tokenizer of this config: {advice}"
    )
  changes = []
  if config_json is not None:
    config = json.loads(config_json)
    changes = _changes(_read(folder / CONFIG_FILE), config)
  _write(tokenizer_file, tokenizer_model)
  _write(folder / MODEL_FILE, _json(model))
  if config_json is not None:
    _write(folder / CONFIG_FILE, _json(config))
  return changes


def _check_shared(folder):
  deadline = time.monotonic() + _SHARED_SECONDS
  while not (folder / MODEL_FILE).exists():
    if time.monotonic() > deadline:
      raise FileNotFoundError(
        f"the workdir {str(folder)!r} of process 0 is not seen here; several"
        " processes need one that all of them see: a shared folder, or gs://"
      )
    time.sleep(1)


def _json(content):
  return (json.dumps(content, indent=2) + "\n").encode()


def _read(path):
  return json.loads(path.read_text()) if path.exists() else None


def write_whole(path: epath.Path, content: bytes) -> None:
  """Whole or not at all, whenever the process is killed."""
  unfinished = path.parent / f"{path.name}.tmp"
  unfinished.write_bytes(content)
  # On object stores a copy, which appears whole as well.
  unfinished.replace(path)


def _write(path: epath.Path, content: bytes) -> None:
  if not path.exists() or path.read_bytes() != content:
    write_whole(path, content)


def _changes(old: Any, new: Any) -> list[str]:
  if old is None:
    return []
  old, new = flat(old), flat(new)
  return [
    f"{name}: {old.get(name, 'not set')} -> {new.get(name, 'not set')}"
    for name in sorted(old.keys() | new.keys())
    if old.get(name) != new.get(name) or (name in old) != (name in new)
  ]


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
  """Fields of a config by their paths, such as `data.kinds.0.per_step`."""
  if not isinstance(tree, dict | list) or not tree:
    return {prefix: tree}
  items = tree.items() if isinstance(tree, dict) else enumerate(tree)
  return {
    name: value
    for key, branch in items
    for name, value in flat(
      branch, f"{prefix}.{key}" if prefix else str(key)
    ).items()
  }

"""The folder of a run: what is needed to use it without anything else.

config.json              the config it was last started with
model.json               {"sizes": …, "dtype": …}, see `models.presets.build`
sentencepiece.bpe.model  its tokenizer
checkpoints/ metrics/    see `checkpoint` and `metrics`
metrics.jsonl wandb.json see `writers` and `wandb_writer`
results.json predictions.png     of the evaluation at the end
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.json"
MODEL_FILE = "model.json"
TOKENIZER_FILE = "sentencepiece.bpe.model"
METRICS_FOLDER = "metrics"
RESULTS_FILE = "results.json"
PICTURES_FILE = "predictions.png"


def describe_run(
  workdir: str | os.PathLike,
  config_json: str | None,
  sizes: Mapping[str, Any],
  dtype: str,
  tokenizer_model: bytes,
) -> list[str]:
  """Writes the description of a run, or compares it with the one there is.

  Args:
    workdir: made if it does not exist.
    config_json: the whole config, as JSON; None where no run was.
    sizes: of the model, see `models.presets`.
    dtype: compute type of the model.
    tokenizer_model: the bytes of a SentencePiece model.

  Returns:
    For each field of the config that differs from the run's last start, one
    line "name: old -> new". Such a run goes on, with the new values.

  Raises:
    ValueError: if the folder holds a run with another model or tokenizer,
      naming the first field that differs and both values.
    OSError: if the folder cannot be written.
  """
  folder = Path(workdir)
  folder.mkdir(parents=True, exist_ok=True)
  model = {"sizes": sizes, "dtype": dtype}
  advice = "restore the old value, or start in another --workdir."
  changes = _changes(_read(folder / MODEL_FILE), model)
  if changes:
    raise ValueError(
      f"{str(workdir)!r} holds a run with another model ({changes[0]}):"
      f" {advice}"
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


def _json(content):
  return (json.dumps(content, indent=2) + "\n").encode()


def _read(path):
  return json.loads(path.read_text()) if path.exists() else None


def _write(path: Path, content: bytes) -> None:
  """Whole or not at all, whenever the process is killed."""
  if path.exists() and path.read_bytes() == content:
    return
  unfinished = path.with_name(path.name + ".tmp")
  unfinished.write_bytes(content)
  os.replace(unfinished, path)


def _changes(old: Any, new: Any) -> list[str]:
  if old is None:
    return []
  old, new = _flat(old), _flat(new)
  return [
    f"{name}: {old.get(name, 'not set')} -> {new.get(name, 'not set')}"
    for name in sorted(old.keys() | new.keys())
    if old.get(name) != new.get(name) or (name in old) != (name in new)
  ]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
  if not isinstance(tree, dict | list) or not tree:
    return {prefix: tree}
  items = tree.items() if isinstance(tree, dict) else enumerate(tree)
  return {
    name: value
    for key, branch in items
    for name, value in _flat(
      branch, f"{prefix}.{key}" if prefix else str(key)
    ).items()
  }

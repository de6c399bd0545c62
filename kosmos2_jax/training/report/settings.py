"""The config of a run as a list that can be looked through."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from kosmos2_jax.training import workdir

# Fields that are in no section.
TOP = "run"


class Field(NamedTuple):
  """A field of the config; `is_set` if the command named it, or its section."""

  name: str
  value: str
  is_set: bool


def sections(config: Mapping[str, Any], command: str) -> dict[str, list[Field]]:
  """The fields by section, those of no section first.

  Args:
    config: whole.
    command: of the last start, as a shell would read it.
  """
  named = fields_of(command)
  found: dict[str, list[Field]] = {TOP: []}
  # Nothing at all would be one field without a name.
  for name, value in (workdir.flat(config) if config else {}).items():
    section = name.partition(".")[0]
    is_set = any(name == n or name.startswith(f"{n}.") for n in named)
    written = value if isinstance(value, str) and value else json.dumps(value)
    where = section if isinstance(config[section], dict | list) else TOP
    found.setdefault(where, []).append(Field(name, written, is_set))
  return {section: fields for section, fields in found.items() if fields}


def fields_of(command: str) -> set[str]:
  """Fields that a command names: `--config.data.kinds[0].per_step=16`."""
  try:
    words = shlex.split(command)
  except ValueError:  # a quote that does not end
    return set()
  found = set()
  for word in words:
    match = re.match(r"--?config\.([^=]+)", word)
    if match:
      found.add(re.sub(r"\[(\d+)\]", r".\1", match[1]))
  return found

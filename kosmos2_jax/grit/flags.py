"""The flags of `build_grit`, and what they stand for."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

from absl import flags

from data.grit.build import pairs, parsing
from data.grit.build.captions import CaptionOptions
from data.grit.build.options import NESTED, BuildOptions
from data.grit.build.selection import SelectionOptions
from kosmos2_jax.grit import grounders

# Which flag says what each kind of grounder is made of.
GROUNDERS = {
  "kosmos2": "checkpoint",
  "transformers": "model",
  "precomputed": "boxes",
}
# Flags of options whose names say too little on a command line.
RENAMED = {"min_side": "min_box_side", "max_area": "max_box_area"}


def define() -> flags.FlagValues:
  """The flags, not read yet."""
  read = flags.FlagValues()
  named = {"flag_values": read}
  text, number = flags.DEFINE_string, flags.DEFINE_integer
  flags.DEFINE_multi_string(
    "pairs",
    None,
    "img2dataset's tar files, parquet or JSONL: a file, a folder or a pattern;"
    " may be given again.",
    **named,
  )
  text("images", None, "Folder that names of pictures start from.", **named)
  flags.DEFINE_list(
    "columns", [], "Where fields are: caption=alt,image=path.", **named
  )
  text("output", None, "Folder of the shards, which all workers see.", **named)
  flags.DEFINE_enum(
    "grounder", None, tuple(GROUNDERS), "What finds phrases.", **named
  )
  text("checkpoint", None, "Of kosmos2: as `Predictor` opens.", **named)
  text("model", None, "Of transformers: a zero-shot detector.", **named)
  text("boxes", None, "Of precomputed: a JSONL file.", **named)
  number("batch_size", None, "Pictures grounded at once.", 1, **named)
  flags.DEFINE_list(
    "grounder_options", [], "Others: threshold=0.2,device=cuda.", **named
  )
  text("parser", None, "spaCy's pipeline.", **named)
  number("workers", 1, "Processes, each with the models.", 1, **named)
  number("threads_per_worker", 1, "Threads of each.", 1, **named)
  text(
    "beam_options",
    None,
    "Apache Beam's, for clusters: --runner=FlinkRunner … All their machines"
    " need --pairs, --images and --output at the same paths.",
    **named,
  )
  number("unit_size", 1000, "Rows of a table in a shard.", 1, **named)
  number("limit", None, "Shards, at most.", 1, **named)
  number("contact_sheet", 0, "Records in contact_sheet.png.", 0, **named)
  flags.DEFINE_enum(
    "nested", "drop", NESTED, "Expressions inside others.", **named
  )
  defaults = BuildOptions()
  number("min_side", defaults.min_side, "Of pictures, pixels.", 1, **named)
  number("shorter_side", 0, "Larger pictures are resized to it.", 0, **named)
  flags.DEFINE_bool(
    "upright",
    None,
    "Turn pictures as their EXIF says (default: yes; no for precomputed boxes,"
    " which are of the pictures as they are stored).",
    **named,
  )
  for options in (defaults.captions, defaults.selection):
    for field in dataclasses.fields(options):
      define = {bool: flags.DEFINE_bool, int: number, float: flags.DEFINE_float}
      value = getattr(options, field.name)
      meaning = f"See {type(options).__module__}."
      name = RENAMED.get(field.name, field.name)
      define[type(value)](name, value, meaning, **named)
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", **named)
  return read


def build_options(read: flags.FlagValues) -> BuildOptions:
  """What decides what is kept. Raises ValueError."""

  def given(kind: type) -> Any:
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{n: read[RENAMED.get(n, n)].value for n in names})

  upright = read.upright
  return BuildOptions(
    captions=given(CaptionOptions),
    selection=given(SelectionOptions),
    nested=read.nested,
    min_side=read.min_side,
    shorter_side=read.shorter_side,
    upright=read.grounder != "precomputed" if upright is None else upright,
  )


def make_grounder(read: flags.FlagValues) -> Callable[[], Any]:
  """What makes the grounder of the flags, in the processes that build.

  Raises:
    ValueError: a flag is missing, or is another grounder's.
  """
  kind = read.grounder
  for other, name in GROUNDERS.items():
    if other == kind and not read[name].value:
      raise ValueError(f"--grounder={kind} needs --{name}")
    if other != kind and read[name].value:
      raise ValueError(f"--{name} is of --grounder={other}, found {kind}")
  names = (GROUNDERS[kind], "batch_size")
  options = {n: read[n].value for n in names if read[n].value is not None}
  for name, value in _entries(read, "grounder_options").items():
    options[name] = value
    # What is a number, or true or false, is written as JSON writes it.
    with contextlib.suppress(ValueError):
      options[name] = json.loads(value)
  return functools.partial(grounders.make, kind, options)


def _entries(read: flags.FlagValues, name: str) -> dict[str, str]:
  """A flag that is name=value,… Raises ValueError."""
  found = {}
  for entry in read[name].value:
    key, equals, value = entry.partition("=")
    if not (key and equals and value):
      raise ValueError(f"--{name} is name=value,…; found {entry!r}")
    found[key] = value
  return found


def make_parser(read: flags.FlagValues) -> Callable[[], parsing.Parser]:
  """What makes the parser, in the processes that build."""
  options = {"model": read.parser} if read.parser else {}
  return functools.partial(parsing.Parser, **options)


def units(read: flags.FlagValues) -> list[pairs.Unit]:
  """What is to be built. Raises OSError, ValueError."""
  found = pairs.find_units(
    read.pairs,
    images=read.images,
    unit_size=read.unit_size,
    columns=_entries(read, "columns"),
  )
  return found[: read.limit]

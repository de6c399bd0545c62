"""No import points up: the table of layers, read from the sources.

A module's layer follows from its place. Data flows down the layers and imports
never go back up, so TensorFlow does not reach those who only run a checkpoint,
and torch reaches nobody.
"""

import ast
import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("kosmos2_jax", "data", "configs")
SCRIPTS = ("train", "eval")
# Annotations, which cost nothing to import and may be anywhere.
ANNOTATIONS = {"jaxtyping"}
ANYTHING = {"*"}


@dataclasses.dataclass(frozen=True)
class Layer:
  """Which modules are in a layer, and what they may import.

  Attributes:
    members: names of modules or packages; the longest match decides.
    ours: names of our own modules or packages that may be imported.
    others: top-level names of other packages that may be imported.
  """

  members: set[str]
  ours: set[str]
  others: set[str]


def _k(names: str) -> set[str]:
  return {f"kosmos2_jax.{name}" for name in names.split()}


_LEAVES = _k("text batch chips")
_INPUT = _k("input") | {"data"}
_MATHS = _k("models losses chunked_loss sharding activations optim")
_RUNNING = _k(
  "training generation evals convert predictor visualize drawing benchmarks"
  " compiling page"
)
_ROOTS = _k("tools") | set(SCRIPTS)
_COMMAND_LINE = _k("command_line")
# Joins a builder with the model; of those below, only roots import it.
_GRIT = _k("grit")
_PRESETS = _k("models.presets")
# The package itself loads nothing else.
_VERSION = {"kosmos2_jax", "kosmos2_jax.__version__"}

_INPUT_LIBRARIES = {"numpy", "tensorflow", "tensorflow_datasets"}
_MATHS_LIBRARIES = {"numpy", "jax", "flax", "einops", "optax"}
_RUNNING_LIBRARIES = {"orbax", "clu", "absl", "etils", "PIL", "rich", "psutil"}
_FORMATS = {"safetensors", "sentencepiece", "ml_dtypes"}  # of `convert`
_PAGES = {"jinja2"}  # of the report in `evals`

LAYERS = {
  "0 leaves": Layer(_LEAVES, _LEAVES, {"numpy", "sentencepiece", "tokenizers"}),
  "1a input": Layer(
    _INPUT, _LEAVES | _INPUT, _INPUT_LIBRARIES | {"absl", "PIL", "pyarrow"}
  ),
  "1b maths": Layer(_MATHS, _LEAVES | _MATHS, _MATHS_LIBRARIES),
  "2 running": Layer(
    _RUNNING | {"kosmos2_jax"},
    _LEAVES | _MATHS | _RUNNING,
    _MATHS_LIBRARIES | _RUNNING_LIBRARIES | _FORMATS | _PAGES | {"matplotlib"},
  ),
  "3 command line": Layer(_COMMAND_LINE, {"data"}, {"absl", "ml_collections"}),
  "3 grit": Layer(
    _GRIT,
    _LEAVES | _INPUT | _MATHS | _RUNNING | _GRIT,
    _MATHS_LIBRARIES | {"absl", "PIL"},
  ),
  "3 roots": Layer(
    _ROOTS,
    _LEAVES | _INPUT | _MATHS | _RUNNING | _GRIT | _COMMAND_LINE | {"configs"},
    ANYTHING,
  ),
  "configs": Layer(
    # A run that is another one with other data starts from it.
    {"configs"},
    {"configs.common", "configs.shapes"} | _PRESETS,
    {"ml_collections"},
  ),
}
# Commands that stand beside the data they make; nothing imports them.
COMMANDS = {
  "data.grit.make_photos": {"numpy", "PIL", "absl", "skimage"},
  "data.jsonl.make_kinds": {"numpy", "PIL", "absl"},
  "data.jsonl.make_stamps": {"numpy", "PIL", "absl"},
}
NOWHERE = {"torch", "torchvision", "transformers", "apache_beam", "wandb"}
NOWHERE |= {"pycocoevalcap", "pycocotools", "lm_eval", "lmms_eval"}
NOWHERE |= {"datasets", "huggingface_hub", "tqdm", "gradio"}
NOWHERE |= {"spacy", "py3langid"}
# Who may ask for them, when called and not before: the reader of PyTorch's own
# file format, the comparisons with the library itself, builders that read with
# Beam, scorers of others, the page, and the writer for Weights & Biases.
ASKERS = {
  "data.building.beam_build": {"apache_beam"},
  "data.grit.build.detectors": {"torch", "transformers"},
  "data.grit.build.languages": {"py3langid"},
  "data.grit.build.parsing": {"spacy"},
  "data.grit.build.pipeline": {"apache_beam"},
  "kosmos2_jax.convert.fairseq": {"torch"},
  "kosmos2_jax.convert.peer": {"torch", "transformers"},
  "kosmos2_jax.benchmarks.peer_step": {"torch", "transformers"},
  "kosmos2_jax.benchmarks.systems": {"torch", "transformers"},
  "kosmos2_jax.benchmarks.training_systems": {"torch", "transformers"},
  "kosmos2_jax.evals.harness": {
    "lm_eval",
    "datasets",
    "huggingface_hub",
    "tqdm",
  },
  "kosmos2_jax.evals.lmms": {"lmms_eval"},
  "kosmos2_jax.evals.scoring.coco_scorers": {"pycocoevalcap"},
  "kosmos2_jax.evals.scoring.detection": {"pycocotools"},
  "kosmos2_jax.input.peer": {"transformers"},
  "kosmos2_jax.page.blocks": {"gradio"},
  "kosmos2_jax.tools.lm_eval": {"lm_eval"},
  "kosmos2_jax.tools.lmms_eval": {"lmms_eval"},
  "kosmos2_jax.training.wandb_writer": {"wandb"},
}


def _inside(name: str, packages: set[str]) -> bool:
  return any(name == p or name.startswith(f"{p}.") for p in packages)


def layer_of(module: str) -> str:
  """The layer of a module, by its longest listed prefix."""
  parts = module.split(".")
  for length in range(len(parts), 0, -1):
    for name, layer in LAYERS.items():
      if ".".join(parts[:length]) in layer.members:
        return name
  raise AssertionError(f"{module} has no layer; add it to the table.")


def imported_names(source: str, module: str) -> Iterator[str]:
  """Every module that a source imports, wherever the import stands."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f"{module}: relative imports hide their target."
      ours = node.module.split(".")[0] in (*PACKAGES, *SCRIPTS)
      # `from kosmos2_jax import text` imports kosmos2_jax.text.
      yield from (
        f"{node.module}.{alias.name}" if ours else node.module
        for alias in node.names
      )


def violations(source: str, module: str) -> list[str]:
  """Says which imports of a module point up, and from where to where."""
  name = layer_of(module)
  layer = LAYERS[name]
  others = COMMANDS.get(module, layer.others)
  found = []
  for target in imported_names(source, module):
    top = target.split(".")[0]
    if top in (*PACKAGES, *SCRIPTS):
      allowed = _inside(target, layer.ours) or target in _VERSION
      if _inside(target, _ROOTS) or target in COMMANDS:
        allowed = False
    elif top in NOWHERE:
      allowed = top in ASKERS.get(module, ())
    else:
      allowed = (
        others == ANYTHING
        or top in others | ANNOTATIONS
        or top in sys.stdlib_module_names
      )
    if not allowed:
      found.append(f"{module} (layer {name}) must not import {target}")
  return found


def sources() -> dict[str, pathlib.Path]:
  """Module name to file, of everything that is not a test."""
  files = [ROOT / f"{script}.py" for script in SCRIPTS]
  for package in PACKAGES:
    files += sorted((ROOT / package).rglob("*.py"))
  found = {}
  for file in files:
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    found[".".join(parts)] = file
  return found


def test_no_import_points_up():
  modules = sources()
  assert len(modules) > 30
  found = []
  for module, file in modules.items():
    found += violations(file.read_text(encoding="utf-8"), module)
  assert not found, "\n".join(found)


@pytest.mark.parametrize(
  ("module", "source"),
  [
    ("kosmos2_jax.text.vocab", "import jax"),
    ("kosmos2_jax.text.vocab", "from tensorflow import io"),
    ("kosmos2_jax.text.vocab", "from kosmos2_jax import models"),
    ("kosmos2_jax.text.vocab", "from kosmos2_jax.models import layers"),
    ("kosmos2_jax.input.recipes", "import jax.numpy as jnp"),
    ("data.shapes.scenes", "from flax import linen"),
    ("data.shapes.scenes", "import kosmos2_jax.models.layers"),
    ("kosmos2_jax.models.layers", "import tensorflow as tf"),
    ("kosmos2_jax.models.layers", "from kosmos2_jax.input import pipeline"),
    ("kosmos2_jax.models.layers", "from kosmos2_jax import training"),
    ("kosmos2_jax.losses", "import ml_collections"),
    ("kosmos2_jax.predictor", "def f():\n  import tensorflow"),
    ("kosmos2_jax.predictor", "import tensorflow_datasets"),
    ("kosmos2_jax.predictor", "import data.shapes"),
    ("kosmos2_jax.training.loop", "from configs import common"),
    ("kosmos2_jax.training.loop", "from ml_collections import ConfigDict"),
    ("kosmos2_jax.training.loop", "from kosmos2_jax.tools import show_data"),
    ("kosmos2_jax.training.loop", "import train"),
    ("kosmos2_jax.training.loop", "from kosmos2_jax import command_line"),
    ("kosmos2_jax", "from kosmos2_jax.input import pipeline"),
    ("configs.shapes", "import jax"),
    ("configs.shapes", "from kosmos2_jax.models import decoder"),
    ("configs.shapes", "from configs import photos"),
    ("data.building.builder", "import apache_beam"),
    ("train", "import torch"),
    ("kosmos2_jax.convert.huggingface", "import torch"),
    ("kosmos2_jax.convert.fairseq", "import transformers"),
    ("kosmos2_jax.convert.peer", "import torchvision"),
    ("kosmos2_jax.convert.verify", "import transformers"),
    ("train", "from kosmos2_jax.tools import show_data"),
    ("eval", "import train"),
  ],
)
def test_an_import_that_points_up_is_found(module, source):
  assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
  ("module", "source"),
  [
    ("kosmos2_jax.text.vocab", "import re\nimport sentencepiece"),
    ("kosmos2_jax.input.recipes", "from kosmos2_jax.text import markup"),
    ("kosmos2_jax.models.layers", "import flax.linen as nn"),
    ("kosmos2_jax.evals.rec", "from kosmos2_jax import predictor"),
    ("kosmos2_jax", "from kosmos2_jax.predictor import Predictor"),
    ("configs.shapes", "from configs import common"),
    ("configs.common", "from kosmos2_jax.models import presets"),
    ("train", "import tensorflow\nfrom kosmos2_jax.input import pipeline"),
  ],
)
def test_an_import_that_points_down_is_allowed(module, source):
  assert violations(source, module) == []


def _loaded_by(statement: str) -> set[str]:
  """Top-level modules that are loaded after a statement, freshly started."""
  code = f"{statement}; import sys; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    check=True,
    capture_output=True,
    text=True,
  )
  return {name.split(".")[0] for name in done.stdout.split()}


def test_the_package_loads_no_framework():
  loaded = _loaded_by("import kosmos2_jax; kosmos2_jax.__version__")
  assert "kosmos2_jax" in loaded
  assert not loaded & {"tensorflow", "torch", "jax", "flax"}


def test_text_loads_neither_jax_nor_tensorflow():
  loaded = _loaded_by(
    "from kosmos2_jax import text; text.Tokenizer.small().encode('a cat')"
  )
  assert not loaded & {"tensorflow", "torch", "jax", "flax"}


def test_the_predictor_loads_neither_tensorflow_nor_torch():
  loaded = _loaded_by("from kosmos2_jax import Predictor")
  assert "jax" in loaded
  assert not loaded & {"tensorflow", "tensorflow_datasets", "torch"}


def test_the_converter_loads_neither_torch_nor_transformers():
  loaded = _loaded_by("from kosmos2_jax.tools import convert")
  assert not loaded & NOWHERE


def test_drawing_scenes_loads_neither_jax_nor_tensorflow():
  loaded = _loaded_by("from data.shapes import scenes")
  assert not loaded & {"tensorflow", "torch", "jax", "flax"}

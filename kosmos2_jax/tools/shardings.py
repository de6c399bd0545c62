"""Where every array of a training step lives, preset by preset, mesh by mesh.

  python -m kosmos2_jax.tools.shardings            # what differs from the file
  python -m kosmos2_jax.tools.shardings --write    # writes the file

The file, `tests/golden/shardings.json`, has shape, dtype and spec of each
parameter (its moments lie beside it) and of each activation that is placed. No
device is needed: meshes are abstract, and nothing is computed. A test compares,
so that no array changes its place unseen.
"""

import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import jax
from absl import app, flags
from jax.sharding import AbstractMesh, AxisType

from kosmos2_jax import activations, batch, sharding
from kosmos2_jax.models import presets
from kosmos2_jax.training import casting, objective
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training import step as step_lib

GOLDEN = pathlib.Path("tests/golden/shardings.json")
# By name: sizes along data, fsdp and tensor.
MESHES = {
  "1 device": (1, 1, 1),
  "fsdp 16": (1, 16, 1),
  "data 4, fsdp 4, tensor 2": (4, 4, 2),
  "2 slices x fsdp 256": (2, 256, 1),
}
# Preset and the length of its rows.
LENGTHS = {"kosmos2": 2048, "shapes": 128, "tiny": 128}
ROWS_PER_DEVICE = 2

_WRITE = flags.DEFINE_bool("write", False, "Write the file.")

# Array to "shape dtype spec".
Places = dict[str, str]


def places() -> dict[str, dict[str, dict[str, Places]]]:
  """By preset and mesh: `parameters` and `activations`."""
  return {
    preset: {
      name: places_of(presets.preset(preset), shape, length)
      for name, shape in MESHES.items()
    }
    for preset, length in LENGTHS.items()
  }


def places_of(
  sizes: dict[str, Any], shape: tuple[int, int, int], length: int
) -> dict[str, Places]:
  """The places of one model's arrays on one mesh, computing in bfloat16."""
  mesh = AbstractMesh(
    shape, sharding.AXES, axis_types=(AxisType.Auto,) * len(shape)
  )
  model = presets.build(sizes, dtype="bfloat16")
  params = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  spec = batch.batch_spec(
    ROWS_PER_DEVICE * shape[0] * shape[1],
    length,
    num_images=1,
    image_size=sizes["vision"]["image_size"],
  )
  inputs = {key: jax.ShapeDtypeStruct(*spec[key]) for key in step_lib.STEP_KEYS}
  loss_fn = objective.make_loss_fn(model, ("first", "second"))

  def loss(params, inputs):
    params = casting.to_compute(params, model.decoder.dtype)
    return loss_fn(params, inputs, jax.random.key(0))[0]

  with jax.sharding.use_abstract_mesh(mesh), activations.noted() as seen:
    jax.eval_shape(loss, params, inputs)
  return {
    "parameters": dict(_parameters(mesh, params)),
    "activations": {
      f"{name} {list(shape)}": f"{dtype} {_text(spec)}"
      for name, shape, dtype, spec in seen
    },
  }


def _parameters(mesh: AbstractMesh, params: Any) -> Iterator[tuple[str, str]]:
  shardings = sharding.param_shardings(mesh, params)
  for (path, leaf), place in zip(
    jax.tree_util.tree_leaves_with_path(params),
    jax.tree.leaves(shardings),
    strict=True,
  ):
    text = f"{list(leaf.shape)} {leaf.dtype} {_text(place.spec)}"
    yield sharding.param_path(path), text


def _text(spec: jax.P) -> str:
  names = ("+".join(n) if isinstance(n, tuple) else n or "-" for n in spec)
  return f"({', '.join(names)})"


def differences(found: Any, wanted: Any, path: str = "") -> Iterator[str]:
  """A line for each leaf that differs."""
  if isinstance(found, dict) and isinstance(wanted, dict):
    for key in sorted(found.keys() | wanted.keys()):
      yield from differences(
        found.get(key, "nothing"), wanted.get(key, "nothing"), f"{path}/{key}"
      )
  elif found != wanted:
    yield f"{path[1:]}: the file says {wanted}; found {found}"


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"This command takes no arguments, got {argv[1:]}.")
  found = places()
  if _WRITE.value:
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"Wrote {GOLDEN}.")
    return
  lines = list(differences(found, json.loads(GOLDEN.read_text("utf-8"))))
  print("\n".join(lines) or f"{GOLDEN} says what is so.")
  sys.exit(1 if lines else 0)


if __name__ == "__main__":
  app.run(main)

"""One table of names for every parameter of the released model."""

import jax

from kosmos2_jax.convert import mapping
from kosmos2_jax.models import presets
from kosmos2_jax.training import state as state_lib


def test_the_table_has_every_parameter_of_the_released_model_once():
  model = presets.build(presets.preset("kosmos2"))
  params = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  paths = [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, _ in jax.tree_util.tree_leaves_with_path(params)
  ]
  assert sorted(paths) == sorted(entry.path for entry in mapping.TABLE)
  for column in ("huggingface", "fairseq"):
    names = [getattr(entry, column) for entry in mapping.TABLE]
    full = {n.format(i) for n in names for i in range(24 if "{}" in n else 1)}
    # The released files have 886 weights: these, and the tied output matrix.
    assert len(full) == 885
    assert sum(name.startswith(("text_", "gpt_")) for name in full) == 483

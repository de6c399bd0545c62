"""The command: from each kind of checkpoint to each other."""

import jax
import numpy as np
import pytest

from kosmos2_jax.convert import huggingface, loading
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.tools import convert
from kosmos2_jax.training import checkpoint, workdir
from tests.convert.samples import random_params

TOKENIZER = Tokenizer.small(4)
SIZES = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}


@pytest.fixture
def ours(tmp_path):
  _, params = random_params(SIZES)
  folder = tmp_path / "ours"
  model = TOKENIZER.model_bytes
  workdir.describe_run(folder, None, SIZES, "float32", model)
  checkpoint.save_params(folder, params, step=7)
  return folder, params


def run(**named):
  return convert.main(["convert", *(f"--{k}={v}" for k, v in named.items())])


def test_there_and_back(ours, tmp_path, capsys):
  folder, params = ours
  theirs, again = tmp_path / "theirs", tmp_path / "again"
  assert run(source=folder, target=theirs, format="huggingface") == 0
  assert run(source=theirs, target=again) == 0
  assert f"wrote {again}" in capsys.readouterr().out
  for place in (folder, theirs, again):
    loaded = loading.load(place)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, params)
    assert loaded.tokenizer.model_bytes == TOKENIZER.model_bytes
  assert loading.load(folder).step == 7
  huggingface.write_generation(theirs, 3)
  kept = tmp_path / "kept"
  assert run(source=theirs, target=kept) == 0
  assert loading.load(kept).no_repeat_ngram_size == 3
  huggingface.write_generation(theirs, 0)
  twice = tmp_path / "twice"
  assert run(source=again, target=twice, format="huggingface") == 0
  files = sorted(file.name for file in theirs.iterdir())
  assert files == sorted(file.name for file in twice.iterdir())
  for name in files:
    assert (theirs / name).read_bytes() == (twice / name).read_bytes(), name


@pytest.mark.slow
def test_the_predictor_opens_either(ours, tmp_path):
  folder, _ = ours
  theirs = tmp_path / "theirs"
  assert run(source=folder, target=theirs, format="huggingface") == 0
  picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
  answers = [
    Predictor.from_pretrained(place).generate(["a red"], [picture])[0].tokens
    for place in (folder, theirs)
  ]
  assert answers[0] == answers[1]


def test_small_files(ours, tmp_path):
  folder, params = ours
  cut = tmp_path / "cut"
  assert (
    run(source=folder, target=cut, format="huggingface", max_shard_gb=2e-5) == 0
  )
  assert len(list(cut.glob("model-*.safetensors"))) > 2
  found = loading.load(cut).params
  jax.tree.map(np.testing.assert_array_equal, found, params)


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    ({"source": "nowhere", "target": "x"}, "there is no 'nowhere'; give a"),
    ({"source": "{ours}", "target": "{ours}"}, "is there already"),
    ({"source": "{ours}", "target": "x", "dtype": "int8"}, "dtype"),
    ({"source": "{ours}", "target": "x", "dtype": "float16"}, "with orbax"),
    ({"source": "{empty}", "target": "x"}, "is not a workdir of train.py"),
    ({"target": "x"}, "source"),
  ],
)
def test_mistakes_are_one_sentence(ours, tmp_path, capsys, flags, words):
  (tmp_path / "empty").mkdir()
  names = {"ours": ours[0], "empty": tmp_path / "empty"}
  flags = {key: value.format(**names) for key, value in flags.items()}
  if flags["target"] == "x":
    flags["target"] = str(tmp_path / "x")
  assert run(**flags) == 2
  error = capsys.readouterr().err
  assert words in error
  assert error.count("\n") == 1
  assert not (tmp_path / "x").exists()


def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path, capsys):
  sizes = presets.preset("shapes") | {"num_bins": 4}
  sizes["vocab_size"] = TOKENIZER.vocab.size
  _, params = random_params(sizes)
  folder = tmp_path / "conv"
  model = TOKENIZER.model_bytes
  workdir.describe_run(folder, None, sizes, "float32", model)
  checkpoint.save_params(folder, params)
  target = tmp_path / "target"
  assert run(source=folder, target=target, format="huggingface") == 2
  assert "has no stem 'conv'" in capsys.readouterr().err
  assert not target.exists()


def test_a_run_does_not_go_on_from_parameters_alone(ours):
  from kosmos2_jax import optim, sharding
  from kosmos2_jax.training import state

  model = presets.build(SIZES)
  tx = optim.make_transformation(lambda _: 1.0)
  mesh = sharding.make_mesh((1, 1, 1), jax.devices()[:1])
  abstract = state.abstract_state(model, tx, mesh)
  with (
    checkpoint.Checkpointer(ours[0]) as checkpointer,
    pytest.raises(ValueError, match="no optimizer state"),
  ):
    checkpointer.restore(abstract)

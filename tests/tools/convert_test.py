"""The command: from each kind of checkpoint to each other."""

import sys

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from kosmos2_jax.convert import huggingface, loading, verify, weights
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.tools import convert
from kosmos2_jax.training import checkpoint, saved_params, workdir
from tests.convert.samples import golden_of_tiny, random_params

TOKENIZER = Tokenizer.small(4)
SIZES = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}


@pytest.fixture
def ours(tmp_path):
  _, params = random_params(SIZES)
  folder = tmp_path / "ours"
  model = TOKENIZER.model_bytes
  workdir.describe_run(folder, None, SIZES, "float32", model)
  saved_params.save(folder, params, step=7)
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
    (
      {"source": "{ours}", "target": "x", "golden_image": "{picture}"},
      "needs --verify or --verify_only",
    ),
    (
      {
        "source": "{ours}",
        "target": "x",
        "verify": "true",
        "golden_image": "{picture}",
      },
      "this model has other sizes (vocab_size is ",
    ),
    (
      {
        "source": "{ours}",
        "target": "x",
        "verify": "true",
        "golden_image": "nowhere.png",
      },
      "there is no image file 'nowhere.png'",
    ),
    ({"source": "{ours}", "target": "x", "verify_only": "true"}, "there is no"),
  ],
)
def test_mistakes_are_one_sentence(ours, tmp_path, capsys, flags, words):
  (tmp_path / "empty").mkdir()
  names = {"ours": ours[0], "empty": tmp_path / "empty"}
  names["picture"] = tmp_path / "a.png"
  Image.new("RGB", (9, 9)).save(names["picture"])
  flags = {key: value.format(**names) for key, value in flags.items()}
  if flags["target"] == "x":
    flags["target"] = str(tmp_path / "x")
  assert run(**flags) == 2
  error = capsys.readouterr().err
  assert words in error
  assert error.count("\n") == 1
  assert not (tmp_path / "x").exists()


@pytest.fixture
def alone(monkeypatch):
  """Neither torch nor transformers is installed."""
  monkeypatch.setitem(sys.modules, "torch", None)
  monkeypatch.setitem(sys.modules, "transformers", None)


def test_a_copy_is_verified_and_an_altered_one_is_not(
  ours, tmp_path, capsys, alone
):
  folder, target = ours[0], tmp_path / "target"
  assert (
    run(source=folder, target=target, format="huggingface", verify="true") == 0
  )
  wrote, *lines, last = capsys.readouterr().out.splitlines()
  assert wrote == f"wrote {target}"
  assert [line[:17] for line in lines] == [
    "pass  description",
    "pass  parameters ",
    "note  logits     ",
  ]
  assert last == "verify: all 2 checks passed; 1 not made, see the notes"
  file = target / weights.WEIGHTS_FILE
  arrays = load_file(file)
  arrays["image_to_text_projection.dense.bias"][2] += 1e-3
  save_file(arrays, file)
  before = file.read_bytes()
  assert run(source=folder, target=target, verify_only="true") == 1
  lines = capsys.readouterr().out.splitlines()
  assert lines[1].startswith("FAIL  parameters")
  assert lines[2].startswith("FAIL  resampler/project/bias")
  assert lines[2].endswith("first at [2], by at most 1.0e-03")
  assert lines[-1].startswith("verify: FAILED: 2 of 3 checks")
  assert file.read_bytes() == before


@pytest.mark.slow
def test_logits_are_compared_with_transformers(ours, tmp_path, capsys):
  pytest.importorskip("torch", reason="needs torch")
  pytest.importorskip("transformers", reason="needs transformers")
  theirs, again = tmp_path / "theirs", tmp_path / "again"
  assert run(source=ours[0], target=theirs, format="huggingface") == 0
  capsys.readouterr()
  assert run(source=theirs, target=again, verify="true") == 0
  lines = capsys.readouterr().out.splitlines()
  assert sum(line.startswith("pass  logits, ") for line in lines) == 4
  assert lines[-1] == "verify: all 6 checks passed"


@pytest.mark.slow
def test_golden_outputs_are_replayed(tmp_path, capsys, monkeypatch, alone):
  rng = np.random.default_rng(0)
  picture = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
  picture.save(tmp_path / "a.jpg")
  picture.save(tmp_path / "a.png")
  predictor, golden = golden_of_tiny(Image.open(tmp_path / "a.jpg"))
  folder, target = tmp_path / "ours", tmp_path / "target"
  model = TOKENIZER.model_bytes
  workdir.describe_run(folder, None, SIZES, "float32", model)
  saved_params.save(folder, predictor.params)
  # As if this small one were the released model.
  monkeypatch.setitem(presets.PRESETS, "kosmos2", SIZES)
  assert run(source=folder, target=target, verify="true") == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[-2].startswith("note  golden outputs")
  assert lines[-2].endswith("give the released snowman.png as --golden_image")

  def replayed(golden, image="a.png"):
    monkeypatch.setattr(verify, "GOLDEN", (golden,))
    status = run(
      source=folder,
      target=target,
      verify_only="true",
      golden_image=tmp_path / image,
    )
    *lines, last = capsys.readouterr().out.splitlines()
    lines = [line[:25] for line in lines if "tiny: " in line]
    assert len(lines) == 5
    assert last.startswith("verify: FAILED") == bool(status)
    return status, [line.split("  ")[1] for line in lines if "FAIL" in line]

  assert replayed(golden) == (0, [])
  assert replayed(golden, "a.jpg") == (0, [])
  ids = list(golden.answer_ids)
  ids[-2] = 5 if ids[-2] != 5 else 6  # its own scores come before it
  other = golden._replace(answer_ids=tuple(ids))
  assert replayed(other)[0] == 1
  assert "tiny: answer ids" in replayed(other)[1]
  rows = np.array(golden.scores)
  rows[1, 0] += 0.02
  other = golden._replace(scores=tuple(map(tuple, rows.tolist())))
  assert replayed(other) == (1, ["tiny: scores"])


def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path, capsys):
  sizes = presets.preset("shapes") | {"num_bins": 4}
  sizes["vision"]["stem"] = "conv"
  sizes["vocab_size"] = TOKENIZER.vocab.size
  _, params = random_params(sizes)
  folder = tmp_path / "conv"
  model = TOKENIZER.model_bytes
  workdir.describe_run(folder, None, sizes, "float32", model)
  saved_params.save(folder, params)
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

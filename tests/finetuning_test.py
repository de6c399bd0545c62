"""A tuned model, there and back: adapters, more bins, larger pictures, words.

One checkpoint has all of them at once. It is exported, opened by
`transformers`, and taken in again: the same parameters, the same answers.
"""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.convert import loading, transfer, verify
from kosmos2_jax.convert.starting import Start
from kosmos2_jax.models import presets
from kosmos2_jax.optim.lora import Lora
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.tools import convert
from kosmos2_jax.training import saved_params, state, workdir
from tests.convert.samples import huggingface_folder

RESIZE = {"num_bins": 6, "image_size": 32, "words": ("wug", "blicket")}
RULE = Lora(2, 4.0, ("/kernel$",))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
  """A workdir as `train.py` leaves it, and what it started from."""
  folder = tmp_path_factory.mktemp("tuned")
  theirs, _ = huggingface_folder(folder / "theirs")
  run = folder / "run"
  start = Start({}, "", init_from=str(theirs), resize=RESIZE, folder=run)
  base = start.parameters(lambda line: None)
  rng = np.random.default_rng(0)
  adapters = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape, scale=0.3).astype(np.float32),
    RULE.shapes(base),
  )
  workdir.describe_run(
    run,
    None,
    start.sizes,
    "float32",
    start.tokenizer.model_bytes,
    lora=RULE.description(),
  )
  saved_params.save(run, {**base, "lora": adapters}, 5)
  return run, base, adapters


def _ask(path):
  """What a model says, of every kind."""
  predictor = Predictor.from_pretrained(path)
  rng = np.random.default_rng(1)
  pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
  picture = Image.fromarray(pixels)
  inputs = predictor.encode("the wug and the blicket", [picture])
  return (
    predictor.generate(
      ["<grounding>a wug", "the circle"], [picture] * 2, max_new_tokens=6
    ),
    predictor.locate(picture, "the wug"),
    predictor.describe(picture, (0.1, 0.1, 0.8, 0.9), max_new_tokens=6),
    np.asarray(
      predictor.logits(inputs["tokens"], inputs["images"], inputs["image_mask"])
    ),
  )


def _convert(**named):
  return convert.main(["convert", *(f"--{k}={v}" for k, v in named.items())])


def test_there_and_back_with_the_same_answers(tuned, tmp_path, capsys):
  run, base, adapters = tuned
  merged = RULE.merge({**base, "lora": adapters})
  face, again = tmp_path / "face", tmp_path / "again"
  assert _convert(source=run, target=face, format="huggingface") == 0
  assert _convert(source=face, target=again) == 0
  capsys.readouterr()
  for place in (run, face, again):
    loaded = loading.load(place)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, merged)
    assert loaded.sizes["num_bins"] == 6
    assert loaded.sizes["vision"]["image_size"] == 32
    assert len(loaded.tokenizer.encode("wug blicket")) == 2
  answers = _ask(run)

  for place in (face, again):
    for one, other in zip(answers, _ask(place), strict=True):
      np.testing.assert_equal(other, one)
  # Adapters are large enough to be missed.
  changed = jax.tree.map(
    lambda one, other: np.abs(one - other).max(), merged, base
  )
  assert changed["decoder"]["layers"]["mlp"]["up"]["kernel"] > 0.1


def test_transformers_says_the_same(tuned, tmp_path):
  pytest.importorskip("transformers", reason="needs transformers")
  target = tmp_path / "face"
  assert _convert(source=tuned[0], target=target, format="huggingface") == 0
  checks = list(verify.verify(tuned[0], target, None))
  assert [str(check) for check in checks if check.passed is False] == []
  assert any("logits" in str(check) for check in checks if check.passed)


def test_it_is_a_start_like_any_other(tuned, tmp_path):
  """Another run goes on from the merged model, with adapters of its own."""
  run, base, adapters = tuned
  start = Start({}, "", init_from=str(run), folder=tmp_path)
  merged = RULE.merge({**base, "lora": adapters})
  found = start.parameters(lambda line: None)
  jax.tree.map(np.testing.assert_array_equal, found, merged)


def test_adapters_are_never_lost_in_silence(tuned, tmp_path):
  run, _, adapters = tuned
  with pytest.raises(ValueError, match=r"no place for .*lora/"):
    list(transfer.export({"lora": adapters}, 9, "huggingface"))
  file = run / workdir.MODEL_FILE
  description = file.read_text()
  try:
    file.write_text(json.dumps({**json.loads(description), "lora": None}))
    with pytest.raises(
      ValueError, match=r"parameter lora/.* none in the model"
    ):
      loading.load(run)
  finally:
    file.write_text(description)


def test_another_rank_is_another_model(tuned):
  run, _, _ = tuned
  sizes, _, tokenizer = loading.read_workdir(run)
  for other in (Lora(3, 4.0, ("/kernel$",)), Lora(2, 8.0, ("/kernel$",))):
    with pytest.raises(ValueError, match=r"another model \(lora\."):
      workdir.describe_run(
        run,
        None,
        sizes,
        "float32",
        tokenizer.model_bytes,
        lora=other.description(),
      )


def test_the_resized_model_is_built(tuned):
  run, base, _ = tuned
  sizes, _, _ = loading.read_workdir(run)
  model = presets.build(sizes)
  shapes = jax.eval_shape(lambda: state.init_params(model, jax.random.key(0)))
  assert jax.tree.map(lambda x: x.shape, dict(shapes)) == jax.tree.map(
    lambda x: x.shape, base
  )


def test_resizing_needs_a_checkpoint():
  sizes = presets.preset("tiny")
  with pytest.raises(ValueError, match=r"config\.resize is of the checkpoint"):
    Start(sizes, "small", resize={"num_bins": 8})

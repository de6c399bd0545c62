"""What the named fine-tunings train, of each config that takes them."""

import json

import jax
import pytest

from configs import finetune_jsonl, finetune_refcoco, instruct, tunes
from kosmos2_jax import optim
from kosmos2_jax.models import presets
from kosmos2_jax.optim import patterns
from kosmos2_jax.training import state as state_lib


@pytest.fixture(scope="module")
def params():
  sizes = presets.preset("tiny")
  sizes["vision"]["depth"] = 3
  model = presets.build(sizes)
  return jax.eval_shape(lambda: state_lib.init_params(model, jax.random.key(0)))


def _trained(config, params):
  rule = optim.make_optimizer(
    num_steps=config.num_steps,
    lora=config.lora.to_dict(),
    **config.optimizer.to_dict(),
  ).trainable
  if rule.adapters:
    params = {**params, "lora": rule.adapters.shapes(params)}
  return patterns.flatten(jax.eval_shape(rule.select, params))


@pytest.mark.parametrize(
  "get_config",
  [finetune_jsonl.get_config, finetune_refcoco.get_config, instruct.get_config],
)
def test_each_name_trains_its_part(get_config, params):
  parts, paths = {}, {}
  for name in tunes.TUNES:
    paths[name] = _trained(get_config(f"tune={name}"), params)
    parts[name] = {path.split("/")[0] for path in paths[name]}
  everything = {"decoder", "resampler", "vision"}
  assert parts["full"] == parts["vision_last_2"] == everything
  assert parts["decoder"] == {"decoder"}
  assert parts["resampler"] == {"resampler"}
  assert parts["lora"] == {"lora"}
  layers = "vision/layers/mlp/up/kernel"
  assert paths["full"][layers].shape[0] == 3
  assert paths["vision_last_2"][layers].shape[0] == 2
  assert "vision/positions" not in paths["vision_last_2"]
  assert get_config("").optimizer.to_dict() == (
    get_config("tune=full").optimizer.to_dict()
  )
  rates = [
    get_config(f"tune={name}").optimizer.learning_rate
    for name in ("full", "lora")
  ]
  assert rates[1] == pytest.approx(10 * rates[0])


def test_another_name_is_told():
  with pytest.raises(
    ValueError, match="no tune 'lra'; choose one of full, dec"
  ):
    finetune_jsonl.get_config("tune=lra")


def test_a_file_with_validation_is_asked_while_training(tmp_path):
  file = tmp_path / "mine.jsonl"
  line = '{{"image": "a.png", "expression": "x", "box": [0,0,1,1]{}}}\n'
  splits = ("", ', "split": "validation"', ', "split": "test"')
  file.write_text("".join(map(line.format, splits)))
  config = finetune_jsonl.get_config(f"file={file}")
  found = {
    task.name: (task.split, task.num_examples) for task in config.evals.tasks
  }
  assert found == {
    "find": ("test", 0),
    "find_validation": ("validation", 100),
  }
  assert config.checkpoint.best_metric == "find_validation/accuracy"
  assert config.checkpoint.patience == 5
  file.write_text(line.format(""))
  config = finetune_jsonl.get_config(f"file={file}")
  assert [task.split for task in config.evals.tasks] == ["train"]
  assert config.checkpoint.patience == 0


def test_a_workdir_says_how_many_latents_it_has(tmp_path):
  (tmp_path / "model.json").write_text(
    '{"sizes": {"resampler": {"num_latents": 16}, "decoder": {"width": 2048}}}'
  )
  config = finetune_jsonl.get_config(f"checkpoint={tmp_path}")
  # The example has lines of two pictures.
  assert config.data.seq_len == 140 + 2 * 19
  other = finetune_jsonl.get_config("checkpoint=x")
  assert other.data.seq_len == 140 + 2 * 67


def test_a_small_workdir_learns_as_small_models_do(tmp_path):
  def section(width, tune):
    sizes = {"resampler": {"num_latents": 16}, "decoder": {"width": width}}
    (tmp_path / "model.json").write_text(json.dumps({"sizes": sizes}))
    return finetune_jsonl.get_config(f"checkpoint={tmp_path},tune={tune}")

  small, large = section(256, "full"), section(512, "full")
  assert small.optimizer.algorithm == "muon"
  assert small.optimizer.learning_rate == 1e-3
  assert large.optimizer.algorithm == "adamw"
  assert large.optimizer.learning_rate == 1e-5
  small, large = section(256, "lora"), section(512, "lora")
  assert (small.lora.rank, large.lora.rank) == (3, 8)
  assert "^decoder/embedding$" in small.lora.targets


def test_adapters_of_the_shapes_model_are_few():
  model = presets.build(presets.preset("shapes"))
  shapes = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  config = finetune_jsonl.get_config("")
  finetune_jsonl._small(config, "lora")
  adapters = _trained(config, shapes)
  count = sum(leaf.size for leaf in adapters.values())
  everything = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  assert 0 < count <= 0.03 * (count + everything)

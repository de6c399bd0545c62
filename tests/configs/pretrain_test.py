"""The published mix: its numbers, and all of it with a tiny model."""

import itertools
import json
import pathlib
import re

import jax
import numpy as np
import pytest

import train
from configs import instruct, meshes, pretrain
from data import loader
from kosmos2_jax import chips
from kosmos2_jax.batch import batch_hash
from kosmos2_jax.input import planning
from kosmos2_jax.models import flops, presets
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.data.conftest import Maker

pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"
)

ROOT = pathlib.Path(__file__).parents[2]
TINY = "divide=100,preset=tiny"


def test_published_numbers():
  config = pretrain.get_config()
  counts = {kind.name: kind.per_step for kind in config.data.kinds}
  assert counts == {
    "text": 93,
    "image_text": 1117,
    "grounded_caption": 1117,
    "interleaved": 47,
  }
  options = {kind.name: kind.options.to_dict() for kind in config.data.kinds}
  assert options == {
    "text": {},
    "image_text": {},
    "grounded_caption": {
      "mode": "expression",
      "markup": "maximal",
      "tag_probability": 0.5,
    },
    "interleaved": {"max_pictures": 5},
  }
  assert (config.data.pack, config.data.pack_groups) == (True, 8)
  # As many as short captions in a row of 2,048.
  assert (config.data.seq_len, config.data.images_per_row) == (2048, 24)
  tokens = config.data.rows_per_step * config.data.seq_len
  assert 419_000 < tokens < 430_000
  assert config.num_steps == 60_000
  optimizer = config.optimizer.to_dict()
  assert optimizer["warmup_steps"] == 375
  assert optimizer["learning_rate"] == 2e-4
  assert (optimizer["b1"], optimizer["b2"]) == (0.9, 0.98)
  assert (optimizer["eps"], optimizer["weight_decay"]) == (1e-6, 0.01)
  assert optimizer["clip_norm"] == 2.0
  assert (optimizer["schedule"], optimizer["power"]) == ("polynomial", 1.0)
  assert config.model.decoder.dropout_rate == 0.1


@pytest.mark.parametrize(
  ("divide", "counts", "rows"),
  [(16, [6, 70, 70, 3], 16), (500, [1, 2, 2, 1], 8)],
)
def test_a_part_of_each_step(divide, counts, rows):
  config = pretrain.get_config(f"divide={divide}")
  assert [kind.per_step for kind in config.data.kinds] == counts
  assert config.data.rows_per_step == rows


@pytest.mark.parametrize("name", meshes.MESHES)
@pytest.mark.parametrize("module", [pretrain, instruct])
def test_a_mesh_shares_the_rows_evenly(module, name):
  plain = module.get_config()
  config = module.get_config(f"mesh={name}")
  ways = config.mesh.data * config.mesh.fsdp
  parts = config.num_microbatches
  rows = config.data.rows_per_step
  assert rows % (ways * parts) == 0
  assert rows % config.data.pack_groups == 0
  # The examples stay, and no part of the batch that could be left is added.
  assert config.data.kinds == plain.data.kinds
  assert 0 <= rows - plain.data.rows_per_step < ways * parts
  pictures = rows * config.data.images_per_row
  assert pictures > 2 * 1117


def test_mesh_sizes_are_the_machines():
  sizes = {"v5e-256": 256, "v5p-128": 64, "v6e-256": 256}
  sizes |= {"2xv6e-256": 512, "8xh100": 8}
  for name, number in sizes.items():
    mesh = pretrain.get_config(f"mesh={name}").mesh
    assert mesh.data * mesh.fsdp * mesh.tensor == number
  assert set(sizes) == set(meshes.MESHES)


@pytest.mark.parametrize("name", meshes.MESHES)
def test_predictions_follow_from_what_they_assume(name):
  """The table of the docstring against FLOPs, peaks and the MFU it names."""
  [found] = re.findall(
    rf"^  {name} +([\d.]+) +(\d+) % +([\d.]+) +([\d,]+) \(([\d,]+)\)"
    r" +([\d.]+) h$",
    pretrain.__doc__,
    re.MULTILINE,
  )
  petaflops, percent, seconds, tokens, a_chip, hours = (
    float(number.replace(",", "")) for number in found
  )
  config = pretrain.get_config(f"mesh={name}")
  rows = config.data.rows_per_step
  work = flops.train_flops(
    presets.preset("kosmos2"),
    num_rows=rows,
    seq_len=2048,
    num_images=rows * config.data.images_per_row,
  )
  assert work / 1e15 == pytest.approx(petaflops, rel=0.01)
  chip, number = {
    "v5e-256": ("v5e", 256),
    "v5p-128": ("v5p", 64),
    "v6e-256": ("v6e", 256),
    "2xv6e-256": ("v6e", 512),
    "8xh100": ("H100", 8),
  }[name]
  exact = work / (percent / 100 * number * chips.CHIPS[chip].bf16_flops)
  assert seconds == pytest.approx(exact, rel=0.02)
  assert tokens == pytest.approx(419_000 / exact, rel=0.02)
  assert a_chip == pytest.approx(tokens / number, rel=0.02)
  assert hours == pytest.approx(config.num_steps * exact / 3600, rel=0.05)


def test_unknown_mesh():
  with pytest.raises(ValueError, match="no mesh 'v3-8'; choose one of v5e-256"):
    pretrain.get_config("mesh=v3-8")


def test_text_only():
  config = pretrain.get_config("text_only")
  assert config.model.text_only
  assert (config.model.remat, config.model.dtype) == ("full", "bfloat16")
  assert config.mesh.to_dict() | {"num_slices": 0} == {
    "data": 1,
    "fsdp": -1,
    "tensor": 1,
    "num_slices": 0,
  }
  [kind] = config.data.kinds
  assert (kind.name, kind.recipe) == ("text", "text")
  assert kind.per_step == config.data.rows_per_step
  assert (config.data.seq_len, config.data.images_per_row) == (2048, 0)
  assert list(config.data.builders) == ["text"]
  assert not pretrain.get_config().model.text_only


def test_no_part():
  with pytest.raises(ValueError, match="divide is at least 1, found 0"):
    pretrain.get_config("divide=0")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  """The tiny run with a few originals of each kind."""
  folder = tmp_path_factory.mktemp("originals")
  maker = Maker(folder)
  texts = ["A line of words.\n" * n for n in range(1, 12)]
  lines = [json.dumps({"text": text}) for text in texts]
  (folder / "text.jsonl").write_text("\n".join(lines))
  picture = maker.jpeg(220, 200)
  names = [str(n) for n in range(9)]
  shard = maker.tar(
    *(maker.sample(n, caption=f"dog {n}", picture=picture) for n in names)
  )
  infos = [{"image_name": "1.jpg", "matched_text_index": n} for n in (0, 1)]
  document = {"text_list": ["A dog.", "Two."], "image_info": infos}
  (folder / "pages.jsonl").write_text(json.dumps(document))
  config = pretrain.get_config(TINY)
  config.data.data_dir = str(folder / "prepared")
  builders = config.data.builders
  builders.text.files = str(folder / "text.jsonl")
  builders.image_text.shards = str(shard)
  builders.grit.shards = str(ROOT / "data/grit/photos/*.tar")
  builders.interleaved.documents = str(folder / "pages.jsonl")
  builders.interleaved.pictures = str(shard)
  return config


def batches(config, start=0, shard_index=0, num_shards=1):
  """The stream of a config."""
  tokenizer = Tokenizer.load(config.data.tokenizer, config.model.num_bins)
  data = json.loads(config.data.to_json())
  plan = planning.plan_stream(
    data["kinds"],
    data,
    loader(config.data.data_dir, config.data.builders),
    tokenizer,
    image_size=config.model.vision.image_size,
    num_latents=config.model.resampler.num_latents,
    seed=config.seed,
  )
  return plan.open(start, shard_index, num_shards)


def test_every_kind_is_in_a_step(config):
  first, second = itertools.islice(batches(config), 2)
  kinds = [k.name for k in config.data.kinds]
  assert set(np.unique(first["kinds"])) == set(range(len(kinds) + 1))
  [again] = itertools.islice(batches(config, start=1), 1)
  assert batch_hash(again) == batch_hash(second)
  halves = [
    next(iter(batches(config, 0, shard, num_shards=2))) for shard in (0, 1)
  ]
  for key, value in first.items():
    both = np.concatenate([half[key] for half in halves])
    np.testing.assert_array_equal(both, value)


@pytest.mark.slow
def test_training_logs_every_kind(config, tmp_path, monkeypatch, capfd):
  monkeypatch.chdir(ROOT)
  flags = {
    "config": f"configs/pretrain.py:{TINY}",
    "workdir": tmp_path / "run",
    "compilation_cache": jax.config.jax_compilation_cache_dir,
    "config.num_steps": 2,
    "config.log_every": 1,
    "config.optimizer.warmup_steps": 1,
    "config.data.data_dir": config.data.data_dir,
  }
  for name, options in config.data.builders.items():
    flags |= {f"config.data.builders.{name}.{k}": v for k, v in options.items()}
  argv = [f"--{name}={value}" for name, value in flags.items()]
  assert train.main(["train.py", *argv]) == 0, capfd.readouterr().err
  [_, last] = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  losses = {
    name.removeprefix("train/loss/"): value
    for name, value in json.loads(last).items()
    if name.startswith("train/loss/")
  }
  assert set(losses) == {kind.name for kind in config.data.kinds}
  assert np.isfinite(list(losses.values())).all()

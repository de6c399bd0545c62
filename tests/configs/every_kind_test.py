"""Every kind of data in one run, from the examples in the repository."""

import json
import pathlib

import jax
import numpy as np
import pytest

import train
from configs import every_kind
from data import NAMES, loader
from kosmos2_jax.batch import batch_hash
from kosmos2_jax.input import planning
from kosmos2_jax.text.tokenizer import Tokenizer

pytestmark = [
  pytest.mark.slow,
  pytest.mark.filterwarnings(
    r"ignore:the load_module\(\) method:DeprecationWarning"
  ),
]

ROOT = pathlib.Path(__file__).parents[2]
# Examples of the others are too alike: captions of COCO have Flickr's format.
WITHOUT_EXAMPLE = {"coco_captions"}
# Nobody trains on these.
TO_EVALUATE = {"pope", "seed_bench"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """Where the examples are prepared, once."""
  return tmp_path_factory.mktemp("prepared")


@pytest.fixture(params=["packed=true", "packed=false"])
def plan(request, data_dir, monkeypatch):
  """The stream of the config, packed and not."""
  monkeypatch.chdir(ROOT)
  config = every_kind.get_config(request.param)
  data = json.loads(config.data.to_json())
  return planning.plan_stream(
    data["kinds"],
    data,
    loader(data_dir, config.data.builders),
    Tokenizer.load(config.data.tokenizer, config.model.num_bins),
    image_size=config.model.vision.image_size,
    num_latents=config.model.resampler.num_latents,
    seed=config.seed,
  )


def test_every_data_set_is_in_it():
  kinds = every_kind.get_config().data.kinds
  assert {kind.dataset for kind in kinds} == (
    set(NAMES) - WITHOUT_EXAMPLE - TO_EVALUATE
  )


def test_batches_depend_on_seed_and_step_alone(plan):
  stream = plan.open(0)
  hashes = [batch_hash(next(stream)) for _ in range(4)]
  assert len(set(hashes)) == 4
  for start, num_hosts in ((0, 1), (1, 2), (3, 4)):
    hosts = [plan.open(start, host, num_hosts) for host in range(num_hosts)]
    for expected in hashes[start:]:
      parts = [next(host) for host in hosts]
      batch = {
        key: np.concatenate([part[key] for part in parts]) for key in parts[0]
      }
      assert batch_hash(batch) == expected


def test_every_kind_finds_a_place(plan):
  stream = plan.open(0)
  for _ in range(3):
    batch = next(stream)
    numbers = set(np.unique(batch["kinds"][batch["loss_mask"]]))
    assert numbers == set(range(1, 1 + len(plan.kinds)))
  assert not stream.counts["no_room"]
  assert not stream.counts["too_many_pictures"]


def test_every_kind_trains(data_dir, tmp_path, monkeypatch, capfd):
  monkeypatch.chdir(ROOT)
  flags = {
    "config": "configs/every_kind.py",
    "workdir": tmp_path / "run",
    "compilation_cache": jax.config.jax_compilation_cache_dir,
    "config.num_steps": 2,
    "config.log_every": 1,
    "config.model.unroll": 1,
    "config.data.rows_per_step": 16,
    "config.optimizer.warmup_steps": 0,
    "config.data.data_dir": data_dir,
  }
  argv = [f"--{name}={value}" for name, value in flags.items()]
  assert train.main(["train.py", *argv]) == 0, capfd.readouterr().err
  [_, last] = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  losses = {
    name.removeprefix("train/loss/"): value
    for name, value in json.loads(last).items()
    if name.startswith("train/loss/")
  }
  kinds = every_kind.get_config().data.kinds
  assert set(losses) == {kind.name for kind in kinds}
  assert np.isfinite(list(losses.values())).all()

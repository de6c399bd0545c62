"""The step compiled for TPUs that are not here; needs libtpu, and no TPU."""

import importlib.util
import json

import jax
import pytest

from kosmos2_jax.compiling import jobs, report, topologies
from kosmos2_jax.models import presets
from kosmos2_jax.tools import compile as compile_tool
from kosmos2_jax.training import state
from tests import tiny_config

pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"
)

CONFIG = "--config=tests/tiny_config.py"

needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="needs libtpu: pip install 'kosmos2_jax[tpu]'",
)


def command(*argv):
  return compile_tool.main(["compile", *argv])


@pytest.mark.slow
@needs_libtpu
def test_a_step_for_four_chips(tmp_path, capfd):
  """The tiny model, its state shared by two chips, and its rows by four."""
  output = tmp_path / "reports" / "v5e.json"
  status = command(
    CONFIG,
    "--topology=v5e:2x2",
    "--batch_per_chip=2",
    "--config.mesh.data=2",
    "--config.mesh.fsdp=2",
    "--config.model.remat=full",
    f"--output={output}",
  )
  out = capfd.readouterr().out
  assert status == 0, out
  found = json.loads(out.strip().splitlines()[-1])
  assert found == json.loads(output.read_text())
  assert found["fits"] is True
  assert (found["num_chips"], found["num_rows"]) == (4, 8)
  assert found["mesh"] == {"data": 2, "fsdp": 2, "tensor": 1}
  # Two moments and the parameters in float32, half of nearly all; channels are
  # filled up to 128, and the widest of these have 32.
  state = 3 * 4 * num_params() / 2
  assert state < found["argument_bytes"] < 8 * state
  assert found["temp_bytes"] > 0
  assert found["peak_bytes"] > found["argument_bytes"] + found["temp_bytes"]
  received = found["collective_bytes"]
  # Copies along `data` add up their gradients; `fsdp` gathers and scatters.
  assert any("data" in axes for axes in received["all-reduce"])
  assert any(axes == "fsdp" for by in received.values() for axes in by)
  seconds = found["roofline_seconds"]
  assert seconds["bound"] == seconds[seconds["binds"]] > 0
  assert 0 < found["mfu_bound"] <= 1
  assert found["step_flops"] > found["model_flops"] > 0
  assert found["unsharded_bytes"] == found["whole_batch_bytes"] == {}
  assert report.CAVEAT.split()[0] in out
  assert "fits 1 x v5e:2x2" in out


def num_params():
  """Parameters of the tiny model with the small vocabulary."""
  job = jobs.job_of(tiny_config.get_config())
  model = presets.build(job.sizes)
  params = jax.eval_shape(lambda: state.init_params(model, jax.random.key(0)))
  return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.slow
@needs_libtpu
def test_a_step_that_is_too_large(capfd):
  status = command(
    CONFIG,
    "--topology=v5e:2x2",
    "--batch_per_chip=1000000",
    "--config.model.text_only",
    "--config.data.images_per_row=0",
  )
  out, err = capfd.readouterr()
  assert status == 1
  assert "Traceback" not in out + err
  assert "compile: a step of 4,000,000 rows of 120 does not fit" in err
  found = json.loads(out.strip().splitlines()[-1])
  assert found["fits"] is False
  assert found["needed_bytes"] > found["available_bytes"] == 15.75 * 2**30
  assert found["roofline_seconds"] is None


@needs_libtpu
@pytest.mark.parametrize(
  ("name", "num_slices", "chip", "num_devices"),
  [
    ("v4:2x2x2", 1, "v4", 8),
    ("v5e:4x4", 1, "v5e", 16),
    ("v5p:4x4x4", 1, "v5p", 64),
    ("v6e:16x16", 2, "v6e", 512),
    ("v7x:2x2x1", 1, "v7x", 8),
  ],
)
def test_topologies(name, num_slices, chip, num_devices):
  found = topologies.describe(name, num_slices)
  assert found.chip.name == chip
  assert len(found.devices) == num_devices
  assert found.num_chips == num_devices // found.chip.devices
  slices = {getattr(d, "slice_index", 0) for d in found.devices}
  assert len(slices) == num_slices


@pytest.mark.parametrize(
  ("argv", "sentence"),
  [
    (["--topology=v5e:4x4"], "expected --config, --topology and nothing"),
    ([CONFIG], "expected --config, --topology and nothing"),
    ([CONFIG, "--topology=v9:4x4"], "expected a topology such as v5e:4x4"),
    ([CONFIG, "--topology=v5e"], "expected a topology such as v5e:4x4"),
    (
      [CONFIG, "--topology=v5e:2x2", "--search", "--batch_per_chip=2"],
      "expected --search or --batch_per_chip, found both",
    ),
    ([CONFIG, "--topology=v5e:2x2", "--config.nothing=1"], "nothing"),
    ([CONFIG, "--topology=v5e:2x2", "--num_slices=0"], "num_slices"),
  ],
)
def test_mistakes_are_one_sentence(argv, sentence, capfd):
  assert command(*argv) == 2
  err = capfd.readouterr().err
  assert err.startswith("compile: ")
  assert sentence in err
  assert err.count("\n") == 1


@needs_libtpu
@pytest.mark.parametrize(
  ("argv", "sentence"),
  [
    (["--topology=v5e:3x5"], "there is no topology 'v5e:3x5' in libtpu"),
    (
      ["--topology=v5e:2x2", "--config.mesh.fsdp=3"],
      "does not fit 4 device(s)",
    ),
    (
      ["--topology=v5e:4x4"],
      "the global batch has 8 rows, which 16 device(s)",
    ),
  ],
)
def test_what_a_topology_cannot_do(argv, sentence, capfd):
  assert command(CONFIG, *argv) == 2
  assert sentence in capfd.readouterr().err


def test_without_libtpu(monkeypatch, capfd):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    "find_spec",
    lambda name, *rest: None if name == "libtpu" else find(name, *rest),
  )
  assert command(CONFIG, "--topology=v5e:2x2") == 2
  assert "pip install 'kosmos2_jax[tpu]'" in capfd.readouterr().err

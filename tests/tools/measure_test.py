"""The command, on a model so small that its figures mean nothing."""

import json
import types

import jax
import pytest

from kosmos2_jax.benchmarks import kernels, own_step, peer_step
from kosmos2_jax.convert import peer
from kosmos2_jax.tools import measure

pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning",
  "ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning",
)

CONFIG = "--config=configs/pretrain.py:text_only,divide=100,preset=tiny"
QUICK = (
  "--repeats=2",
  "--num_steps=2",
  "--config.data.seq_len=32",
  "--config.model.vocab_size=601",
)


def command(*flags):
  return measure.main(["measure", CONFIG, *QUICK, *flags])


@pytest.fixture
def calls(monkeypatch):
  """The compiled step makes one update for each call that is noted."""
  made = []
  original = own_step._run

  def run(trainer, compiled, batch, repeats, num_steps):
    def counted(*args):
      made.append(args[1])
      return compiled(*args)

    return original(trainer, counted, batch, repeats, num_steps)

  monkeypatch.setattr(own_step, "_run", run)
  return made


@pytest.mark.slow
def test_a_step_is_measured(tmp_path, capsys, calls):
  output = tmp_path / "new" / "step.json"
  status = command(
    "--batch_per_device=2",
    "--config.mesh.data=2",
    "--config.mesh.fsdp=4",
    f"--output={output}",
  )
  out = capsys.readouterr().out
  assert status == 0
  found = json.loads(out.strip().splitlines()[-1])
  assert found == json.loads(output.read_text())
  assert found["kernel"] is None  # a CPU has none
  step = found["step"]
  assert (step["num_rows"], step["seq_len"]) == (16, 32)
  assert step["mesh"] == {"data": 2, "fsdp": 4, "tensor": 1}
  assert step["num_devices"] == 8
  assert step["attention"] == "xla"
  assert step["mfu"] is None
  assert len(step["seconds"]) == 2
  assert len(calls) == 2 + 2 * 2
  median = sum(step["seconds"]) / 2
  assert step["tokens_per_second"] == pytest.approx(16 * 32 / median)
  assert step["argument_bytes"] > 0
  # About ln(601) at first, and the same batch is learnt.
  first, last = step["losses"]
  assert 5 < last < first < 8
  for text in ("16 rows x 32 tokens", "mesh data 2 x fsdp 4", "float32"):
    assert text in out


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [0, 1])
def test_transformers_trains_on_rows_of_the_same_shape(pictures):
  if missing := peer.missing():
    pytest.skip(f"needs {missing}: pip install 'kosmos2_jax[dev]'")
  job = measure.job_of(_config(pictures), 2)
  report = peer_step.measure_peer(job, repeats=2, num_steps=1)
  assert report.device_kind == "cpu"
  assert len(report.seconds) == 2
  first, last = report.losses
  assert 5 < last < first < 8
  assert report.peak_bytes is None


def _config(pictures):
  from configs import pretrain

  arg = "divide=100,preset=tiny" + ("" if pictures else ",text_only")
  config = pretrain.get_config(arg)
  config.model.vocab_size = 601
  config.data.seq_len = 32
  config.data.images_per_row = pictures
  config.model.remat = "full"
  return config


def test_a_kernel_that_is_wrong_is_status_1(monkeypatch, capsys):
  report = kernels.KernelReport(
    "cudnn", {"output": 0.5, "key": 0.1}, False, [1.0], [2.0], 2**30, 2**31
  )
  monkeypatch.setattr(measure, "_kernel", lambda *args: report)
  assert command("--nostep") == 1
  out = capsys.readouterr().out
  assert "NOT the same: at most 5.0e-01" in out
  assert "2.00 x as fast" in out
  found = json.loads(out.strip().splitlines()[-1])
  assert found["step"] is None
  assert found["kernel"]["differences"] == {"output": 0.5, "key": 0.1}


def test_what_does_not_fit_is_said_in_a_sentence(monkeypatch, capsys):
  def full(*args):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

  original = own_step.make_trainer

  def make(*args, **kwargs):
    step = types.SimpleNamespace(lower=full)
    return original(*args, **kwargs)._replace(train_step=step)

  monkeypatch.setattr(own_step, "make_trainer", make)
  assert command("--batch_per_device=1", "--config.mesh.fsdp=8") == 2
  assert "a step of 8 rows of 32 tokens does not fit 8 x cpu; take fewer" in (
    capsys.readouterr().err
  )


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (("more",), "'more' is no flag; for example: python -m"),
    (("--config.model.width=3",), "the config has no field"),
    (("--compare",), "--compare wants --batch_per_device"),
    (
      ("--compare", "--batch_per_device=1", "--config.num_microbatches=2"),
      "set config.num_microbatches=1 (found 2)",
    ),
    (
      ("--compare", "--batch_per_device=1", "--config.data.images_per_row=3"),
      "set config.data.images_per_row=1 to compare (found 3)",
    ),
    (("--config.model.attention=cudnn",), 'attention "cudnn" computes in'),
  ],
)
def test_mistakes(flags, message, capsys):
  assert command(*flags) == 2
  err = capsys.readouterr().err
  assert err.startswith("measure: ")
  assert message in err
  assert len(err.strip().splitlines()) == 1


def test_help(capsys):
  with pytest.raises(SystemExit) as stopped:
    measure.main(["measure", "--help"])
  assert not stopped.value.code
  assert "--batch_per_device" in capsys.readouterr().out

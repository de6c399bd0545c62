"""The command, on a model so small that its figures mean nothing."""

import json
from multiprocessing.pool import ThreadPool

import pytest

from kosmos2_jax.benchmarks import systems, training_systems, worker
from kosmos2_jax.convert import huggingface, peer, processor, weights
from kosmos2_jax.input import peer as peer_lib
from kosmos2_jax.input import speed
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.tools import benchmark
from tests.convert.samples import random_params

QUICK = ("--repeats=1", "--new_tokens=2", "--num_pictures=1", "--batch_size=4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("model")
  tokenizer = Tokenizer.small(4)
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  huggingface.write_config(path, sizes)
  huggingface.write_generation(path, 3)
  processor.write(path, tokenizer, sizes["vision"]["image_size"])
  weights.write(path, random_params(sizes)[1], sizes["vocab_size"])
  return path


def run(folder, *flags):
  return benchmark.main(
    ["benchmark", "inference", f"--checkpoint={folder}", *QUICK, *flags]
  )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_case_is_measured_and_answers_agree(folder, tmp_path, capsys):
  pytest.importorskip("torch", reason="needs torch")
  pytest.importorskip("transformers", reason="needs it")
  output = tmp_path / "speed.json"
  assert run(folder, f"--output={output}", "--traceback") == 0
  found = json.loads(output.read_text())
  assert {"machine", "devices", "jax", "results"} == set(found)
  results = {result["case"]: result for result in found["results"]}
  assert list(results) == [
    "load",
    "first answer, compilation included",
    "peak memory: load and answer",
    "encode 1 picture",
    "encode 8 pictures",
    "picture and prefill, 1 row of 19 tokens",
    "picture and prefill, 8 rows of 19 tokens",
    "decode, batch 1, greedy",
    "decode, batch 8, greedy",
    "decode, batch 1, beam 4",
    "decode, batch 8, beam 4",
    "locate, 4 pairs, 1 picture",
  ]
  for case, result in results.items():
    assert result["ours"] > 0
    assert result["theirs"] > 0
    ratio = result["theirs"] / result["ours"]
    ratio = 1 / ratio if result["unit"] == "tokens/s" else ratio
    assert result["ratio"] == pytest.approx(ratio)
    agree = True if case.startswith("decode") else None
    assert result["same_tokens"] is agree
  printed = capsys.readouterr().out
  assert "locate" in printed
  assert "NO" not in printed


def test_ours_alone(folder, capsys):
  assert run(folder, "--nocompare", "--case=encode") == 0
  assert "ratio 0" not in capsys.readouterr().out


class Liar(systems.Ours):
  """Says something else."""

  def __init__(self, checkpoint):
    super().__init__(checkpoint, 1)

  def generate(self, *args):
    return super().generate(*args) + 1


@pytest.mark.slow
def test_other_answers_are_a_failure(folder, monkeypatch, capsys):
  monkeypatch.setattr(systems, "Theirs", Liar)
  monkeypatch.setattr(peer, "missing", str)
  assert run(folder, "--case=decode") == 1
  assert "NO" in capsys.readouterr().out


TRAIN = ("train", "--size=tiny", "--targets=text", "--repeats=1")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_updates_are_measured_and_agree(tmp_path, capsys):
  pytest.importorskip("torch", reason="needs torch")
  pytest.importorskip("transformers", reason="needs it")
  output = tmp_path / "train.json"
  argv = ["benchmark", *TRAIN, f"--output={output}", "--traceback"]
  assert benchmark.main(argv) == 0
  found = json.loads(output.read_text())
  assert found["compute"] == {"unroll": 1, "remat": "dots", "loss_chunk": 256}
  assert found["agreement"]["tiny, text"]["same"] is True
  results = {result["case"]: result for result in found["results"]}
  assert [case.removeprefix("tiny, text: ") for case in results] == [
    "peak memory of training",
    "compile",
    "step",
    "step, processor time",
  ]
  for case, result in results.items():
    assert result["ours"] > 0
    if "compile" not in case:
      assert result["theirs"] > 0
      ratio = result["theirs"] / result["ours"]
      assert result["ratio"] == pytest.approx(ratio)
  assert "the same" in capsys.readouterr().out


class Careless(training_systems.Ours):
  """Makes one update more than it is asked for."""

  def step(self):
    super().step()
    return super().step()


@pytest.mark.slow
def test_other_updates_are_a_failure(monkeypatch, capsys):
  monkeypatch.setattr(training_systems, "Theirs", OtherName)
  monkeypatch.setattr(training_systems, "Ours", Careless)
  monkeypatch.setattr(peer, "missing", str)
  # A thread in the place of the process, which would have the right classes.
  monkeypatch.setattr(worker, "make_pool", lambda: ThreadPool(1))
  assert benchmark.main(["benchmark", *TRAIN]) == 1
  assert "NOT the same" in capsys.readouterr().out


class OtherName(training_systems.Ours):
  """Ours in the place of theirs."""

  def weights(self):
    return dict(super().weights())


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    (["train", "--size=huge"], "size"),
    (["train", "--size=tiny", "--nocompare", "--remat=all"], "remat"),
    (["inference"], "checkpoint"),
    (["--checkpoint=x"], 'there are "inference"'),
    (["inference", "--checkpoint=nowhere"], "no Hugging Face folder"),
    (["inference", "--checkpoint=x", "--repeats=0"], "repeats"),
    (["inference", "--checkpoint=x", "--case=all"], "case"),
  ],
)
def test_a_mistake_is_one_sentence(argv, message, capsys):
  assert benchmark.main(["benchmark", *argv]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_input_is_measured(tmp_path, capsys):
  pytest.importorskip("torch", reason="needs torch")
  pytest.importorskip("transformers", reason="needs it")
  output = tmp_path / "input.json"
  argv = ["input", "--repeats=1", "--per_step=2", f"--output={output}"]
  argv += ["--memory_examples=1", "--traceback"]
  assert benchmark.main(["benchmark", *argv]) == 0
  found = json.loads(output.read_text())
  costs = found["milliseconds"]
  sizes = ["640 x 480", "341 x 256", "298 x 224"]
  assert set(costs) == {"ours", "theirs", *sizes}
  assert set(costs["ours"]) == {
    "640 x 480, grounded_caption",
    "640 x 480, plain_caption",
    "640 x 480, referring",
    "640 x 480, grounded_caption, fast_decode",
    *sizes[1:],
  }
  assert list(costs["theirs"]) == sizes
  for side in ("ours", "theirs"):
    assert all(cost["cpu"] > 0 for cost in costs[side].values())
  for size in sizes:
    assert tuple(costs[size]) == speed.STAGES
  # Fewer pixels are decoded sooner.
  first, *_, last = (costs[size]["decode"]["cpu"] for size in sizes)
  assert last < first
  [[examples, mebibytes]] = found["memory"]
  assert examples >= 1
  assert mebibytes > 100
  assert "fast_decode" in capsys.readouterr().out


def test_captions_as_transformers_wants_them():
  box, other = (0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 1.0, 1.0)
  chunks = [
    {"start": 9, "end": 14, "box_xyxy": other},
    {"start": 0, "end": 5, "box_xyxy": box},
    {"start": 0, "end": 14, "box_xyxy": box},
    {"start": 9, "end": 14, "box_xyxy": box},
  ]
  example = {"caption": "a dog or a cat", "noun_chunks": chunks}
  assert peer_lib.tagged(example) == (
    "<grounding><phrase>a dog or a cat</phrase>",
    [[box]],
  )
  del chunks[2]
  assert peer_lib.tagged(example) == (
    "<grounding><phrase>a dog</phrase> or <phrase>a cat</phrase>",
    [[box], [other, box]],
  )

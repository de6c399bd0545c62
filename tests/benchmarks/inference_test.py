"""What is measured, and in what order."""

import numpy as np
import pytest

from kosmos2_jax.benchmarks import inference
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer


def test_systems_take_turns_and_the_median_of_ratios_counts():
  calls = []
  values = {"ours": iter([9, 1.0, 2.0, 4.0]), "theirs": iter([9, 3.0, 8.0, 4])}

  def run(name):
    calls.append(name)
    return float(next(values[name]))

  runs = {name: lambda name=name: run(name) for name in values}
  result = inference.measure_case("case", "s", runs, 3)
  assert calls == [
    *("ours", "theirs"),  # not measured
    *("ours", "theirs", "theirs", "ours", "ours", "theirs"),
  ]
  assert (result.ours, result.theirs) == (2.0, 4.0)
  assert result.ratios == [3.0, 4.0, 1.0]
  assert result.ratio == 3.0


def test_more_tokens_per_second_are_better():
  runs = {"ours": lambda: 6.0, "theirs": lambda: 4.0}
  assert inference.measure_case("case", "tokens/s", runs, 1).ratio == 1.5
  alone = inference.measure_case("case", "s", {"ours": lambda: 6.0}, 2, ())
  assert (alone.ours, alone.theirs, alone.ratio) == (6.0, None, None)


def test_who_is_not_warmed_up_runs_only_when_measured():
  calls = []
  runs = {
    "ours": lambda: calls.append("ours") or 1.0,
    "theirs": lambda: calls.append("theirs") or 1.0,
  }
  inference.measure_case("case", "s", runs, 1, warm_up=("ours",))
  assert calls == ["ours", "ours", "theirs"]


@pytest.mark.parametrize("size", [1, 3])
def test_prompts_are_what_the_model_takes(size):
  tokenizer = Tokenizer.small(4)
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  predictor = Predictor(presets.build(sizes), {}, tokenizer)
  row = inference.make_row(predictor, size)
  assert row["images"].shape == (size, 1, 16, 16, 3)
  assert row["tokens"].shape == row["image_mask"].shape == (size, 7 + 12)
  assert (row["image_mask"].sum(1) == 4).all()
  words = row["tokens"][:, 7:]
  assert ((words >= 4) & (words < tokenizer.vocab.image_id)).all()
  np.testing.assert_array_equal(
    row["tokens"], inference.make_row(predictor, size)["tokens"]
  )
  alone = inference.without_picture(row)
  assert alone["tokens"].shape == (size, 12)
  assert (alone["tokens"][:, 0] == tokenizer.vocab.bos_id).all()
  np.testing.assert_array_equal(alone["tokens"][:, 1:], words[:, 1:])

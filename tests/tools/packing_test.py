"""The advice on packing, and the command's mistakes."""

import numpy as np
import pytest

from kosmos2_jax.input import packing as packing_lib
from kosmos2_jax.tools import packing

pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"  # ml_collections
)


def caption_steps(per_step, count=5):
  rng = np.random.default_rng(1)
  return [packing.caption_sizes(per_step, rng) for _ in range(count)]


@pytest.mark.parametrize("num_groups", [1, 4])
def test_captions_fill_the_rows_that_are_advised(num_groups):
  steps = caption_steps(600)
  advice = packing.advise(steps, 2048, num_groups)
  assert advice.rows_per_step % num_groups == 0
  # Rounded up to whole rows in every group, four have more air.
  assert advice.filled >= (0.95 if num_groups == 1 else 0.93)
  assert advice.left_out < 0.001
  # A picture less a row, and examples are left out.
  assert 21 < advice.images_per_row < 26
  tokens, pictures = zip(*[size[1:] for size in steps[0]], strict=True)
  used = (num_groups == 1) and packing_lib.pack(
    tokens, pictures, advice.rows_per_step, 2048, advice.images_per_row - 2
  )
  assert num_groups > 1 or sum(map(len, used)) < 600


def test_rows_by_mean_and_spread():
  assert packing_lib.rows_needed(9e3, 0.0, 1000) == 10
  assert packing_lib.rows_needed(9e3, 1e3, 1000) == 12
  # Half of the step each, and 1 / sqrt(2) of the spread.
  assert packing_lib.rows_needed(9e3, 1e3, 1000, 2) == 2 * 7
  assert packing_lib.rows_needed(1.0, 0.0, 1000, 4) == 4


def test_report_names_kinds_and_flags():
  steps = [[("caption", 10, 1), ("text", 30, 0), ("text", 20, 0)]] * 2
  text = packing.report(steps, 64, packing.advise(steps, 64))
  assert "caption: 1 examples a step, 10.0 tokens (spread 0.0)" in text
  assert "text: 2 examples a step, 25.0 tokens (spread 5.0)" in text
  assert "--config.data.rows_per_step=1 --config.data.images_per_row=1" in text


def test_the_drawing_is_written(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(packing, "_GRIT_PER_STEP", 60)
  output = tmp_path / "new" / "packing.png"
  assert packing.main(["packing", f"--output={output}", "--num_steps=2"]) == 0
  assert output.read_bytes()[:4] == b"\x89PNG"
  assert "grounded caption: 60 examples a step" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("arguments", "sentence"),
  [
    (["--steps=3"], "steps"),
    (["photos"], "'photos' is no flag"),
    (["--config=configs/shapes.py", "--config.data.x=3"], "x"),
  ],
)
def test_mistakes_end_with_a_sentence(arguments, sentence, capsys):
  assert packing.main(["packing", *arguments]) == 2
  printed = capsys.readouterr().err
  assert sentence in printed
  assert len(printed.splitlines()) == 1

"""The command's mistakes; what it draws is `kosmos2_jax.drawing`'s."""

import pytest

from kosmos2_jax.tools import show_data

pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"  # ml_collections
)


@pytest.mark.parametrize(
  ("arguments", "sentence"),
  [
    (["--config=configs/shapes.py"], "output"),
    (["--output=x.png"], "config"),
    (["--config=configs/shapes.py", "--output=x.png", "--rows=3"], "rows"),
    (
      ["--config=configs/shapes.py", "--output=x.png", "--config.data.x=3"],
      "x",
    ),
  ],
)
def test_mistakes_end_with_a_sentence(arguments, sentence, capsys):
  assert show_data.main(["show_data", *arguments]) == 2
  printed = capsys.readouterr().err
  assert sentence in printed
  assert len(printed.splitlines()) == 1

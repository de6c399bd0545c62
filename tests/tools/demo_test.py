"""The command of the page: what it starts, and what it refuses."""

import pytest

from kosmos2_jax.page import blocks
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.tools import demo


def test_it_listens_at_home_with_the_limits_that_are_told(monkeypatch):
  seen = {}
  monkeypatch.setattr(
    Predictor,
    "from_pretrained",
    lambda path, **options: seen.update(path=path, **options),
  )
  monkeypatch.setattr(
    blocks, "build", lambda *given: seen.update(built=given) or "page"
  )
  monkeypatch.setattr(
    blocks, "launch", lambda *given: seen.update(launched=given)
  )
  argv = ["demo", "--checkpoint=here", "--new_tokens=9", "--seconds=5"]
  assert demo.main([*argv, "--dtype=bfloat16"]) == 0
  assert (seen["path"], seen["dtype"]) == ("here", "bfloat16")
  page, limits, host, port = seen["launched"]
  assert (page, host, port) == ("page", "127.0.0.1", 7860)
  assert (limits.new_tokens, limits.seconds, limits.at_once) == (9, 5, 1)


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    ([], "checkpoint"),
    (["--checkpoint=nothing/here"], "nothing/here"),
    (["--checkpoint=x", "--new_tokens=0"], "new_tokens"),
    (["--checkpoint=x", "--seconds=inf", "y"], "'y' is no flag"),
  ],
)
def test_mistakes_are_one_sentence(argv, message, capsys):
  assert demo.main(["demo", *argv]) == 2
  said = capsys.readouterr().err
  assert said.startswith("demo: ") and message in said
  assert said.count("\n") == 1


def test_a_missing_gradio_is_told_with_its_cure(monkeypatch, capsys):
  def missing(*_):
    raise ModuleNotFoundError("No module named 'gradio'", name="gradio")

  monkeypatch.setattr(
    Predictor, "from_pretrained", lambda path, **options: None
  )
  monkeypatch.setattr(blocks, "build", missing)
  assert demo.main(["demo", "--checkpoint=x"]) == 2
  assert 'pip install -e ".[demo]"' in capsys.readouterr().err


def test_help(capsys):
  assert demo.main(["demo", "--help"]) == 0
  assert "--picture_pixels" in capsys.readouterr().out

"""Mistakes become sentences; what has no fault goes on."""

import pytest

from kosmos2_jax.page import asking
from kosmos2_jax.page.handlers import Handlers
from kosmos2_jax.page.limits import Limits

UNCHANGED = object()
CONTROLS = (0, 1, 0, 0, 8)


def make(predictor):
  # A predictor that cannot be asked: what is refused is refused before.
  made = Handlers.__new__(Handlers)
  made.unchanged, made._limits, made._size = UNCHANGED, Limits(), 16
  made._predictor = predictor
  return made


@pytest.mark.parametrize(
  ("name", "given", "sentence"),
  [
    ("caption", (None, "Brief", *CONTROLS), "Choose a picture first."),
    ("locate", (None, "a cup", *CONTROLS), "Choose a picture first."),
    ("describe", (None, "0,0,1,1", *CONTROLS), "Choose a picture first."),
    ("answer", (None, "What?", *CONTROLS), "Choose a picture first."),
    ("chat", (None, (), " ", *CONTROLS), "Type a message first."),
    ("chat", (None, ((),) * 40, "a", *CONTROLS), "the limit is 40: begin anew"),
  ],
)
def test_a_mistake_is_a_sentence_and_the_rest_stays(name, given, sentence):
  [values] = getattr(make(None), name)(*given)
  assert sentence in values[-1] and 'role="alert"' in values[-1]
  assert set(values[:-1]) == {UNCHANGED}


def test_a_fault_of_the_page_is_told_without_its_details(monkeypatch, caplog):
  def fail(*_):
    raise RuntimeError("a secret")

  monkeypatch.setattr(asking, "reply", fail)
  [values] = make(None).chat(None, (), "Hello", *CONTROLS)
  assert "The page has a fault: RuntimeError." in values[-1]
  assert "secret" not in values[-1]
  assert "a secret" in caplog.text

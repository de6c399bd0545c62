"""Our numbers beside the published ones."""

import math

import numpy as np
import pytest

from kosmos2_jax.evals import comparison
from kosmos2_jax.evals.protocol import Metric, Published
from tests.evals import made_up
from tests.evals.made_up import PAPER, README


def row(value, scale=1.0, interval=None):
  return comparison.Row("m", value, interval, scale, (), True)


def test_a_row_for_each_metric():
  outcome = made_up.outcome(
    [made_up.record(0), made_up.record(1)],
    {
      "accuracy": Metric(50.0, np.array([0.0, 1.0]), scale=100.0),
      "loss": Metric(math.nan),
    },
    published=(PAPER, README, Published("meteor", 12.2, "paper")),
  )
  accuracy, loss, meteor = comparison.rows(outcome, made_up.task())
  assert accuracy == comparison.Row(
    "accuracy", 50.0, (0.0, 100.0), 100.0, (PAPER, README), True
  )
  assert loss == comparison.Row("loss", None, None, 1.0, (), False)
  # Printed by others, and not computed here.
  assert meteor[:4] == ("meteor", None, None, 1.0)
  assert meteor.is_main


def test_published_are_numbers_of_this_data_alone():
  outcome = made_up.outcome(published=(PAPER,))
  (one,) = comparison.rows(outcome, made_up.task(split="train"))
  assert one.published == ()
  assert comparison.rows(outcome) == [one]


@pytest.mark.parametrize(
  ("value", "scale", "text"),
  [
    (1 / 3, 1.0, "0.3333"),
    (52.319, 100.0, "52.32"),
    (None, 1.0, "–"),
    (0.0, 100.0, "0.00"),
  ],
)
def test_numbers_have_the_digits_of_their_field(value, scale, text):
  assert comparison.number(value, scale) == text


@pytest.mark.parametrize(
  ("value", "text"),
  [
    (66.7, "66.7"),
    (52.32, "52.32"),
    (72.0, "72.0"),
    (0.778355158317744, "0.7784"),
  ],
)
def test_published_numbers_are_as_they_were_printed(value, text):
  assert comparison.printed(Published("m", value, "")) == text


def test_intervals():
  assert comparison.interval(row(0.5)) == "–"
  both = row(50.0, 100.0, (44.0, 56.126))
  assert comparison.interval(both) == "44.00 – 56.13"


@pytest.mark.parametrize(
  ("value", "text"),
  [(53.5, "+1.20"), (51.0, "−1.30"), (52.301, "0.00"), (None, "–")],
)
def test_differences_have_a_sign(value, text):
  assert comparison.difference(row(value, 100.0), PAPER) == text

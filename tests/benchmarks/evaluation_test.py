"""Measuring an evaluation: the same answers, and a pack of records."""

import collections
import functools

import pytest

from kosmos2_jax.benchmarks import evaluation
from kosmos2_jax.input.sources import ListSource, eval_examples


def test_records_are_scattered_and_the_same_every_time():
  records = evaluation.make_records(5, 20)
  assert records == evaluation.make_records(5, 20)
  assert len({record["id"] for record in records}) == 20
  counts = collections.Counter(record["image"] for record in records)
  assert list(counts.values()) == [4] * 5
  order = [record["image_file"] for record in records]
  assert order != sorted(order)
  # Expressions are of several lengths, and no two are the same.
  texts = [record["expressions"][0]["text"] for record in records]
  assert len(set(texts)) == 20
  assert len({len(text.split()) for text in texts}) > 3


@pytest.mark.slow
def test_both_ways_give_the_same_boxes():
  records = evaluation.make_records(3, 12)
  found = evaluation.measure_evaluation(
    evaluation.make_predictor("tiny", 8),
    functools.partial(eval_examples, ListSource(records)),
    num_expressions=12,
    sample=4,
    their_length=48,
  )
  assert found.num_different == 0
  free, constrained = found.results
  assert free.ours == constrained.ours > 0
  assert constrained.same_tokens is True
  assert free.theirs > 0
  assert free.ratio == free.theirs / free.ours

"""What devices send each other in a step: parameters, and no activations."""

import math
import re

import pytest

from kosmos2_jax.training import step as step_lib
from tests.training import tiny_run

# Compiles whole models.
pytestmark = pytest.mark.slow

BATCH_SIZE, SEQ_LEN, WIDTH, VOCAB = 16, 24, 16, 640
NUM_PATCHES = 5
COLLECTIVE = re.compile(
  r"= (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all"
  r"|collective-permute)(?:-start)?\("
)
ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


def collectives(text):
  """(kind, dtype, dims) of every array that a collective of a program makes."""
  return [
    (kind, dtype, tuple(map(int, filter(None, dims.split(",")))))
    for line in text.splitlines()
    if (found := COLLECTIVE.search(line))
    for kind in [found[2]]
    for dtype, dims in ARRAY.findall(found[1])
  ]


@pytest.fixture(scope="module", params=[(2, 4, 1), (2, 2, 2)])
def sent(request, single):
  setup = tiny_run.build(request.param, initial=single.initial)
  batch = tiny_run.make_batch(0, BATCH_SIZE, SEQ_LEN)
  inputs = setup.put({key: batch[key] for key in step_lib.STEP_KEYS})
  compiled = setup.train_step.lower(setup.abstract, inputs).compile()
  return request.param, collectives(compiled.as_text())


def test_parameters_are_gathered(sent):
  """Else the other tests would pass on a program that sends nothing."""
  (_, _, tensor), found = sent
  # A layer's first MLP kernel, whole but for the cut along `tensor`.
  assert any(
    kind == "all-gather" and math.prod(dims) == WIDTH * 32 // tensor
    for kind, _, dims in found
  )


def test_no_activation_is_gathered(sent):
  _, found = sent
  for kind, dtype, dims in found:
    # Token ids are: 4 bytes for each, where a row of channels would be 8 KB.
    if kind == "all-gather" and not dtype.startswith(("s", "u")):
      assert not {SEQ_LEN, BATCH_SIZE * SEQ_LEN} & set(dims), (dtype, dims)
      pictures = NUM_PATCHES in dims and math.prod(dims) > NUM_PATCHES * WIDTH
      assert not pictures, (dtype, dims)


def test_no_logits_are_sent(sent):
  (_, _, tensor), found = sent
  for kind, dtype, dims in found:
    if {VOCAB, VOCAB // tensor} & set(dims):
      # The table or its gradient, and parts of them.
      assert WIDTH in dims or math.prod(dims) <= VOCAB * WIDTH // 2, (
        kind,
        dtype,
        dims,
      )

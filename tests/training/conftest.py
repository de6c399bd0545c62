"""One small run, compiled once for all tests of this folder."""

import pytest

from tests.training import tiny_run


@pytest.fixture(scope="session")
def single() -> tiny_run.TinyRun:
  """On one device."""
  return tiny_run.build()

"""The largest batch that fits, of steps that need no compiler."""

import pytest

from kosmos2_jax.compiling import jobs, programs, search


class Fake:
  """A step that needs 100 bytes and 30 for each row, of 1,000."""

  fixed, each, available = 100, 30, 1000

  def __init__(self):
    self.tried = []

  def __call__(self, rows):
    self.tried.append(rows)
    needed = self.fixed + self.each * rows
    job = jobs.Job({}, {}, {}, rows, 1, 0)
    return programs.Report(
      job,
      topology=None,
      mesh={},
      fits=needed <= self.available,
      available_bytes=self.available,
      needed_bytes=needed,
      compile_seconds=0.0,
      unsharded={},
      model_flops=0.0,
      step_flops=0.0,
    )


@pytest.mark.parametrize("each", [899, 900, 450, 301, 300, 60, 30, 7, 1])
def test_search_finds_the_border_with_few_compilations(each):
  fake = Fake()
  fake.each = each
  reports = search.largest_batch(fake, limit=4096)
  best = max((r.job.num_rows for r in reports if r.fits), default=0)
  assert best == 900 // each
  assert len(fake.tried) == len(set(fake.tried)) <= 4


def test_search_where_nothing_fits():
  fake = Fake()
  fake.fixed = 2000
  assert [r.fits for r in search.largest_batch(fake, limit=64)] == [False]
  assert fake.tried == [1]


def test_search_ends_at_the_limit():
  fake = Fake()
  fake.each = 0
  reports = search.largest_batch(fake, limit=16)
  assert max(r.job.num_rows for r in reports) == 16

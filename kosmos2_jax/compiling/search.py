"""Looks for the largest batch that fits, with few compilations."""

from collections.abc import Callable, Mapping

from kosmos2_jax.compiling.programs import Report


def largest_batch(
  compile_rows: Callable[[int], Report], limit: int
) -> list[Report]:
  """Compiles until the largest batch per chip that fits is known.

  Memory grows with the rows along a line, nearly: after two compilations the
  next numbers to be tried are those that the line says.

  Args:
    compile_rows: compiles a step with so many rows per chip.
    limit: rows per chip to stop at.

  Returns:
    The reports in the order they were made. The last that fits is the
    largest; none fits if one row per chip does not.
  """
  reports: dict[int, Report] = {}

  def fits(rows: int) -> bool:
    reports[rows] = compile_rows(rows)
    return reports[rows].fits

  low, high = 0, limit + 1
  guess = 1
  while high - low > 1:
    if fits(guess):
      low = guess
    else:
      high = guess
    guess = _next(reports, low, high)
  return list(reports.values())


def _next(reports: Mapping[int, Report], low: int, high: int) -> int:
  """Where to look for the border between what fits and what does not."""
  known = sorted(rows for rows, report in reports.items() if report.fits)
  if not known:
    return (low + high) // 2
  if len(known) == 1:
    return min(2 * known[0], high - 1) if high > 2 else low + 1
  first, second = known[-2:]
  growth = (reports[second].needed_bytes - reports[first].needed_bytes) / (
    second - first
  )
  free = reports[second].available_bytes - reports[second].needed_bytes
  guess = second + int(free / growth) if growth > 0 else 2 * second
  return min(max(guess, low + 1), high - 1)

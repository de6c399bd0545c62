"""Makes the report of a run anew, from what its workdir holds.

  python -m kosmos2_jax.tools.report --workdir=runs/shapes

Writes WORKDIR/report.html, also while the run goes, or for one that was killed.
A file that cannot be read whole is told, and the rest is shown. A mistake ends
with one sentence and status 2.
"""

import sys
from collections.abc import Sequence

from absl import flags

from kosmos2_jax.training import workdir
from kosmos2_jax.training.report import page


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  flags.DEFINE_string("workdir", None, "Folder of the run.", read)
  if {"--help", "-h"} & set(argv):
    print(f"{__doc__}\n{read.get_help()}")
    return 0
  try:
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help.")
    if not read.workdir:
      raise ValueError("--workdir is missing; for example runs/shapes.")
    run = page.write(read.workdir)
  except (flags.Error, ValueError, OSError) as error:
    print(f"report: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
  for complaint in run.complaints:
    print(f"report: {complaint}", file=sys.stderr)
  print(f"wrote {workdir.open_folder(read.workdir) / workdir.REPORT_FILE}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))

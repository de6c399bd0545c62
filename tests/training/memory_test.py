"""Freed memory goes back to the system."""

import pathlib
import re
import subprocess
import sys

import pytest

PROGRAM = """
import re
from kosmos2_jax.training import memory

def held():
  status = open("/proc/self/status").read()
  return int(re.search(r"VmRSS:\\s+(\\d+) kB", status)[1]) // 1024

pieces = [bytes(20_000) for _ in range(10_000)]
del pieces[:-1:]  # glibc keeps what is below a piece in use
before = held()
memory.give_back()
print(before - held())
"""


def test_freed_pieces_are_given_back():
  if not pathlib.Path("/proc/self/status").is_file():
    pytest.skip("needs Linux")
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
    check=True,
  )
  [megabytes] = re.findall(r"-?\d+", done.stdout)
  assert int(megabytes) > 100

"""Java programs: started, answered by, and ended whatever happens."""

import os
import time

import pytest

from kosmos2_jax.evals.scoring import java
from tests.evals.scoring import programs


def is_running(group):
  """Whether any process of a group is alive."""
  try:
    os.killpg(group, 0)
  except ProcessLookupError:
    return False
  return True


def ends(group):
  """Whether a group is gone soon; the init process may have to reap it."""
  for _ in range(100):
    if not is_running(group):
      return True
    time.sleep(0.05)
  return False


def test_the_same_on_every_machine(tmp_path, monkeypatch):
  programs.put(tmp_path, monkeypatch, 'echo "$@"; cat')
  with java.program(["-jar", "a.jar"], timeout_s=30.0) as program:
    said, _ = program.process.communicate(b"in")
  assert said == (
    b"-Dfile.encoding=UTF-8 -Duser.language=en -Duser.country=US -jar a.jar\nin"
  )


def test_no_java_is_a_sentence(tmp_path, monkeypatch):
  programs.remove(tmp_path, monkeypatch)
  with (
    pytest.raises(java.JavaTrouble, match="not found; install a Java runtime"),
    java.program([], timeout_s=1.0),
  ):
    pass


def test_a_java_that_cannot_be_started_is_a_sentence(tmp_path, monkeypatch):
  programs.put(tmp_path, monkeypatch, "")
  (tmp_path / "java").write_bytes(b"#!/no/such/shell\n")
  with (
    pytest.raises(java.JavaTrouble, match="cannot be started at .*java"),
    java.program([], timeout_s=1.0),
  ):
    pass


def test_one_that_hangs_is_ended_with_all_it_started(tmp_path, monkeypatch):
  # The shell waits for a process of its own that holds the pipe, too.
  programs.put(tmp_path, monkeypatch, "sleep 60\necho late")
  start = time.monotonic()
  with java.program([], timeout_s=0.3) as program:
    said, _ = program.process.communicate(b"")
    trouble = program.trouble("the test")
  assert time.monotonic() - start < 30
  assert said == b""
  assert "no answer for the test in 0.3 seconds" in str(trouble)
  assert ends(program.process.pid)


def test_it_does_not_outlive_an_error(tmp_path, monkeypatch):
  programs.put(tmp_path, monkeypatch, "sleep 60")
  with (
    pytest.raises(KeyboardInterrupt),
    java.program([], timeout_s=60.0) as program,
  ):
    assert is_running(program.process.pid)
    raise KeyboardInterrupt
  assert ends(program.process.pid)
  assert program.process.stdout.closed
  assert program.process.stdin.closed


def test_one_that_dies_is_quoted(tmp_path, monkeypatch):
  script = "echo; echo 'Unable to locate a Java Runtime.' >&2\nexit 3"
  programs.put(tmp_path, monkeypatch, script)
  with java.program([], timeout_s=60.0) as program:
    program.process.communicate(b"never read")
    trouble = program.trouble("the test")
  assert "for the test (status 3)" in str(trouble)
  assert "it said: Unable to locate a Java Runtime." in str(trouble)


def test_pipes_that_are_not_emptied_do_not_hold_it_up(tmp_path, monkeypatch):
  programs.put(tmp_path, monkeypatch, "exec >&-\nsleep 60")
  with java.program([], timeout_s=60.0) as program:
    program.process.stdin.write(b"x")  # stays in the buffer
    program.stop()
  assert ends(program.process.pid)

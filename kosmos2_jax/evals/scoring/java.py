"""Runs the Java programs of official scorers, and ends them for certain."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence

# The scorers read and write numbers and letters: on every machine the same.
_EVERYWHERE = (
  "-Dfile.encoding=UTF-8",
  "-Duser.language=en",
  "-Duser.country=US",
)


class JavaTrouble(RuntimeError):
  """Java is missing or did not do its work; the message is a sentence."""


class Program:
  """A running Java program, with its pipes.

  Attributes:
    process: has `stdin` and `stdout`, of bytes.
  """

  def __init__(self, process: subprocess.Popen, errors, timeout_s: float):
    self.process = process
    self._errors = errors
    self._timeout_s = timeout_s
    self._timed_out = False

  def stop(self) -> None:
    """Ends it and all that it started, at once."""
    # `java` may be a script that starts the machine; both are one group. One
    # that is over is no error; macOS has another word for it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
      if hasattr(os, "killpg"):
        os.killpg(self.process.pid, signal.SIGKILL)
      else:
        self.process.kill()

  def time_out(self) -> None:
    """Ends it because it takes too long."""
    self._timed_out = True
    self.stop()

  def trouble(self, what: str) -> JavaTrouble:
    """What to raise when it has failed; its end is waited for.

    Args:
      what: it was to do, such as "the PTB tokenizer".
    """
    if self._timed_out:
      return JavaTrouble(
        f"Java gave no answer for {what} in {self._timeout_s:g} seconds and"
        " was stopped; score again on a machine with less to do."
      )
    self.stop()
    status = self.process.wait()
    self._errors.seek(0)
    lines = self._errors.read().decode(errors="replace").split("\n")
    said = next((line.strip() for line in lines if line.strip()), "nothing")
    return JavaTrouble(
      f"Java ended before it had answered for {what} (status {status}); it"
      f" said: {said}"
    )


@contextlib.contextmanager
def program(arguments: Sequence[str], *, timeout_s: float) -> Iterator[Program]:
  """Starts `java` with these arguments; it does not outlive the block.

  Args:
    arguments: behind `java`.
    timeout_s: it is ended after so many seconds, whatever it does then: its
      pipes are closed, so that who waits for it goes on.

  Raises:
    JavaTrouble: there is no Java, or it cannot be started.
  """
  java = shutil.which("java")
  if java is None:
    raise JavaTrouble(
      "Java was not found; install a Java runtime, 8 or newer, so that `java`"
      " is on the PATH, and score again."
    )
  with tempfile.TemporaryFile() as errors:
    try:
      process = subprocess.Popen(
        [java, *_EVERYWHERE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
      )
    except OSError as error:
      raise JavaTrouble(
        f"Java cannot be started at {java}: {error}; install a Java runtime"
        " and score again."
      ) from error
    running = Program(process, errors, timeout_s)
    alarm = threading.Timer(timeout_s, running.time_out)
    alarm.daemon = True
    alarm.start()
    try:
      yield running
    finally:
      alarm.cancel()
      alarm.join()
      running.stop()
      process.wait()
      process.stdout.close()
      # What could not be written any more is not needed any more.
      with contextlib.suppress(OSError):
        process.stdin.close()

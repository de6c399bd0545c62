"""A process that does tasks, with its models loaded, until it dies."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection as connections
from typing import Any

# How often a child looks whether its parent is still there, seconds.
WATCH_SECONDS = 0.5

# What a child does with a task; the result has to pickle.
Work = Callable[[Any], Any]

# The environment of a child is that of its parent when it starts.
_STARTING = threading.Lock()


class Refused(ValueError):
  """Trying again would not help, nor would other tasks."""


class Died(Exception):
  """The child is not there any more."""


class Child:
  """One process, and the pipe to it.

  It first says ("ready", None) or ("refused", why), then to each task "done"
  with the result, "refused" or "error" with why.

  Attributes:
    is_good: for whoever has it; False at first.
  """

  def __init__(self, make: Callable[[], Work], environment: Mapping[str, str]):
    """Starts it.

    Args:
      make: called in the child for what it does with tasks; it has to pickle.
      environment: variables it has beside those of this process.

    Raises:
      Refused: it cannot be started.
    """
    context = multiprocessing.get_context("spawn")
    self._pipe, theirs = context.Pipe()
    self._process = context.Process(
      target=_serve, args=(theirs, os.getpid(), make), daemon=True
    )
    try:
      with _STARTING, _environment(environment):
        self._process.start()
    except Exception as error:  # What does not pickle raises many kinds.
      raise Refused(f"no process can be started: {_in_words(error)}") from error
    # Otherwise the pipe would not end when the child does.
    theirs.close()
    self._killing = threading.Lock()
    self.is_good = False

  def ask(self, task: Any) -> tuple[str, Any]:
    """What kind of answer there is to a task, and the answer. Raises Died."""
    try:
      self._pipe.send(task)
    except OSError:
      raise self._death() from None
    return self.receive()

  def receive(self) -> tuple[str, Any]:
    """Waits for what the child says next. Raises Died."""
    connections.wait([self._pipe, self._process.sentinel])
    try:
      # What it said before it died, counts.
      if self._pipe.poll():
        return self._pipe.recv()
    except (OSError, EOFError):
      pass
    raise self._death()

  def kill(self) -> None:
    """Ends it, whatever it is doing."""
    with self._killing:
      self._process.kill()
      self._process.join()

  def _death(self) -> Died:
    self._process.join(WATCH_SECONDS)
    code = self._process.exitcode
    if code is not None and code < 0:
      return Died(f"the process was killed by signal {-code}")
    return Died(f"the process ended with status {code}")


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
  """Sets variables of this process for a moment."""
  before = {name: os.environ.get(name) for name in variables}
  os.environ.update(variables)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value


def _serve(pipe: Any, parent: int, make: Callable[[], Work]) -> None:
  """The child: answers tasks until there is nobody to ask."""
  # Ctrl-C goes to every process of a terminal; the parent ends its children.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  watch = threading.Thread(target=_end_with, args=(parent,), daemon=True)
  watch.start()
  try:
    work = make()
  except Exception as error:
    pipe.send(("refused", _in_words(error)))
    return
  pipe.send(("ready", None))
  while True:
    try:
      task = pipe.recv()
    except (EOFError, OSError):
      return
    try:
      answer = "done", work(task)
    except Refused as error:
      answer = "refused", str(error)
    except Exception as error:
      answer = "error", _in_words(error, place=True)
    pipe.send(answer)


def _end_with(parent: int) -> None:
  """Ends this process when its parent is gone; nobody wants its work then."""
  while os.getppid() == parent:
    time.sleep(WATCH_SECONDS)
  os._exit(1)


def _in_words(error: Exception, place: bool = False) -> str:
  """One line; of what was not expected, with its kind and where it was."""
  text = " ".join(str(error).split())
  if place or not isinstance(error, ValueError | OSError | ImportError):
    text = f"{type(error).__name__}: {text}"
  if place:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text += f" ({os.path.basename(frame.filename)}, line {frame.lineno})"
  return text

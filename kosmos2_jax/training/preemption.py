"""Being asked to stop: signals are noted, and obeyed where nothing is lost.

A signal is heard by a thread of its own, so it is heard while the process
computes, compiles or waits. Until there are steps to lose the process exits at
once. From then on the loop, evaluation and the wait for input look here, the
state is saved, and the command exits with a status that means: start me again.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

# EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command goes on.
RESTART_STATUS = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Words(NamedTuple):
  """How a command says what it does when it is asked to stop.

  Attributes:
    command: its name.
    doing: what it does before it exits.
    kept: what there is if it exits at once.
  """

  command: str = "train.py"
  doing: str = "saving and exiting"
  kept: str = "the last checkpoint is whole"


TRAINING = Words()
EVALUATION = Words(
  "eval.py",
  "exiting after this batch; the same command goes on",
  "what was answered is kept, and the same command goes on",
)

# From what this process wants to what any process wants; called by all of them
# in the same order.
Agree = Callable[[Sequence[bool]], Sequence[bool]]


class Preempted(Exception):
  """The run was asked to stop; the same command goes on with it."""


class Stop:
  """Whether the run was asked to stop; hears signals as a context manager.

  One that is not entered is never asked by a signal. Enter it in the main
  thread, and only once.

  Args:
    grace_seconds: how long the process may go on after the first signal; then
      it exits at once, as after a second signal. 0: as long as it takes.
    agree: makes all processes stop, or save, at the same step; None where
      there is one process.
    words: what is said.
  """

  def __init__(
    self,
    grace_seconds: float = 0.0,
    agree: Agree | None = None,
    words: Words = TRAINING,
  ):
    self._words = words
    self._grace_seconds = grace_seconds
    self._agree = agree
    self._heard = ""
    self._held = False
    self._agreed = False  # to stop; known to all processes
    self._timer = None

  def __enter__(self) -> "Stop":
    self._ear, self._mouth = socket.socketpair()
    self._mouth.setblocking(False)
    self._thread = threading.Thread(
      target=self._listen, name="signals", daemon=True
    )
    self._thread.start()
    # Python's own handlers wait for the main thread, which may be compiling;
    # the number of the signal goes to the thread at once.
    self._old_mouth = signal.set_wakeup_fd(
      self._mouth.fileno(), warn_on_full_buffer=False
    )
    self._old = {s: signal.signal(s, lambda *_: None) for s in SIGNALS}
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self._old.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(self._old_mouth)
    self._mouth.close()  # ends the thread
    self._thread.join()
    self._ear.close()
    if self._timer is not None:
      self._timer.cancel()

  def hold(self) -> None:
    """From here on there is something to save: signals are noted only."""
    self._held = True

  def ask(self, why: str) -> None:
    """Asks the run to stop, as a signal does once `hold` was called."""
    self._heard = self._heard or why

  def poll(self, save: bool = False) -> tuple[bool, bool]:
    """Whether to stop, and whether to save; the same on all processes.

    Args:
      save: whether this process finds that it is time to save.
    """
    flags = (bool(self._heard), save)
    if self._agreed:
      return True, False
    stop, save = flags if self._agree is None else self._agree(flags)
    # The processes agree once; whoever asks again gets the same answer.
    self._agreed = self._agree is not None and bool(stop)
    return bool(stop), bool(save)

  def check(self) -> None:
    """Raises Preempted if the run was asked to stop; on all processes."""
    if self.poll()[0]:
      raise Preempted(f"asked to stop ({self._heard or 'another process'})")

  def check_waiting(self) -> None:
    """As `check`, where each process waits for itself.

    With several processes it does nothing: the others may be in the middle of
    a step, which one process must not leave.
    """
    if self._agree is None:
      self.check()

  def _listen(self):
    while heard := self._ear.recv(1):
      if heard[0] not in SIGNALS:
        continue  # other signals that have a handler
      name = signal.Signals(heard[0]).name
      if not self._held:
        self._leave_now(f"{name}: nothing is lost yet, exiting.")
      if self._heard:
        self._leave_now(f"{name} again: exiting; {self._words.kept}.")
      self._heard = name
      limit = ""
      if self._grace_seconds:
        limit = f" within {self._grace_seconds:g} s"
        self._timer = threading.Timer(
          self._grace_seconds,
          self._leave_now,
          [f"not saved{limit}: exiting; {self._words.kept}."],
        )
        self._timer.daemon = True
        self._timer.start()
      doing = f"{self._words.doing}{limit}"
      _say(self._words, f"{name}: {doing}; a second one exits at once.")

  def _leave_now(self, why):
    _say(self._words, why)
    os._exit(RESTART_STATUS)


def status_of(
  run: Callable[[Stop], int | None],
  grace_seconds: float,
  agree: Agree | None = None,
  words: Words = TRAINING,
) -> int:
  """Runs something that can be asked to stop; returns its status.

  Args:
    run: takes what asks it; returns a status, or None for 0.
    grace_seconds: see `Stop`.
    agree: see `Stop`.
    words: see `Stop`.
  """
  try:
    with Stop(grace_seconds, agree, words) as stop:
      return run(stop) or 0
  except Preempted as asked:
    _say(words, str(asked))
    return RESTART_STATUS


def leave(status: int) -> None:
  """Ends the process with the status of a command.

  One that stops early may have threads in the middle of something, for which
  the interpreter would wait.
  """
  if status == RESTART_STATUS:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)


def _say(words, text):
  # Not by `print`: another thread may be killed with its lock.
  os.write(2, f"{words.command}: {text}\n".encode())

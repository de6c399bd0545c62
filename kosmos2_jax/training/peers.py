"""A thread that watches the other processes of a run, and ends with them.

Every process sets a key of its own in the coordination service every few
seconds: its beat. Process 0 reads all of them; where one has not changed for
too long, it says so under another key, which everybody reads with each beat.
So a run of which a part is gone ends everywhere, with one sentence, though the
main threads hang in a collective that will never be finished.

What is on the disk is safe at any moment (see `checkpoint`), so a process may
end wherever it is.
"""

import ctypes
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

RESTART = 75  # status: start all processes again (EX_TEMPFAIL)
BEAT_SECONDS = 1.0
PATIENCE_SECONDS = 30.0  # how long a beat may stay away, if not said else
_BEATS, _VERDICTS = "kosmos2_jax/beat", "kosmos2_jax/verdict"
# A process that ends waits so long for the others to read why.
LINGER_SECONDS = 3 * BEAT_SECONDS
# Listed by the coordination service when somebody did not come.
_LATE = re.compile(r"timed out task names:\s*((?:\d+[\s,]*)+)")


def tell(text: str) -> None:
  """Writes one line on stderr, whatever state the interpreter is in."""
  os.write(2, f"{text}\n".encode())


class Watch(threading.Thread):
  """Sends the beats of this process and watches those of the others.

  Args:
    client: of the coordination service.
    index: number of this process.
    hosts: the host of each process.
    on_beat: called with each beat.
    patience: seconds that a beat may stay away.
    end: ends the process with a status; for tests.
  """

  def __init__(
    self,
    client: Any,
    index: int,
    hosts: Sequence[str],
    on_beat: Callable[[], None] = lambda: None,
    *,
    patience: float = PATIENCE_SECONDS,
    end: Callable[[int], None] = os._exit,
  ):
    super().__init__(name="watch", daemon=True)
    self._client = client
    self._index = index
    self._hosts = tuple(hosts)
    self._on_beat = on_beat
    self._patience = patience
    self._end = end
    self._over = threading.Event()
    self._beat = 0
    self._status: int | None = None  # with which this process ends, once said
    # Of each process: its newest beat, and when that came.
    self._seen = {i: ("", time.monotonic()) for i in range(len(hosts))}

  def run(self) -> None:
    """The beats; see the module."""
    while not self._over.wait(BEAT_SECONDS):
      try:
        self._round()
      except jax.errors.JaxRuntimeError:
        # The service is gone, or the network to it. Most often jax's client
        # ends this process before we do (`end_on_abort`).
        if missing := self._missing():
          self._finish(self._sentence(missing), RESTART)

  def stop(self) -> None:
    """The run is over: nobody is missed any more."""
    self._over.set()
    if self.is_alive():
      self.join()

  def fail(self, text: str, status: int) -> bool:
    """Tells the others that this process ends, why, and with which status.

    Returns:
      Whether process 0 ends with the same words, so that they need not be said
      twice.
    """
    self._over.set()
    self._status = status
    try:
      self._say(text, status)
      time.sleep(LINGER_SECONDS)
      same = {text} == {v["text"] for v in self._verdicts() if not v["index"]}
    except jax.errors.JaxRuntimeError:
      return False
    return bool(self._index) and same

  def last_words(self) -> tuple[str, int]:
    """What to say when the coordination service ends this process, and the
    status; nothing, if it was about to end by itself.
    """
    if self._status is not None:
      return "", self._status
    text = self._sentence([0] if self._index else self._missing(3.0))
    return f"process {self._index}: {text}", RESTART

  def _round(self) -> None:
    self._beat += 1
    self._client.key_value_set(
      f"{_BEATS}/{self._index}", str(self._beat), allow_overwrite=True
    )
    for verdict in self._verdicts():
      who = self._called(verdict["index"])
      text = verdict["text"]
      self._finish(
        text if verdict["missing"] else f"{who} ended: {text}",
        verdict["status"],
      )
    if self._index:
      self._notice([("0", self._client.key_value_try_get(f"{_BEATS}/0"))])
    else:
      self._notice(self._client.key_value_dir_get(_BEATS))
    if missing := self._missing():
      text = self._sentence(missing)
      if not self._index:
        self._say(text, RESTART, missing=True)
        time.sleep(LINGER_SECONDS)
      self._finish(text, RESTART)
    self._on_beat()

  def _notice(self, beats: Sequence[tuple[str, str]]) -> None:
    for key, beat in beats:
      index = int(key.rpartition("/")[2])
      if self._seen[index][0] != beat:
        self._seen[index] = (beat, time.monotonic())

  def _missing(self, patience: float | None = None) -> list[int]:
    patience = self._patience if patience is None else patience
    # Process 0 watches all; the others watch process 0.
    watched = [0] if self._index else range(1, len(self._hosts))
    now = time.monotonic()
    return [i for i in watched if now - self._seen[i][1] > patience]

  def _sentence(self, missing: Sequence[int]) -> str:
    who = ", ".join(map(self._called, missing)) or "another process"
    have = "has" if len(missing) < 2 else "have"
    return (
      f"{who} {have} not been heard of any more: killed, or cut off from the"
      " others. Start all processes again, and the run goes on from its newest"
      f" checkpoint (status {RESTART})"
    )

  def _called(self, index: int) -> str:
    return f"process {index} on {self._hosts[index]}"

  def _verdicts(self) -> list[dict[str, Any]]:
    found = self._client.key_value_dir_get(_VERDICTS)
    verdicts = [json.loads(value) for _, value in sorted(found)]
    return [v for v in verdicts if v["index"] != self._index]

  def _say(self, text: str, status: int, missing: bool = False) -> None:
    verdict = {
      "index": self._index,
      "text": text,
      "status": status,
      "missing": missing,
    }
    self._client.key_value_set(
      f"{_VERDICTS}/{self._index}", json.dumps(verdict), allow_overwrite=True
    )

  def _finish(self, text: str, status: int) -> None:
    if self._over.is_set():
      return
    self._over.set()
    self._status = status
    tell(f"process {self._index}: {text}")
    if not self._index:
      time.sleep(LINGER_SECONDS)
    self._end(status)


def end_on_abort(last_words: Callable[[], tuple[str, int]] | None) -> None:
  """Ends this process with a sentence where jax's client would abort it.

  The client of the coordination service answers everything that is wrong with
  its peers by abort(), from a thread of its own: at once when process 0 is
  killed. Python's signal handlers do not run then, so this one is native.

  Args:
    last_words: gives what is to be said, and the status; None: abort() aborts
      again.
  """

  def handler(_):
    text, status = last_words()
    if text:
      tell(text)
    os._exit(status)

  native = ctypes.CFUNCTYPE(None, ctypes.c_int)
  chosen = native(handler) if last_words else native(int(signal.SIG_DFL))
  ctypes.CDLL(None).signal(int(signal.SIGABRT), chosen)
  # It must not be garbage as long as it may be called.
  global _on_abort
  _on_abort = chosen


_on_abort: Any = None


def late_processes(log: str) -> list[int]:
  """Numbers of those who did not come, from what the service has logged."""
  found = _LATE.search(log)
  return (
    [int(number) for number in re.findall(r"\d+", found[1])] if found else []
  )


def flush() -> None:
  """Nothing that was printed is lost by `os._exit`."""
  sys.stdout.flush()
  sys.stderr.flush()

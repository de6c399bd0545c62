"""Several processes that train together: starting, agreeing, ending.

One process runs on each host (on each GPU, under SLURM). They speak to each
other in two ways: the compiled step by its collectives, and everything here
through the coordination service in process 0, which needs no device. Nothing
here waits for ever, and who is late is named.
"""

import collections
import contextlib
import json
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from kosmos2_jax.training import joining, memory, peers
from kosmos2_jax.training.agreement import Agreement
from kosmos2_jax.training.peers import RESTART

START_SECONDS = 300.0  # for all to come
WAIT_SECONDS = 1800.0  # for the others, where all do the same work
_PREFIX = "kosmos2_jax"
# In errors of collectives that another start may mend.
_NETWORK = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "Gloo", "NCCL")


class Late(RuntimeError):
  """A process did not come where all had to; names it."""


class Group:
  """The processes of a run; this one alone, unless `start` says otherwise.

  Every method is called by all processes in the same order.

  Attributes:
    index: number of this process.
    count: how many there are.
  """

  def __init__(
    self,
    index: int = 0,
    count: int = 1,
    client: Any = None,
    patience: float = peers.PATIENCE_SECONDS,
  ):
    """Takes what `start` has found out."""
    self.index = index
    self.count = count
    self._client = client
    self._uses = collections.Counter()
    self._agreement: Agreement | None = None
    self._hosts = [socket.gethostname()]
    if client is not None:
      found = self._share("hosts", socket.gethostname().encode(), START_SECONDS)
      self._hosts = [host.decode() for host in found]
      self._agreement = Agreement(
        client,
        index,
        count,
        lambda seconds, here: self._late("all to agree", seconds, here),
        WAIT_SECONDS,
      )
      self.watch = peers.Watch(
        client,
        index,
        self._hosts,
        self._agreement.on_beat,
        patience=patience,
      )

  @property
  def is_main(self) -> bool:
    """Whether this is the process that writes what is written once."""
    return self.index == 0

  def wait(self, name: str, seconds: float = WAIT_SECONDS) -> None:
    """Waits until all processes are here.

    Args:
      name: what is waited for, as messages say it.
      seconds: how long at most.

    Raises:
      Late: names the processes that did not come.
    """
    self.gather(name, b"", seconds)

  def gather(
    self, name: str, value: bytes, seconds: float = WAIT_SECONDS
  ) -> list[bytes]:
    """Gives each process the values of all, by number.

    Args:
      name: as `wait`.
      value: small; it goes through process 0.
      seconds: as `wait`.

    Raises:
      Late: as `wait`.
    """
    return [value] if self.count == 1 else self._share(name, value, seconds)

  def any(self, name: str, flag: bool, seconds: float = WAIT_SECONDS) -> bool:
    """Whether the flag is set on any process; see `gather`."""
    return b"1" in self.gather(name, b"1" if flag else b"0", seconds)

  def from_main(
    self, name: str, value: Any, seconds: float = WAIT_SECONDS
  ) -> Any:
    """What process 0 has here; the value can be written as JSON."""
    mine = json.dumps(value if self.is_main else None).encode()
    return json.loads(self.gather(name, mine, seconds)[0])

  def add_up(self, name: str, counters: Sequence[collections.Counter]) -> None:
    """Makes every counter the sum of those of all processes."""
    if self.count == 1:
      return
    parts = self.gather(name, json.dumps(counters).encode())
    for counter, *all_of_it in zip(
      counters, *map(json.loads, parts), strict=True
    ):
      counter.clear()
      for part in all_of_it:
        counter.update(part)

  @contextlib.contextmanager
  def main_first(
    self, name: str, seconds: float = 7 * 24 * 3600.0
  ) -> Iterator[None]:
    """Process 0 runs the block before the others do.

    What it writes where all see it, they find. A block may take as long as
    preparing data does: should process 0 be lost meanwhile, `peers` says so.
    """
    if not self.is_main:
      self.wait(name, seconds)
    yield
    if self.is_main:
      self.wait(name, seconds)

  @property
  def agree(self) -> Callable[[Sequence[bool]], Sequence[bool]] | None:
    """From what this process wants to what any wants, see `agreement`; None
    for one process.
    """
    return self._agreement.agree if self._agreement else None

  def _share(self, name: str, value: bytes, seconds: float) -> list[bytes]:
    use = self._uses[name]
    self._uses[name] += 1
    key = f"{_PREFIX}/{name}/{use}"
    if use > 1:
      # Whoever is here has read what was before the last time.
      self._client.key_value_delete(f"{_PREFIX}/{name}/{use - 2}/{self.index}")
    self._client.key_value_set_bytes(f"{key}/{self.index}", value)
    try:
      self._client.wait_at_barrier(key, int(seconds * 1000))
    except jax.errors.JaxRuntimeError as error:
      if "DEADLINE_EXCEEDED" not in str(error):
        raise
      found = self._client.key_value_dir_get_bytes(key)
      here = [int(k.rpartition("/")[2]) for k, _ in found]
      raise self._late(name, seconds, here) from None
    found = self._client.key_value_dir_get_bytes(key)
    by_index = {int(k.rpartition("/")[2]): content for k, content in found}
    return [by_index[index] for index in range(self.count)]

  def _late(self, name: str, seconds: float, here: Sequence[int]) -> "Late":
    names = [
      f"process {i}" + (f" on {self._hosts[i]}" if i < len(self._hosts) else "")
      for i in range(self.count)
      if i not in here
    ]
    return Late(
      f"waited {seconds:g} s for {name}, and these did not come:"
      f" {', '.join(names)}. Look at what they wrote, and start all processes"
      " again"
    )


ALONE = Group()


@contextlib.contextmanager
def start(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  *,
  mistakes: tuple[type[Exception], ...] = (ValueError, OSError),
  seconds: float = START_SECONDS,
  patience: float = peers.PATIENCE_SECONDS,
  in_words: Callable[[Exception], str] = str,
) -> Iterator[Group]:
  """Joins the processes of a run, before anything asks for a device.

  A TPU slice, several of them, SLURM and Open MPI tell a process who the
  others are; elsewhere the three arguments do, or the environment variables
  JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. Where nothing
  does, this process is alone.

  When the block ends by an error and there are others, they are told, and all
  end with a status instead of an exception: 2 if the error is a mistake, else
  75.

  Args:
    coordinator: HOST:PORT of process 0.
    num_processes: how many there are.
    process_id: number of this one, from 0.
    mistakes: errors that another start would not mend.
    seconds: how long to wait for the others.
    patience: seconds in which nothing is heard of a process that is missing.
    in_words: what an error says.

  Raises:
    ValueError: if only some of the three are given, or they cannot be.
  """
  how = joining.find_others(coordinator, num_processes, process_id)
  if how is None:
    yield Group()
    return
  group = Group(*joining.join(how, seconds), patience)
  peers.end_on_abort(group.watch.last_words)
  group.watch.start()
  try:
    yield group
    group.wait("the end of the run")
  except Exception as error:
    _end(group, error, mistakes, in_words, patience)
  group.watch.stop()
  jax.distributed.shutdown()
  peers.end_on_abort(None)


def _is_of_network(error: Exception) -> bool:
  """Whether processes that are all there did not reach each other in time."""
  return isinstance(error, jax.errors.JaxRuntimeError) and any(
    sign in str(error) for sign in _NETWORK
  )


def compile_together(
  step: Callable[..., Any], group: Group
) -> Callable[..., Any]:
  """A compiled function whose first call waits until all have compiled it.

  Who is done early would wait in its first collective, for as long as the
  device's library likes, and nobody would be named. What the compiler needed
  of memory is given back to the system.

  Args:
    step: of `jax.jit`; always called with the same shapes and places.
    group: the processes.
  """
  compiled = None

  def run(*args: Any) -> Any:
    nonlocal compiled
    if compiled is None:
      compiled = step.lower(*args).compile()
      memory.give_back()
      group.wait("all to compile the step")
    return compiled(*args)

  return run


def _end(
  group: Group,
  error: Exception,
  mistakes: tuple[type[Exception], ...],
  in_words: Callable[[Exception], str],
  patience: float,
) -> None:
  """Tells the others of an error, says it, and ends this process."""
  if isinstance(error, jax.errors.JaxRuntimeError):
    # A collective was broken off: most likely a process is gone. Who it was,
    # the watch will know, and it ends this process.
    time.sleep(patience + 10 * peers.BEAT_SECONDS)
  status = 2 if isinstance(error, mistakes) else 1
  if isinstance(error, Late) or _is_of_network(error):
    status = RESTART
  text = in_words(error)
  if not group.watch.fail(text, status):
    who = "" if group.is_main else f"process {group.index}: "
    peers.tell(f"{who}{text}")
    if status == 1:
      traceback.print_exception(error)
  peers.flush()
  os._exit(status)

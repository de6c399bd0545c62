"""Finding the other processes of a run, and waiting until all have come."""

import contextlib
import os
import sys
import tempfile
from typing import Any

import jax
from jax._src import clusters, distributed

from kosmos2_jax.training import peers
from kosmos2_jax.training.peers import RESTART

# jax's own watch: behind that of `peers`, which knows hosts.
_HEARTBEAT_SECONDS = 50
_SHUTDOWN_SECONDS = 300
# Where jax finds out about the others by itself.
_CLUSTERS = ("gcetpu", "gketpu", "slurm", "ompi")
_VARIABLES = {
  "coordinator": "JAX_COORDINATOR_ADDRESS",
  "num_processes": "JAX_NUM_PROCESSES",
  "process_id": "JAX_PROCESS_ID",
}


def find_others(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> dict[str, Any] | None:
  """Arguments of `jax.distributed.initialize`; None for one process.

  Args: see `processes.start`.

  Raises:
    ValueError: see `processes.start`.
  """
  given = {
    "coordinator": coordinator,
    "num_processes": num_processes,
    "process_id": process_id,
  }
  for name, variable in _VARIABLES.items():
    if given[name] is None and variable in os.environ:
      value = os.environ[variable]
      given[name] = value if name == "coordinator" else _number(variable, value)
  missing = [name for name, value in given.items() if value is None]
  if not missing:
    count, index = given["num_processes"], given["process_id"]
    if count < 1 or not 0 <= index < count:
      raise ValueError(
        f"--process_id is one of 0 to --num_processes - 1; found {index} of"
        f" {count}"
      )
    if not _has_port(given["coordinator"]):
      raise ValueError(
        "--coordinator is HOST:PORT of process 0, the same for all; found"
        f" {given['coordinator']!r}"
      )
    if count == 1:
      return None
    return {
      "coordinator_address": given["coordinator"],
      "num_processes": count,
      "process_id": index,
      "cluster_detection_method": "deactivate",
    }
  if len(missing) < len(given):
    what = " and ".join(f"--{name}" for name in missing)
    raise ValueError(
      "several processes need --coordinator=HOST:PORT, --num_processes and"
      f" --process_id, all or none of them; {what} is missing"
    )
  for cluster in clusters.ClusterEnv._cluster_types:
    # On the hosts of a TPU slice one may still want the CPU alone.
    on_tpu = "tpu" in cluster.name and jax.config.jax_platforms == "cpu"
    if cluster.name in _CLUSTERS and not on_tpu and cluster.is_env_present():
      if cluster.get_process_count() == 1:
        return None
      return {"cluster_detection_method": cluster.name}
  return None


def _number(variable: str, value: str) -> int:
  try:
    return int(value)
  except ValueError:
    raise ValueError(f"{variable} is a number; found {value!r}") from None


def _has_port(address: str) -> bool:
  host, _, port = address.rpartition(":")
  return bool(host) and port.isdecimal()


def join(how: dict[str, Any], seconds: float) -> tuple[int, int, Any]:
  """Waits for all processes; where one does not come, ends with a sentence.

  Args:
    how: see `find_others`.
    seconds: how long to wait.

  Returns:
    Number of this process, how many there are, and the client of the
    coordination service.
  """
  if not jax.config.jax_cpu_collectives_implementation:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
  # Its handler of SIGTERM would take the place of `preemption`'s.
  jax.config.update("jax_enable_preemption_service", False)
  library = distributed._jax
  make_service = library.get_distributed_runtime_service

  def impatient(*args, **options):
    # Before the clients give up, so that they are told who did not come.
    return make_service(
      *args, **options, cluster_register_timeout=max(int(seconds) - 5, 1)
    )

  with _Stderr() as log:

    def last_words():
      late = ", ".join(map(str, peers.late_processes(log.read())))
      log.restore()
      who = f"process(es) {late} did not come" if late else "not all came"
      where = how.get("coordinator_address", "process 0")
      return (
        f"waited {seconds:g} s at {where}, and {who}: start all processes, and"
        f" see that they reach that address (status {RESTART})",
        RESTART,
      )

    peers.end_on_abort(last_words)
    library.get_distributed_runtime_service = impatient
    try:
      jax.distributed.initialize(
        **how,
        initialization_timeout=int(seconds),
        heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
      )
    finally:
      library.get_distributed_runtime_service = make_service
  state = distributed.global_state
  return state.process_id, state.num_processes, state.client


class _Stderr(contextlib.AbstractContextManager):
  """Keeps what native code writes on stderr, and writes it there at the end.

  When the client of the coordination service aborts, it has written who did
  not come, between pages that help nobody.
  """

  def __enter__(self) -> "_Stderr":
    sys.stderr.flush()
    self._kept = tempfile.TemporaryFile()
    self._own = os.dup(2)
    os.dup2(self._kept.fileno(), 2)
    return self

  def __exit__(self, *_) -> None:
    sys.stderr.flush()
    text = self.read()
    self.restore()
    os.close(self._own)
    self._kept.close()
    os.write(2, text.encode())

  def read(self) -> str:
    """What was written so far."""
    self._kept.seek(0)
    return self._kept.read().decode(errors="replace")

  def restore(self) -> None:
    """From here on, stderr is where it was."""
    os.dup2(self._own, 2)

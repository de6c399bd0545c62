"""Memory of this machine that is held and not used."""

import ctypes
import platform


def give_back() -> None:
  """Returns freed memory from the C library to the system, where it is glibc.

  Compilers free hundreds of megabytes in pieces that glibc keeps for later,
  and nothing later is in such pieces.
  """
  if platform.libc_ver()[0] == "glibc":
    ctypes.CDLL(None).malloc_trim(0)

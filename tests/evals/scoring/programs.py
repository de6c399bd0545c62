"""Programs that take Java's place on the PATH, for tests."""

import os
import pathlib

# What METEOR's program writes for two sentences of a word that are the same.
SAME_WORD = " ".join(["1 1 0 0", "1 1 0 0", *["0 0 0 0"] * 3, "1 1 1"])


def put(folder: pathlib.Path, monkeypatch, script: str) -> None:
  """Makes a shell script the `java` of this test."""
  folder.mkdir(exist_ok=True)
  path = folder / "java"
  path.write_text(f"#!/bin/sh\n{script}\n")
  path.chmod(0o755)
  monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def remove(folder: pathlib.Path, monkeypatch) -> None:
  """Leaves the test without a `java`."""
  folder.mkdir(exist_ok=True)
  monkeypatch.setenv("PATH", str(folder))

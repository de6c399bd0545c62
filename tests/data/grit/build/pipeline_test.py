"""Many units at once, whatever happens to the processes that build them."""

import functools
import importlib.util
import os
import pathlib
import signal
import threading
import time
import warnings

import pytest

from data.building.drops import Drop, DropReport
from data.grit import shards
from data.grit.build import pairs
from data.grit.build.captions import CaptionOptions
from data.grit.build.child import Refused
from data.grit.build.grounding import ScoredBox
from data.grit.build.options import BuildOptions

missing = [
  name
  for name in ("apache_beam", "spacy", "py3langid")
  if importlib.util.find_spec(name) is None
]
pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}"),
]

# Loading the languages would take half of the time.
QUICK = CaptionOptions(english=False)
CAPTIONS = ("a dog in a field", "a red car", "two cats on a sofa", "a bus")


@pytest.fixture
def pipeline():
  with warnings.catch_warnings():
    # Beam's dependencies warn when they are imported.
    warnings.simplefilter("ignore")
    from data.grit.build import pipeline

    yield pipeline


class Grounder:
  """A box for each phrase; `faults` says what to do at which pair."""

  batch_size = 2

  def __init__(self, folder, name, faults):
    self.identity = {"kind": name}
    self._folder = pathlib.Path(folder)
    self._faults = faults

  def ground(self, requests):
    return [self._answer(request) for request in requests]

  def _answer(self, request):
    fault = self._faults.get(request.id)
    met = self._folder / f"met-{request.id}"
    if fault == "die" or (fault == "die once" and not met.exists()):
      met.touch()
      os.kill(os.getpid(), signal.SIGKILL)
    if fault == "raise":
      raise RuntimeError("no such layer")
    if fault == "wait":
      met.touch()
      time.sleep(60)
    return [
      [ScoredBox((0.1, i / 8, 0.7, (i + 1) / 8), 0.9)]
      for i in range(len(request.spans))
    ]


def make_grounder(folder, name="fake", faults=()):
  """In the child."""
  if name == "missing":
    raise FileNotFoundError("there is no checkpoint 'x'")
  return Grounder(folder, name, dict(faults))


def make_parser():
  """In the child."""
  from data.grit.build import parsing

  return parsing.Parser()


@pytest.fixture
def units(maker):
  """Four units of 4 pairs each, but for the second, which is no tar."""
  for number in range(4):
    samples = []
    for caption in CAPTIONS:
      key = f"{number}{len(samples)}"
      members = maker.sample(key, id=key, caption=caption)
      samples.append(members | {f"{key}.txt": caption.encode()})
    path = maker.tar(*samples, name=f"{number}.tar")
    if number == 1:
      path.write_bytes(b"<html>")
  return pairs.find_units(maker.folder / "*.tar")


@pytest.fixture
def build(pipeline, units, tmp_path):
  def run(
    folder,
    *,
    units=units,
    options=None,
    watch=None,
    workers=1,
    beam_options=None,
    **how,
  ):
    return pipeline.build(
      units,
      tmp_path / folder,
      BuildOptions(captions=QUICK, **(options or {})),
      make_parser,
      functools.partial(make_grounder, tmp_path, **how),
      workers=workers,
      watch=watch,
      beam_options=beam_options,
    )

  return run


@pytest.fixture
def content(tmp_path):
  """Bytes of the shards of a folder, and the other files' names."""

  def read(folder):
    paths = sorted((tmp_path / folder).iterdir())
    return (
      {p.name: p.read_bytes() for p in paths if p.suffix == ".tar"},
      [p.name for p in paths if p.suffix != ".tar"],
    )

  return read


STATS = [f"{number:05}_stats.json" for number in range(4)]


def test_builds_all_and_then_nothing(build, content, tmp_path):
  seen = []
  summary = build("one", watch=lambda *args: seen.append(args))
  assert (summary.num_units, summary.num_before, summary.failed) == (4, 0, [])
  report = summary.report
  assert (report.records_read, report.records_kept) == (12, 12)
  assert report.counts[Drop.UNREADABLE_FILE] == 1
  assert report.items_read == report.items_kept + report.total("item")
  assert summary.statistics.images == 12
  assert 0 <= summary.grounder_share < 1
  assert summary.as_dict()["grounder"] == {"kind": "fake"}
  assert seen[-1] == (4, 4)
  built, others = content("one")
  assert others == STATS
  found = DropReport()
  ids = [
    record.id
    for record in shards.read_shards(
      shards.find_shards(tmp_path / "one"), found
    )
  ]
  assert ids == [f"{n}{i}" for n in (0, 2, 3) for i in range(4)]
  assert not found.counts
  # Two processes write the same.
  assert build("two", workers=2).failed == []
  assert content("two")[0] == built
  # Finished shards are not touched, nor read but for their accounts.
  times = [p.stat().st_mtime_ns for p in sorted((tmp_path / "one").iterdir())]
  again = build("one")
  assert (again.num_before, again.report) == (4, report)
  assert times == [
    p.stat().st_mtime_ns for p in sorted((tmp_path / "one").iterdir())
  ]
  # Whoever asks for something else is told so, without or with work left.
  with pytest.raises(Refused, match=r'grounder.kind "fake" .* has "other"'):
    build("one", name="other")
  with pytest.raises(Refused, match=r"options.nested"):
    build("one", options={"nested": "keep"})
  (tmp_path / "one/00002_stats.json").unlink()
  with pytest.raises(Refused, match=r'grounder.kind "fake" .* has "other"'):
    build("one", name="other")
  assert not (tmp_path / "one/00002_stats.json").exists()
  assert build("one").failed == []
  assert content("one")[1] == STATS
  assert content("one")[0] == built


def test_a_process_that_dies(build, content, tmp_path):
  build("good")
  built, _ = content("good")
  summary = build("once", workers=2, faults={"02": "die once"})
  assert (tmp_path / "met-02").exists()
  assert summary.failed == []
  assert content("once") == (built, STATS)
  summary = build("always", workers=2, faults={"20": "die"})
  [failed] = summary.failed
  assert (failed["number"], failed["name"]) == (2, f"{tmp_path.name}/2.tar")
  assert failed["error"] == "the process was killed by signal 9"
  assert summary.report.records_kept == 8
  others = {name: data for name, data in built.items() if name != "00002.tar"}
  assert content("always") == (others, [s for s in STATS if "00002" not in s])
  # The next run tries it again.
  summary = build("always")
  assert (summary.num_before, summary.failed) == (3, [])
  assert content("always") == (built, STATS)


def test_a_grounder_that_fails(build):
  summary = build(
    "raising",
    faults={"00": "raise", "33": "raise"},
    beam_options="--runner=DirectRunner",
  )
  assert summary.failed == []
  assert summary.report.counts[Drop.GROUNDER_FAILED] == 2
  assert summary.grounder_errors == [
    "0.tar:00: RuntimeError: no such layer",
    "3.tar:33: RuntimeError: no such layer",
  ]


def test_a_unit_whose_file_is_gone(build, units):
  pathlib.Path(units[2].path).unlink()
  [failed] = build("gone").failed
  assert failed["number"] == 2
  assert failed["error"].startswith("FileNotFoundError: ")


def test_what_cannot_be_made(build, tmp_path):
  with pytest.raises(Refused, match="there is no checkpoint 'x'"):
    build("none", workers=2, name="missing")
  assert list((tmp_path / "none").iterdir()) == []


def test_interrupted(build, content, tmp_path):
  main = threading.main_thread().ident

  def watch(*_):
    if (tmp_path / "met-21").exists():
      signal.pthread_kill(main, signal.SIGINT)

  start = time.monotonic()
  with pytest.raises(KeyboardInterrupt):
    build("stopped", watch=watch, faults={"21": "wait"})
  assert time.monotonic() - start < 50
  assert not [
    name for name in os.listdir(tmp_path / "stopped") if "partial" in name
  ]
  assert build("stopped").failed == []
  build("good")
  assert content("stopped") == content("good")


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    ({"workers": 0}, "at least 1 of workers, found 0"),
    ({"units": []}, "expected units of pairs to build, found none"),
  ],
)
def test_wrong_arguments(build, wrong, message):
  with pytest.raises(ValueError, match=message):
    build("wrong", **wrong)

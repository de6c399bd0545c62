"""Pickles: plain data is read, everything else is refused unrun."""

import collections
import datetime
import os
import pickle
import sys

import numpy as np
import pytest

from data.refcoco import pickles
from data.refcoco.pickles import RefusedPickle

PLAIN = [
  {
    "ref_id": 0,
    "sent_ids": [0, 1],
    "split": "train",
    "box": (1.5, -2, 1e300),
    "big": 2**70,
    "none": None,
    "yes": True,
    "bytes": b"\x00\xff",
    "set": {1, 2},
    "sentences": [{"raw": "a ca\u0301fé 猫", "tokens": ["a"]}],
  }
]


def write(tmp_path, data):
  path = tmp_path / "refs(unc).p"
  path.write_bytes(data)
  return path


# Below protocol 4 sets and bytes are written as calls, which are refused.
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data(tmp_path, protocol):
  value = PLAIN
  if protocol < 4:
    value = [{k: v for k, v in PLAIN[0].items() if k not in ("bytes", "set")}]
  path = write(tmp_path, pickle.dumps(value, protocol))
  assert pickles.load(path) == value


def test_python_2(tmp_path):
  # What Python 2's cPickle writes of [{'sent': 'caf\xc3\xa9', u'n': 3L}].
  data = b"(lp1\n(dp2\nS'sent'\np3\nS'caf\\xc3\\xa9'\np4\nsVn\np5\nL3L\nsa."
  assert pickles.load(write(tmp_path, data)) == [{"sent": "cafÃ©", "n": 3}]
  data = b"\x80\x02]q\x01}q\x02(U\x04sentq\x03U\x02\xc3\xa9q\x04us" + b"a."
  with pytest.raises(RefusedPickle, match="damaged"):  # One opcode too many.
    pickles.load(write(tmp_path, data))
  data = data.replace(b"us", b"u")
  assert pickles.load(write(tmp_path, data)) == [{"sent": "Ã©"}]


class Runs:
  """An object whose pickle calls a function with a text."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
  ("function", "name"),
  [
    (os.system, r"(posix|nt)\.system"),
    (eval, r"(builtins|__builtin__)\.eval"),
    (exec, r"(builtins|__builtin__)\.exec"),
    (getattr, r"(builtins|__builtin__)\.getattr"),
  ],
)
def test_calls_are_refused_by_name_and_do_not_run(
  tmp_path, protocol, function, name
):
  mark = tmp_path / "it-ran"
  command = {
    os.system: f"touch {mark}",
    eval: f"__import__('os').mkdir({str(mark)!r})",
    exec: f"import os; os.mkdir({str(mark)!r})",
  }.get(function)
  arguments = (command,) if command else ("", "join")
  data = pickle.dumps([Runs(function, *arguments)], protocol)
  path = write(tmp_path, data)
  with pytest.raises(RefusedPickle, match=rf"the global {name}; nothing"):
    pickles.load(path)
  assert not mark.exists()
  # The same bytes do run for an ordinary reader.
  pickle.loads(data)
  assert mark.exists() == bool(command)


@pytest.mark.parametrize(
  "value",
  [
    np.int64(3),
    np.zeros(2),
    datetime.date(2020, 1, 1),
    collections.OrderedDict(a=1),
    os.path.join,
    RefusedPickle,
    complex(1, 2),
  ],
)
def test_objects_that_are_not_plain_are_refused(tmp_path, value):
  with pytest.raises(RefusedPickle, match=r"refs\(unc\).p.*the global "):
    pickles.load(write(tmp_path, pickle.dumps({"a": [value]})))


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"cos\nsystem\n(S'true'\ntR.", "the global os.system"),
    (b"(S'true'\nios\nsystem\n.", "the global os.system"),
    (b"(cos\nsystem\nS'true'\no.", "the global os.system"),
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "the global os.system"),
    (b"\x80\x02\x82\x01.", "registered class number 1"),
    (b"Pfile\n.", "something outside, 'file'"),
    (b"S'a'\nQ.", "something outside, 'a'"),
    (b"(S'a'\nS'b'\nto.", "damaged"),
    (b"S'a'\n(S'b'\ntR.", "damaged"),
    (b"(d(S'a'\nI1\ndb.", "damaged"),
    (b"\x80\x05\x97.", "damaged"),
    (b"\x80\x63.", "damaged"),
    (b"", "damaged"),
    (b"not a pickle", "damaged"),
  ],
)
def test_programs_by_hand(tmp_path, data, message):
  with pytest.raises(RefusedPickle, match=message):
    pickles.load(write(tmp_path, data))


def test_a_pickle_cut_in_half(tmp_path):
  data = pickle.dumps(PLAIN * 100)
  with pytest.raises(RefusedPickle, match="damaged .*get the file again"):
    pickles.load(write(tmp_path, data[: len(data) // 2]))


def test_few_bytes_do_not_fill_the_memory(tmp_path):
  resource = pytest.importorskip("resource", reason="limits are of POSIX")
  # Remembers [] as number 4 billion, and a text of as many bytes.
  for data in (
    b"]r\xff\xff\xff\xff.",
    b"\x80\x04\x8d" + b"\xff" * 7 + b"\x00.",
  ):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
      assert pickles.load(write(tmp_path, data)) == []
    except RefusedPickle as error:
      assert "damaged" in str(error)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100_000 * (1024 if sys.platform == "darwin" else 1)

"""Every kind of damage to a checkpoint's files is found."""

import errno
import json
import shutil

import pytest
from etils import epath

from kosmos2_jax.training import integrity


@pytest.fixture
def folder(tmp_path):
  """A sealed folder, as checkpoints are."""
  place = epath.Path(tmp_path) / "checkpoints" / "8"
  (place / "params" / "d").mkdir(parents=True)
  (place / "params" / "d" / "1").write_bytes(bytes(range(256)) * 99)
  (place / "params" / "empty").write_bytes(b"")
  (place / "opt_state").mkdir()
  (place / "opt_state" / "x").write_bytes(b"moments")
  integrity.seal(place)
  (place / "_CHECKPOINT_METADATA").write_text("written later")
  return place


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(bytes(content))


def test_what_is_whole_is_whole(folder):
  assert integrity.fault(folder) is None
  listed = json.loads((folder / integrity.MANIFEST).read_text())["files"]
  assert sorted(listed) == ["opt_state/x", "params/d/1", "params/empty"]
  assert listed["params/d/1"][0] == 256 * 99


@pytest.mark.parametrize(
  ("harm", "words", "cheap"),
  [
    (_flip, "params/d/1 has other bytes than were written", False),
    (
      lambda path: path.write_bytes(path.read_bytes()[:100]),
      "params/d/1 has 100 bytes where 25,344 were written",
      True,
    ),
    (lambda path: path.unlink(), "params/d/1 is missing", True),
  ],
)
def test_damage_is_named(folder, harm, words, cheap):
  harm(folder / "params" / "d" / "1")
  assert integrity.fault(folder) == words
  assert integrity.fault(folder, part="params/") == words
  assert integrity.fault(folder, part="opt_state/") is None
  # Without checksums only what changes a size is seen.
  assert integrity.fault(folder, checksums=False) == (words if cheap else None)
  with pytest.raises(ValueError, match=f"8 is damaged: {words}; take another"):
    integrity.refuse(folder)


def test_sizes_alone(folder):
  integrity.seal(folder, checksums=False)
  _flip(folder / "params" / "d" / "1")
  assert integrity.fault(folder) is None
  (folder / "params" / "d" / "1").write_bytes(b"")
  assert "has 0 bytes" in integrity.fault(folder)


def test_a_manifest_that_is_damaged_itself(folder):
  path = folder / integrity.MANIFEST
  path.write_text(path.read_text()[:-20])
  assert integrity.fault(folder) == "manifest.json cannot be read"


def test_set_aside_loses_nothing(folder, tmp_path):
  content = (folder / "params" / "d" / "1").read_bytes()
  for number in range(2):
    moved = integrity.set_aside(folder)
    assert moved == epath.Path(tmp_path) / integrity.ASIDE / f"8.{number}"
    assert (moved / "params" / "d" / "1").read_bytes() == content
    assert not folder.exists()
    shutil.copytree(moved, folder)


def test_a_folder_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("")
  for place in (tmp_path / "file", tmp_path / "file" / "checkpoints"):
    with pytest.raises(OSError, match="cannot be written to .*give a --workd"):
      integrity.check_writable(epath.Path(place))
  integrity.check_writable(epath.Path(tmp_path / "new"))
  assert not list((tmp_path / "new").iterdir())


def test_room_in_words(tmp_path, monkeypatch):
  found = integrity.room(epath.Path(tmp_path), 2_500_000_000)
  assert found.endswith(" are free there and a checkpoint needs about 2.5 GB")

  def none(path):
    raise OSError(errno.ENOENT, "no disk", path)

  monkeypatch.setattr(integrity.shutil, "disk_usage", none)
  assert integrity.room(epath.Path(tmp_path), 999) == (
    "a checkpoint needs about 999 bytes"
  )

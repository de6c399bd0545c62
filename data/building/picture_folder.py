"""Finds pictures by their file names, in folders, tar and zip files.

Annotation files name pictures; where those lie differs from one download to
the next. Nothing is unpacked, and no name leads out of a folder.
"""

import functools
import glob
import os
import pathlib
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

from data.building import archive, pictures
from data.building.drops import Drop, Dropped, DropReport
from data.building.pictures import Picture

Paths = str | os.PathLike | Iterable[str | os.PathLike]
SUFFIXES = frozenset(
  suffix for suffix, kind in archive.KINDS.items() if kind == "picture"
)
MAX_BYTES = archive.MAX_BYTES["picture"]
# Pictures kept ready: several records about one picture often follow another.
NUM_RECENT = 64
# Pixels that rounding may add to or take from a side when a picture is resized.
ROUNDING = 2.0
ARCHIVES = (".tar", ".zip")


def find(paths: Paths) -> list[pathlib.Path]:
  """The folders and archives that `paths` names, in this order.

  Args:
    paths: a folder, a tar or zip file, a glob pattern, several with commas
      between them, or a list of such; a leading "~" is the home folder.

  Raises:
    FileNotFoundError: one of them matches nothing.
    ValueError: there are none, or one is neither folder, tar nor zip.
  """
  if isinstance(paths, str):
    paths = [paths] if os.path.exists(paths) else paths.split(",")
  elif isinstance(paths, os.PathLike):
    paths = [paths]
  found: list[pathlib.Path] = []
  for name in map(os.path.expanduser, paths):
    if not name:
      continue
    matches = [name] if os.path.exists(name) else sorted(glob.glob(name))
    if not matches:
      raise FileNotFoundError(
        f"expected a folder, a tar or a zip file of pictures at {str(name)!r},"
        " found nothing; give the place you downloaded them to"
      )
    for match in map(pathlib.Path, matches):
      if not match.is_dir() and match.suffix.lower() not in ARCHIVES:
        raise ValueError(
          f"expected a folder, a .tar or a .zip of pictures, found {match};"
          " unpack other archives (such as .tar.gz) first"
        )
      found.append(match)
  if not found:
    raise ValueError(
      "expected a folder, a tar or a zip file of pictures, found no path"
    )
  return found


class PictureFolder:
  """Reads pictures by name from several places, the first that has it.

  In a folder a name is looked for at its own path, then by its last part in
  the folder and in the folders directly inside; in an archive by its own path
  and then by its last part, wherever it lies. Use it as a context manager.
  """

  def __init__(
    self,
    paths: Paths,
    report: DropReport,
    *,
    min_side: int = 1,
    shorter_side: int = 0,
    bare_names: bool = False,
  ):
    """Opens the archives and reads their headers.

    Args:
      paths: see `find`, which raises for them.
      report: is told of archives and members that cannot be used.
      min_side: shorter side in pixels below which a picture is dropped.
      shorter_side: to which larger pictures are resized; 0: none are.
      bare_names: files without an extension are pictures, too.
    """
    self._report = report
    self._options = {"min_side": min_side, "shorter_side": shorter_side}
    self._suffixes = SUFFIXES | {""} if bare_names else SUFFIXES
    self._places = [_open(path, report, bare_names) for path in find(paths)]
    self._prepared = functools.lru_cache(NUM_RECENT)(self._prepare)

  @classmethod
  def of_arguments(
    cls, arguments: Mapping[str, Any], report: DropReport
  ) -> "PictureFolder":
    """Opens a builder's `pictures` with its `min_side` and `shorter_side`."""
    return cls(
      arguments["pictures"],
      report,
      min_side=arguments["min_side"],
      shorter_side=arguments["shorter_side"],
    )

  def __enter__(self) -> "PictureFolder":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def close(self) -> None:
    """Closes the archives."""
    for place in self._places:
      place.close()

  def picture(self, name: Any, *, size: tuple[int, int]) -> Picture:
    """A picture ready to store, see `pictures.check_picture`.

    Args:
      name: its file name.
      size: width and height that its boxes refer to.

    Counts PICTURE_RESIZED and PICTURE_REENCODED each time it is asked for.

    Raises Dropped: a reason of the level "record"; ASPECT_CHANGED where it has
      another shape than `size`, so that boxes do not fit.
    """
    if not isinstance(name, str):
      raise Dropped(Drop.BAD_RECORD)
    picture = self._prepared(name)
    if isinstance(picture, Drop):
      raise Dropped(picture)
    width, height = size
    ratio = width / height
    if abs(picture.width - picture.height * ratio) > ROUNDING * (1 + ratio):
      raise Dropped(Drop.ASPECT_CHANGED)
    if picture.resized:
      self._report.add(Drop.PICTURE_RESIZED, name)
    if picture.reencoded:
      self._report.add(Drop.PICTURE_REENCODED, name)
    return picture

  def _prepare(self, name: str) -> Picture | Drop:
    """A picture, or why there is none: both are remembered."""
    try:
      return pictures.check_picture(self.read(name), **self._options)
    except Dropped as dropped:
      return dropped.reason

  def read(self, name: str) -> bytes:
    """The bytes of a picture as they are stored.

    Raises Dropped: BAD_RECORD, UNSAFE_NAME, PICTURE_NOT_FOUND,
      PICTURE_TOO_LARGE, UNREADABLE_SAMPLE.
    """
    if not name or "\0" in name:
      raise Dropped(Drop.BAD_RECORD)
    if archive.is_unsafe(name):
      raise Dropped(Drop.UNSAFE_NAME)
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in self._suffixes or os.path.basename(name) in ("", "."):
      raise Dropped(Drop.PICTURE_NOT_FOUND)
    for place in self._places:
      try:
        data = place.read(name)
      except Dropped:
        raise
      except Exception:  # Archives raise many kinds where they are damaged.
        raise Dropped(Drop.UNREADABLE_SAMPLE) from None
      if data is not None:
        return data
    raise Dropped(Drop.PICTURE_NOT_FOUND)


def _open(
  path: pathlib.Path, report: DropReport, bare_names: bool
) -> "_Folder | _Tar | _Zip | _Nothing":
  if path.is_dir():
    return _Folder(path)
  try:
    if path.suffix.lower() == ".zip":
      return _Zip(path, report, bare_names)
    return _Tar(path, report, bare_names)
  except (OSError, zipfile.BadZipFile):
    report.add(Drop.UNREADABLE_FILE, path.name)
    return _Nothing()


class _Nothing:
  """An archive that cannot be read."""

  def read(self, name: str) -> None:
    return None

  def close(self) -> None:
    pass


class _Folder:
  def __init__(self, root: pathlib.Path):
    inside = [entry.path for entry in os.scandir(root) if entry.is_dir()]
    self._folders = [root, *map(pathlib.Path, sorted(inside))]

  def read(self, name: str) -> bytes | None:
    last = name.rsplit("/", 1)[-1]
    candidates = [self._folders[0] / name]
    candidates += [folder / last for folder in self._folders]
    for path in candidates:
      if path.is_file():
        if path.stat().st_size > MAX_BYTES:
          raise Dropped(Drop.PICTURE_TOO_LARGE)
        return path.read_bytes()
    return None

  def close(self) -> None:
    pass


class _Tar:
  def __init__(self, path: pathlib.Path, report: DropReport, bare_names: bool):
    self._file = open(path, "rb")  # noqa: SIM115 (closed by `close`)
    self._extents: dict[str, archive.Extent] = {}
    found = archive.index(self._file, path.name, report, bare_names)
    for key, sample in found.items():
      if "picture" in sample:
        self._extents[key] = sample["picture"]
        self._extents.setdefault(key.rsplit("/", 1)[-1], sample["picture"])

  def read(self, name: str) -> bytes | None:
    # Members are known without their extension.
    key = str(pathlib.PurePosixPath(name).with_suffix(""))
    extent = self._extents.get(key) or self._extents.get(key.rsplit("/", 1)[-1])
    if extent is None:
      return None
    offset, size = extent
    self._file.seek(offset)
    return self._file.read(size)

  def close(self) -> None:
    self._file.close()


class _Zip:
  def __init__(self, path: pathlib.Path, report: DropReport, bare_names: bool):
    suffixes = SUFFIXES | {""} if bare_names else SUFFIXES
    self._zip = zipfile.ZipFile(path)
    self._members: dict[str, zipfile.ZipInfo] = {}
    for member in self._zip.infolist():
      name = member.filename
      last = name.rsplit("/", 1)[-1]
      if archive.is_unsafe(name):
        report.add(Drop.UNSAFE_MEMBER, f"{path.name}:{name}")
      elif last and os.path.splitext(last)[1].lower() in suffixes:
        self._members[name] = member
        self._members.setdefault(last, member)

  def read(self, name: str) -> bytes | None:
    last = name.rsplit("/", 1)[-1]
    member = self._members.get(name) or self._members.get(last)
    if member is None:
      return None
    with self._zip.open(member) as file:
      # The size that the header tells need not be true.
      data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
      raise Dropped(Drop.PICTURE_TOO_LARGE)
    return data

  def close(self) -> None:
    self._zip.close()

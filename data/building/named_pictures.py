"""Builders whose annotation files name pictures that lie somewhere else."""

from collections.abc import Mapping
from typing import Any, ClassVar

from data.building import arguments as argument_rules
from data.building import coco, picture_folder
from data.building.builder import FilesBuilder, Unit
from data.building.drops import Drop, DropReport
from data.building.pictures import Picture, check_picture

ARGUMENTS = {
  "pictures": "folders, tar or zip files with the pictures",
  "min_side": "shorter side in pixels below which a picture is dropped",
  "shorter_side": "to which larger pictures are resized; 0: none are",
}


class NamedPicturesBuilder(FilesBuilder):
  """A builder with the arguments of `ARGUMENTS`.

  What is prepared is known by the annotation files, and by how many pictures
  there are: to read the pictures themselves would take minutes.

  Attributes:
    BARE_NAMES: whether pictures may have names without an extension.
  """

  BARE_NAMES: ClassVar[bool] = False

  @classmethod
  def facts(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as JSON holds them, pictures by their number."""
    places = describe(arguments["pictures"])
    return super().facts(arguments) | {"pictures": places}

  @classmethod
  def open_pictures(
    cls, unit: Unit, report: DropReport, arguments: Mapping[str, Any]
  ) -> "NamedPictures":
    """The pictures that `unit` names.

    What is wrong with their archives, which all units share, is in the report
    of the first unit alone.
    """
    first = argument_rules.find_units(cls, arguments)[0]
    return NamedPictures(
      arguments["pictures"],
      report,
      min_side=arguments["min_side"],
      shorter_side=arguments["shorter_side"],
      count_damage=unit == first,
      bare_names=cls.BARE_NAMES,
    )


class NamedPictures:
  """Gives pictures by name, checked and as they are to be stored.

  They have no boxes, so that they are turned upright: people wrote of what
  they saw.
  The picture given last is kept: annotations of one often follow each other.
  """

  def __init__(
    self,
    paths: picture_folder.Paths,
    report: DropReport,
    *,
    min_side: int,
    shorter_side: int,
    count_damage: bool = True,
    bare_names: bool = False,
  ):
    """Opens the places; see `PictureFolder` and `check_picture`.

    Args:
      paths: of the places.
      report: is told of pictures that are stored in another form.
      min_side: shorter side in pixels below which a picture is dropped.
      shorter_side: to which larger pictures are resized; 0: none are.
      count_damage: whether the report is told of damaged archives, too.
      bare_names: see `PictureFolder`.
    """
    damage = report if count_damage else DropReport()
    self._folder = picture_folder.PictureFolder(
      paths, damage, bare_names=bare_names
    )
    self._report = report
    self._sides = {"min_side": min_side, "shorter_side": shorter_side}
    self._last: tuple[str, Picture] | None = None

  def __enter__(self) -> "NamedPictures":
    return self

  def __exit__(self, *error: object) -> None:
    self._folder.close()

  def load(self, name: str, where: str) -> bytes:
    """The encoded picture; `where` names the place that asks for it.

    Raises Dropped: the reasons of `PictureFolder.read` and `check_picture`.
    """
    if self._last is None or self._last[0] != name:
      data = coco.read_picture(self._folder.read, name)
      self._last = name, check_picture(data, upright=True, **self._sides)
    picture = self._last[1]
    if picture.reencoded:
      self._report.add(Drop.PICTURE_REENCODED, where)
    if picture.resized:
      self._report.add(Drop.PICTURE_RESIZED, where)
    return picture.data


def describe(paths: picture_folder.Paths) -> list[dict[str, Any]]:
  """Name and size of archives, name and number of files of folders.

  Files count in a folder and in the folders in it, where pictures are found.
  """
  places = []
  for path in picture_folder.find(paths):
    if path.is_dir():
      folders = [path, *(p for p in path.iterdir() if p.is_dir())]
      number = sum(1 for folder in folders for _ in folder.iterdir())
      places.append({"name": path.name, "files": number})
    else:
      places.append({"name": path.name, "bytes": path.stat().st_size})
  return places

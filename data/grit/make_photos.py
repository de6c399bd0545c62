"""Writes photos/00000.tar again, from scikit-image's pictures.

  pip install -e '.[photos]'
  python -m data.grit.make_photos

The shard is in the repository, so nobody needs to run this but who changes
`photos/annotations.json`. Texts and boxes come out the same everywhere, byte
for byte; the JPEG bytes depend on the version of Pillow.
"""

import hashlib
import importlib.resources
import io
import json
import pathlib
import tarfile
from typing import Any

from PIL import Image

PHOTOS = pathlib.Path(__file__).parent / "photos"
LONGER_SIDE = 384
JPEG_QUALITY = 85


def main() -> None:
  """Writes the shard and says what is in it."""
  annotations = json.loads((PHOTOS / "annotations.json").read_text())
  shard = make_shard(annotations)
  (PHOTOS / "00000.tar").write_bytes(shard)
  print(
    f"{PHOTOS / '00000.tar'}: {len(annotations)} photos, {len(shard)} bytes"
  )


def make_shard(annotations: list[dict[str, Any]]) -> bytes:
  """A tar file as img2dataset writes it: jpg, json, txt of each picture.

  Raises:
    ModuleNotFoundError: scikit-image is not installed.
    ValueError: a phrase is not exactly once in its caption.
  """
  buffer = io.BytesIO()
  with tarfile.open(
    fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT
  ) as tar:
    for index, annotation in enumerate(annotations):
      source = _read_source(annotation["file"])
      picture, sizes = _encode(source)
      key = f"{index:09d}"
      fields = {
        "id": index,
        # Of CLIP models that were not asked about these pictures.
        "clip_similarity_vitb32": None,
        "clip_similarity_vitl14": None,
        "caption": annotation["caption"],
        "url": annotation["url"],
        "key": key,
        "status": "success",
        "error_message": None,
        **sizes,
        "noun_chunks": _to_items(annotation, "noun_chunks"),
        "ref_exps": _to_items(annotation, "ref_exps"),
        "exif": "{}",
        "sha256": hashlib.sha256(source).hexdigest(),
      }
      _add(tar, f"{key}.jpg", picture)
      _add(tar, f"{key}.json", json.dumps(fields).encode())
      _add(tar, f"{key}.txt", annotation["caption"].encode())
  return buffer.getvalue()


def _read_source(file_name: str) -> bytes:
  try:
    folder = importlib.resources.files("skimage.data")
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      "the photographs come with scikit-image, which is not installed: run"
      " pip install -e '.[photos]'"
    ) from None
  return folder.joinpath(file_name).read_bytes()


def _encode(source: bytes) -> tuple[bytes, dict[str, int]]:
  """RGB JPEG of at most LONGER_SIDE, and the sizes img2dataset tells."""
  image = Image.open(io.BytesIO(source)).convert("RGB")
  original = image.size
  image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
  buffer = io.BytesIO()
  image.save(buffer, "JPEG", quality=JPEG_QUALITY)
  return buffer.getvalue(), {
    "width": image.width,
    "height": image.height,
    "original_width": original[0],
    "original_height": original[1],
  }


def _to_items(annotation: dict[str, Any], name: str) -> list[list[int | float]]:
  """`[start, end, x1, y1, x2, y2, score]`; drawn by hand, so the score is 1."""
  caption = annotation["caption"]
  items = []
  for phrase, boxes in annotation[name].items():
    if caption.count(phrase) != 1:
      raise ValueError(
        f"photos/annotations.json: expected {phrase!r} once in {caption!r},"
        f" found it {caption.count(phrase)} times"
      )
    start = caption.index(phrase)
    items += [[start, start + len(phrase), *box, 1.0] for box in boxes]
  return items


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
  """Adds a file without time and owner, so that nothing but content counts."""
  member = tarfile.TarInfo(name)
  member.size = len(data)
  tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
  main()

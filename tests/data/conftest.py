"""Shards made by hand."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

ITEM = [0, 5, 0.1, 0.2, 0.6, 0.8, 0.9]


def encode(image, encoding="JPEG", **options):
  """Bytes of a PIL image."""
  buffer = io.BytesIO()
  image.save(buffer, encoding, **options)
  return buffer.getvalue()


class Maker:
  """Writes tar files into `folder`."""

  def __init__(self, folder):
    self.folder = folder

  def picture(self, width=48, height=40):
    """A PIL image with something to see in every part."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), 2)

  def jpeg(self, width=48, height=40):
    """The same as JPEG bytes."""
    return encode(self.picture(width, height))

  def fields(self, **changes):
    """A good record's json; None for a value takes the key out."""
    fields = {
      "id": 7,
      "caption": "a dog on grass",
      "status": "success",
      "noun_chunks": [ITEM, [9, 14, 0, 0.5, 1, 1, 0.8]],
      "ref_exps": [[0, 14, 0.1, 0.2, 0.6, 0.8, 0.9]],
    } | changes
    return {name: value for name, value in fields.items() if value is not None}

  def sample(self, key="000", *, picture=None, suffix="jpg", **changes):
    """Members of a good sample."""
    record_id = int(key) if key.isdigit() else key
    fields = self.fields(**({"id": record_id} | changes))
    return {
      f"{key}.{suffix}": self.jpeg() if picture is None else picture,
      f"{key}.json": json.dumps(fields).encode(),
      f"{key}.txt": b"a dog on grass",
    }

  def tar(self, *samples, name="00000.tar", members=()):
    """Writes dicts of name -> bytes, then TarInfos; returns the path."""
    path = self.folder / name
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
      for sample in samples:
        for member_name, data in sample.items():
          info = tarfile.TarInfo(member_name)
          info.size = len(data)
          tar.addfile(info, io.BytesIO(data))
      for member in members:
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    return path


@pytest.fixture
def maker(tmp_path):
  return Maker(tmp_path)


@pytest.fixture(scope="session")
def maker_class():
  """For originals that several tests share."""
  return Maker

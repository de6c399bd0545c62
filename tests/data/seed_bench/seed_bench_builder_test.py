"""SEED-Bench from its file to records."""

import io
import pathlib
import tarfile
import zipfile

import pytest

import data as datasets
from data.seed_bench import seed_bench_builder

EXAMPLE = pathlib.Path(seed_bench_builder.__file__).parent / "example"
PICTURE = (EXAMPLE / "1_1").read_bytes()


def in_folder(tmp_path):
  return EXAMPLE


def in_zip(tmp_path):
  path = tmp_path / "SEED-Bench-image.zip"
  with zipfile.ZipFile(path, "w") as archive:
    archive.mkdir("SEED-Bench-image")
    archive.writestr("SEED-Bench-image/1_1", PICTURE)
  return path


def in_tar(tmp_path):
  path = tmp_path / "SEED-Bench-image.tar"
  with tarfile.open(path, "w") as archive:
    member = tarfile.TarInfo("SEED-Bench-image/1_1")
    member.size = len(PICTURE)
    archive.addfile(member, io.BytesIO(PICTURE))
  return path


@pytest.mark.parametrize("place", [in_folder, in_zip, in_tar])
def test_pictures_have_no_extension(tmp_path, place):
  source = datasets.load_source(
    "seed_bench",
    "test",
    tmp_path / "out",
    questions=str(EXAMPLE / "SEED-Bench.json"),
    pictures=str(place(tmp_path)),
  )
  found = source.__getitems__(range(len(source)))
  found.sort(key=lambda record: record["position"])
  assert [record["id"] for record in found] == ["1", "2", "3"]
  assert {record["image"] for record in found} == {PICTURE}
  assert found[1]["choices"] == ["Blue", "Green", "Black", "Red"]
  assert found[1]["answer"] == "B"
  assert found[1]["answers"] == ["Green"]
  assert [record["question_type"] for record in found] == [
    "Instances Counting",
    "Instance Attributes",
    "Scene Understanding",
  ]

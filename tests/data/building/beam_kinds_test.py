"""Beam stores what one process stores, for every kind of pre-training data."""

import gzip
import importlib.util
import json

import pytest

import data


def image_text(maker):
  """Captions in three shards, one cut in half, one with a repeated id."""
  maker.tar(maker.sample("1"), maker.sample("2", caption=" "), name="a.tar")
  maker.tar(maker.sample("3"), maker.sample("4", id=1), name="b.tar")
  path = maker.tar(*[maker.sample(str(n)) for n in range(5, 9)], name="c.tar")
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  return {"shards": str(maker.folder)}, {"duplicate_id", "truncated_file"}


def interleaved(maker):
  """Documents of three files about the pictures of one damaged shard."""
  maker.tar(
    *({f"{n}.jpg": maker.jpeg(64 + n, 64)} for n in range(3)),
    {"../3.jpg": maker.jpeg(), "4.jpg": b"no picture"},
    name="pictures.tar",
  )
  docs = maker.folder / "docs"
  docs.mkdir()
  for file in range(3):
    lines = [
      json.dumps(
        {
          "text_list": [f"Page {n} of {file}."],
          "image_info": [
            {"image_name": f"{name}.jpg", "matched_text_index": 0}
            for name in (n, 4)
          ],
        }
      )
      for n in range(4)
    ]
    (docs / f"{file}.jsonl").write_text("\n".join(lines))
  options = {
    "documents": str(docs),
    "pictures": str(maker.folder / "pictures.tar"),
  }
  return options, {"unsafe_member", "broken_picture", "no_picture_left"}


def llava_instruct(maker):
  """Two files of conversations that overlap, pictures in a damaged shard."""
  path = maker.tar(*({f"{n}.jpg": maker.jpeg(64 + n, 64)} for n in range(4)))
  path.write_bytes(path.read_bytes()[:-5000])
  talks = [
    {
      "id": str(n),
      "image": f"{n}.jpg",
      "conversations": [
        {"from": "human", "value": "<image>\nWhat?"},
        {"from": "gpt", "value": "Patches."},
      ],
    }
    for n in range(6)
  ]
  paths = [maker.folder / name for name in ("a.json", "b.json")]
  paths[0].write_text(json.dumps(talks[:2]))
  paths[1].write_text(json.dumps(talks[1:]))
  options = {"conversations": list(map(str, paths)), "pictures": str(path)}
  return options, {"duplicate_id", "truncated_file", "picture_not_found"}


def text(maker):
  """Lines and paragraphs, one file cut in half."""
  line = json.dumps({"text": "A dog."}) + "\n"
  (maker.folder / "a.jsonl").write_text(line * 3 + '{"text": ""}\n')
  (maker.folder / "b.txt").write_text("One.\n\nTwo.")
  packed = gzip.compress(200 * line.encode(), 0)
  (maker.folder / "c.jsonl.gz").write_bytes(packed[: len(packed) // 2])
  options = {"files": str(maker.folder), "documents": "paragraph"}
  return options, {"empty_text", "truncated_file"}


def stored(name, folder, options):
  """The records by id, and the manifest, as they were prepared."""
  source = data.load_source(name, "train", folder, **options)
  records = source.__getitems__(range(len(source)))
  [manifest] = folder.rglob("manifest.json")
  return sorted(map(repr, records)), manifest.read_text()


@pytest.mark.skipif(
  importlib.util.find_spec("apache_beam") is None,
  reason="needs the extra `beam`",
)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:apache_beam")
@pytest.mark.parametrize(
  "make",
  [image_text, interleaved, llava_instruct, text],
  ids=lambda make: make.__name__,
)
def test_the_same_as_without(make, maker_class, tmp_path):
  (tmp_path / "in").mkdir()
  options, reasons = make(maker_class(tmp_path / "in"))
  name = make.__name__
  records, manifest = stored(name, tmp_path / "alone", options)
  assert len(records) > 1
  told = json.loads(manifest)["dropped"]
  assert reasons <= {reason for level in told.values() for reason in level}
  options["beam_workers"] = 2
  assert stored(name, tmp_path / "beam", options) == (records, manifest)

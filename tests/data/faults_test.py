"""Every kind of damage, for every builder it can be in, all the way through.

The originals of each builder hold all of its faults at once, and are prepared
once; what is told of them has to be exactly what is wrong with them.
"""

import collections
import dataclasses
import gzip
import io
import json
import math
import pathlib
import zipfile

import numpy as np
import pytest
from PIL import Image

import data
from data.building import drops

# Pictures that are good, but not 8-bit RGB, or that lie on their side.
MADE_RGB = ("cmyk", "palette", "sixteen_bit")
CONVERTED = (*MADE_RGB, "rotated")
BROKEN = ("corrupt", "one_pixel")
ESCAPED = "../escaped.jpg"
LYING = 6  # The EXIF orientation of a camera held upright.
# What JPEG, or the web's 216 colours, may change on average, of 255.
MAX_DIFFERENCE = 12


@dataclasses.dataclass
class Originals:
  """Faulty files, and what should be told of them.

  name      the builder's
  options   for `load_source`
  split     that has the faults
  told      fault -> (reason, place)
  ids       how the ids of good records begin, by what is special about them
  beside    what else is counted, by reason
  """

  name: str
  options: dict
  split: str
  told: dict
  ids: dict
  beside: dict = dataclasses.field(default_factory=dict)

  def counts(self):
    reasons = [reason for reason, _ in self.told.values()]
    return collections.Counter(reasons) + collections.Counter(self.beside)


def encode(image, encoding="JPEG", **options):
  buffer = io.BytesIO()
  image.save(buffer, encoding, **options)
  return buffer.getvalue()


def upright():
  """What a viewer shows: red at the upper left, blue at the lower right."""
  image = Image.new("RGB", (96, 80), "white")
  image.paste((204, 0, 0), (0, 0, 48, 40))
  image.paste((0, 0, 204), (48, 40, 96, 80))
  return image


def pictures():
  """Encoded pictures, good and bad, by what is special about them."""
  image = upright()
  exif = Image.Exif()
  exif[0x0112] = LYING
  turned = image.transpose(Image.Transpose.ROTATE_90)
  grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
  whole = encode(image)
  return {
    "good": whole,
    "corrupt": whole[: len(whole) * 2 // 3],
    "one_pixel": encode(image.resize((1, 1)), "PNG"),
    "cmyk": encode(image.convert("CMYK"), quality=95),
    "palette": encode(image.convert("P"), "PNG"),
    "sixteen_bit": encode(Image.fromarray(grey), "PNG"),
    "rotated": encode(turned, exif=exif, quality=95),
  }


def cut(path):
  """Leaves the first half of a file."""
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shards(maker, **faults):
  """Two img2dataset shards: one with every fault, one cut in half."""
  samples = [maker.sample(k, picture=p) for k, p in pictures().items()]
  samples += [maker.sample(k, **fields) for k, fields in faults.items()]
  samples.append(maker.sample("again", id="good"))
  escaped = {ESCAPED: maker.jpeg()}
  maker.tar(*samples, escaped, name="a.tar")
  cut(maker.tar(*[maker.sample(str(n)) for n in range(4)], name="z.tar"))
  return {
    "corrupt": ("corrupt_picture", "a.tar:corrupt"),
    "one_pixel": ("picture_too_small", "a.tar:one_pixel"),
    "duplicate": ("duplicate_id", "a.tar:good"),
    "cut": ("truncated_file", "z.tar"),
    "unsafe": ("unsafe_member", f"a.tar:{ESCAPED}"),
    "empty": ("empty_caption", "a.tar:empty"),
  } | {k: ("picture_reencoded", f"a.tar:{k}") for k in MADE_RGB}


def grit(maker):
  good = [2, 5, 0.1, 0.2, 0.6, 0.8, 0.9]
  faults = {
    "span": [0, 99, 0, 0, 1, 1, 1],
    "nan": [0, 5, math.nan, 0, 1, 1, 1],
    "outside": [0, 5, 0.5, 0.5, 1.5, 1, 1],
  }
  told = shards(
    maker,
    empty={"caption": " "},
    **{k: {"noun_chunks": [good, box]} for k, box in faults.items()},
  )
  told["span"] = ("span_outside", "a.tar:span")
  told["nan"] = ("not_finite", "a.tar:nan")
  told["outside"] = ("box_outside", "a.tar:outside")
  ids = {kind: kind for kind in ("good", *CONVERTED, *faults)}
  return Originals("grit", {"shards": str(maker.folder)}, "train", told, ids)


def image_text(maker):
  told = shards(maker, empty={"caption": " "})
  told["rotated"] = ("picture_reencoded", "a.tar:rotated")
  ids = {kind: kind for kind in ("good", *CONVERTED)}
  options = {"shards": str(maker.folder)}
  return Originals("image_text", options, "train", told, ids)


def archives(maker, name):
  """Two tar files of pictures, by `name`; the second is cut in half."""
  (maker.folder / "pictures").mkdir()
  found = {name(kind): data for kind, data in pictures().items()}
  maker.tar(found, {ESCAPED: maker.jpeg()}, name="pictures/p.tar")
  whole = {f"{n}.jpg": maker.jpeg() for n in range(9)}
  cut(maker.tar(whole, name="pictures/z.tar"))
  places = sorted(map(str, (maker.folder / "pictures").iterdir()))
  return places, {
    "unsafe": ("unsafe_member", f"p.tar:{ESCAPED}"),
    "cut": ("truncated_file", "z.tar"),
  }


def interleaved(maker):
  places, told = archives(maker, "{}.jpg".format)
  docs = maker.folder / "docs"
  docs.mkdir()

  def line(name, text="A dog."):
    infos = [
      {"image_name": n, "matched_text_index": 0} for n in ("good.jpg", name)
    ]
    return json.dumps({"text_list": [text], "image_info": infos}) + "\n"

  kinds = [*pictures(), ESCAPED]
  lines = [line(f"{kind}.jpg") for kind in kinds]
  lines += [line("good.jpg", " "), line("good.jpg")[:-20]]
  (docs / "a.jsonl").write_text("".join(lines))
  (docs / "z.jsonl.gz").write_bytes(gzip.compress(200 * line("x").encode(), 0))
  cut(docs / "z.jsonl.gz")
  at = {kind: f"a.jsonl:{n}" for n, kind in enumerate(kinds, 1)}
  told |= {
    "corrupt": ("broken_picture", f"{at['corrupt']}:corrupt.jpg"),
    "one_pixel": ("small_picture", f"{at['one_pixel']}:one_pixel.jpg"),
    "unsafe name": ("unsafe_picture", at[ESCAPED]),
    "empty": ("empty_text", f"a.jsonl:{len(kinds) + 1}"),
    "cut line": ("bad_json", f"a.jsonl:{len(kinds) + 2}"),
    "cut documents": ("truncated_file", "z.jsonl.gz"),
  } | {k: ("picture_reencoded", at[k]) for k in CONVERTED}
  ids = {k: f"docs/{at[k]}" for k in ("good", *CONVERTED)}
  options = {"documents": str(docs), "pictures": places}
  # Half of the other file, in which no document's second picture is there.
  beside = {"lost_picture": 99}
  return Originals("interleaved", options, "train", told, ids, beside)


def text(maker):
  line = json.dumps({"text": "A dog."}) + "\n"
  (maker.folder / "a.jsonl").write_text(line + '{"text": " "}\n' + line[:9])
  with zipfile.ZipFile(maker.folder / "b.jsonl.zip", "w") as packed:
    packed.writestr("../escaped.jsonl", line)
    packed.writestr("fine.jsonl", line)
  path = maker.folder / "z.jsonl.gz"
  path.write_bytes(gzip.compress(200 * line.encode(), 0))
  cut(path)
  told = {
    "empty": ("empty_text", "a.jsonl:2"),
    "cut line": ("bad_json", "a.jsonl:3"),
    "cut": ("truncated_file", "z.jsonl.gz"),
    "unsafe": ("unsafe_member", "b.jsonl.zip:../escaped.jsonl"),
  }
  ids = {"good": f"{maker.folder.name}/a.jsonl:1"}
  options = {"files": str(maker.folder)}
  return Originals("text", options, "train", told, ids)


def objects(maker, items, key=None, name="{}.json"):
  """A file of good JSON, and one cut in half, whose first items are good."""
  for stem, values in (("a", items), ("z", [items[0]] * 9)):
    path = maker.folder / name.format(stem)
    path.write_text(json.dumps({key: values} if key else values))
  cut(path)
  return str(maker.folder / name.format("a")), str(path)


def llava_instruct(maker):
  places, told = archives(maker, "{}.jpg".format)

  def talk(kind, *said, image=None):
    turns = [
      {"from": speaker, "value": value}
      for speaker, value in zip(("human", "gpt"), said, strict=True)
    ]
    image = f"{kind}.jpg" if image is None else image
    return {"id": kind, "image": image, "conversations": turns}

  items = [talk(k, "<image>\nWhat?", "This.") for k in pictures()]
  items.append(talk("empty", "<image>\nWhat?", " ", image="good.jpg"))
  items.append(talk("name", "<image>\nWhat?", "This.", image=ESCAPED))
  items.append(items[0])
  paths = objects(maker, items)
  # Of the file cut in half, all are the first one again.
  return Originals(
    "llava_instruct",
    {"conversations": list(paths), "pictures": places},
    "train",
    told
    | {
      "cut conversations": ("truncated_file", "z.json"),
      "corrupt": ("corrupt_picture", "a.json:item 2"),
      "one_pixel": ("picture_too_small", "a.json:item 3"),
      "empty": ("empty_text", "a.json:item 8"),
      "unsafe name": ("unsafe_name", "a.json:item 9"),
      "duplicate": ("duplicate_id", "a.json:good-"),
    }
    | {
      kind: ("picture_reencoded", f"a.json:item {n}")
      for n, kind in enumerate(CONVERTED, 4)
    },
    {kind: f"{kind}-" for kind in ("good", *CONVERTED)},
    {"duplicate_id": 4},
  )


def instructions(maker):
  good = {"instruction": "Say hello.", "output": "Hello."}
  paths = objects(maker, [good, {"instruction": "Go.", "output": " "}, good])
  told = {
    "empty": ("empty_text", "a.json:item 2"),
    "duplicate": ("duplicate_id", "a.json:"),
    "cut": ("truncated_file", "z.json"),
  }
  beside = {"alpaca_pair": 7, "duplicate_id": 4}
  return Originals(
    "instructions",
    {"files": list(paths)},
    "train",
    told,
    {"good": ""},
    beside,
  )


def karpathy(name, maker):
  places, told = archives(maker, "{}.jpg".format)

  def picture(filename, split="train", words="A dog."):
    sentences = [{"raw": words}]
    return {"filename": filename, "split": split, "sentences": sentences}

  items = [picture(f"{kind}.jpg") for kind in pictures()]
  items.append(picture("empty.jpg", words=" "))
  items.append(picture(ESCAPED))
  items.append(items[0])
  # Other splits have the same archives, whose damage is told once.
  items += [picture("good.jpg", "val"), picture("good.jpg", "test")]
  told |= {
    "corrupt": ("corrupt_picture", "a.json:item 2"),
    "one_pixel": ("picture_too_small", "a.json:item 3"),
    "empty": ("no_caption_left", "a.json:item 8"),
    "empty caption": ("bad_sentence", "a.json:item 8, caption 1"),
    "unsafe name": ("unsafe_name", "a.json:item 9"),
    "duplicate": ("duplicate_id", "a.json:good"),
    "cut captions": ("truncated_file", "z.json"),
  } | {
    kind: ("picture_reencoded", f"a.json:item {n}")
    for n, kind in enumerate(CONVERTED, 4)
  }
  paths = objects(maker, items, "images")
  options = {"captions": list(paths), "pictures": places}
  ids = {kind: kind for kind in ("good", *CONVERTED)}
  return Originals(name, options, "train", told, ids, {"duplicate_id": 4})


def vqav2(maker):
  kinds = list(pictures())
  places, told = archives(
    maker, lambda kind: f"COCO_val2014_{kinds.index(kind):012}.jpg"
  )

  def asked(number, image_id, question="What?"):
    return {"question_id": number, "image_id": image_id, "question": question}

  items = [asked(n, n) for n in range(len(kinds))]
  items += [asked(7, 0, " "), asked(8, 0), asked(0, 0)]
  [path, other] = objects(
    maker, items, "questions", "v2_OpenEnded_{}_val2014_questions.json"
  )
  path, other = pathlib.Path(path), pathlib.Path(other)
  # The same picture stands for one of the test split.
  other = other.rename(
    other.with_name("v2_OpenEnded_z_test2015_questions.json")
  )
  answers = maker.folder / "v2_mscoco_val2014_annotations.json"
  annotations = [
    {
      "question_id": number,
      "image_id": number if number < len(kinds) else 0,
      "answers": [{"answer": " " if number == 8 else "a dog"}] * 10,
    }
    for number in range(9)
  ]
  answers.write_text(json.dumps({"annotations": annotations}))
  told |= {
    "corrupt": ("corrupt_picture", f"{path.name}:item 2"),
    "one_pixel": ("picture_too_small", f"{path.name}:item 3"),
    "empty": ("empty_text", f"{path.name}:item 8"),
    "empty answer": ("no_answer_left", f"{path.name}:item 9"),
    "duplicate": ("duplicate_id", f"{path.name}:0"),
    "cut questions": ("truncated_file", other.name),
  } | {
    kind: ("picture_reencoded", f"{path.name}:item {n}")
    for n, kind in enumerate(CONVERTED, 4)
  }
  options = {
    "questions": [str(path), str(other)],
    "annotations": str(answers),
    "pictures": places,
  }
  ids = {k: str(n) for n, k in enumerate(kinds) if k not in BROKEN}
  # A question without words is no good one, and has no answers then; half of
  # the other file is the first question of test, again and again.
  beside = {"bad_sentence": 10, "lone_annotation": 1, "duplicate_id": 3}
  return Originals("vqav2", options, "validation", told, ids, beside)


def jsonl(maker):
  for kind, encoded in pictures().items():
    (maker.folder / f"{kind}.jpg").write_bytes(encoded)

  def line(kind, image=None, **fields):
    image = f"{kind}.jpg" if image is None else image
    return {"id": kind, "image": image, "caption": "a dog"} | fields

  def phrase(*box, **where):
    return [{"text": "dog", "box": box} | where]

  lines = [line(kind) for kind in pictures()]
  lines += [
    line("empty", "good.jpg", caption=" "),
    line("span", "good.jpg", phrases=phrase(0, 0, 1, 1, span=[2, 9])),
    line("nan", "good.jpg", phrases=phrase(0, math.nan, 1, 1)),
    line("outside", "good.jpg", phrases=phrase(0.5, 0, 1.5, 1)),
    line("name", ESCAPED),
    line("good"),
  ]
  path = maker.folder / "boxes.jsonl"
  texts = [json.dumps(fields) for fields in [*lines, line("cut")]]
  path.write_text("\n".join(texts)[:-9])
  reasons = {
    "corrupt": "corrupt_picture",
    "one_pixel": "picture_too_small",
    "empty": "bad_value",
    "span": "misplaced_phrase",
    "nan": "bad_json",
    "outside": "misplaced_box",
    "name": "unsafe_name",
  } | dict.fromkeys(CONVERTED, "picture_reencoded")
  told = {
    fields["id"]: (reasons[fields["id"]], f"boxes.jsonl:{n}")
    for n, fields in enumerate(lines, 1)
    if fields["id"] in reasons
  }
  told["duplicate"] = ("duplicate_id", "boxes.jsonl:good")
  told["cut"] = ("bad_json", f"boxes.jsonl:{len(lines) + 1}")
  options = {"files": str(path), "skip_bad_lines": True}
  ids = {kind: kind for kind in ("good", *CONVERTED)}
  return Originals("jsonl", options, "train", told, ids)


MAKE = {
  "coco_captions": lambda maker: karpathy("coco_captions", maker),
  "flickr30k": lambda maker: karpathy("flickr30k", maker),
  "grit": grit,
  "image_text": image_text,
  "instructions": instructions,
  "interleaved": interleaved,
  "jsonl": jsonl,
  "llava_instruct": llava_instruct,
  "text": text,
  "vqav2": vqav2,
}


@dataclasses.dataclass
class Prepared:
  """What came of originals; `outside` is what was written elsewhere."""

  originals: Originals
  manifest: dict
  records: list
  outside: list


def everything(folder):
  """All files and folders under a folder, with what is in them."""
  return {
    path: path.read_bytes() if path.is_file() else None
    for path in folder.rglob("*")
  }


@pytest.fixture(scope="module")
def prepared(maker_class, tmp_path_factory):
  """Prepares the originals of a builder when they are first asked for."""
  done = {}

  def prepare(name):
    if name not in done:
      root = tmp_path_factory.mktemp(name)
      (root / "in").mkdir()
      originals = MAKE[name](maker_class(root / "in"))
      before = everything(root)
      out = root / "out" / "data"
      with pytest.MonkeyPatch.context() as patch:
        # All places are told, to compare them.
        patch.setattr(drops, "MAX_EXAMPLES", 99)
        source = data.load_source(
          name, originals.split, out, **originals.options
        )
      [manifest] = out.rglob("manifest.json")
      after = everything(root)
      done[name] = Prepared(
        originals,
        json.loads(manifest.read_text()),
        source.__getitems__(range(len(source))),
        [
          path
          for path in before.keys() | after.keys()
          if before.get(path, 0) != after.get(path, 0)
          and path not in (root / "out", out)
          and out not in path.parents
        ],
      )
    return done[name]

  return prepare


@pytest.mark.parametrize("name", MAKE)
def test_all_that_is_wrong_is_counted_and_nothing_else(prepared, name):
  found = prepared(name)
  tables = [*found.manifest["dropped"].values(), found.manifest["notes"]]
  counts = {
    reason: entry["count"]
    for table in tables
    for reason, entry in table.items()
  }
  assert counts == found.originals.counts()
  places = {
    reason: entry["examples"]
    for table in tables
    for reason, entry in table.items()
  }
  for fault, (reason, place) in found.originals.told.items():
    assert any(p.startswith(place) for p in places[reason]), fault


@pytest.mark.parametrize("name", MAKE)
def test_nothing_is_written_elsewhere(prepared, name):
  assert prepared(name).outside == []


@pytest.mark.parametrize("name", MAKE)
def test_good_records_are_kept(prepared, name):
  found = prepared(name)
  for kind, start in found.originals.ids.items():
    assert any(r["id"].startswith(start) for r in found.records), kind


@pytest.mark.parametrize("kind", CONVERTED)
@pytest.mark.parametrize(
  "name", [name for name in MAKE if name not in ("text", "instructions")]
)
def test_converted_pictures_look_the_same(prepared, name, kind):
  found = prepared(name)
  start = found.originals.ids[kind]
  [record] = [r for r in found.records if r["id"].startswith(start)]
  encoded = record["image"] if "image" in record else record["images"][-1]
  if (name, kind) == ("grit", "rotated"):
    # Its boxes are of the stored pixels.
    assert encoded == pictures()[kind]
    return
  image = Image.open(io.BytesIO(encoded))
  assert image.mode == "RGB" and not image.getexif()
  wanted = upright()
  if kind == "sixteen_bit":
    wanted = wanted.convert("L").convert("RGB")
  assert image.size == wanted.size
  difference = np.asarray(image, int) - np.asarray(wanted, int)
  assert np.abs(difference).mean() < MAX_DIFFERENCE


def test_faults_of_own_files_are_told_with_file_and_line(maker_class, tmp_path):
  originals = jsonl(maker_class(tmp_path))
  del originals.options["skip_bad_lines"]
  with pytest.raises(data.FaultyFile) as error:
    data.load_source("jsonl", "train", tmp_path / "out", **originals.options)
  said = str(error.value).splitlines()[1:]
  lines = [line.strip().split(": ")[0] for line in said]
  path = originals.options["files"]
  wanted = {
    f"{path}:{place.split(':')[1]}"
    for fault, (_, place) in originals.told.items()
    if fault not in (*CONVERTED, "duplicate")
  }
  # The line with an id that was given before comes last but one.
  last = max(int(line.rsplit(":", 1)[1]) for line in wanted)
  assert set(lines) == wanted | {f"{path}:{last - 1}"}
  assert not list((tmp_path / "out").glob("jsonl/*/*"))

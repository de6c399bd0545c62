"""Pairs become a shard: what is kept, what is dropped, and why."""

import io
import json
import math
import tarfile

import numpy as np
import pytest
from PIL import Image

from data.building.drops import DropReport
from data.grit import shards
from data.grit.build import account, asking, chain, pairs, shard, writing
from data.grit.build.asking import GrounderBroken
from data.grit.build.captions import CaptionOptions
from data.grit.build.child import Refused
from data.grit.build.grounding import ScoredBox
from data.grit.build.options import BuildOptions
from data.grit.build.selection import SelectionOptions

pytest.importorskip("spacy", reason="needs the extra `grit`")
pytest.importorskip("py3langid", reason="needs the extra `grit`")

BOX = (0.125, 0.25, 0.5, 0.75)
CAPTION = "a brown dog in a field of yellow flowers"
DOG = ["a brown dog", "a field", "yellow flowers"]


class Grounder:
  """Every phrase has a box of its own; `answers` of captions go first."""

  def __init__(self, answers=(), batch_size=4):
    self.batch_size = batch_size
    self.identity = {"kind": "fake"}
    self.asked = []
    self._answers = dict(answers)

  def ground(self, requests):
    self.asked.append([request.id for request in requests])
    return [self._answer(request) for request in requests]

  def _answer(self, request):
    answer = self._answers.get(request.caption)
    if isinstance(answer, Exception):
      raise answer
    if answer is not None:
      return answer
    return [
      [ScoredBox((0.125, 0.25 * i, 0.5, 0.25 * i + 0.25), 0.9 - 0.0625 * i)]
      for i in range(len(request.spans))
    ]


@pytest.fixture(scope="module")
def parser():
  from data.grit.build import parsing

  return parsing.Parser()


def sample(maker, key, caption, **changes):
  """Members of a good sample, whose txt is its caption."""
  members = maker.sample(key, caption=caption, **changes)
  return members | {f"{key}.txt": caption.encode()}


@pytest.fixture
def make_shard(maker, parser, tmp_path):
  """Builds captions with equal pictures, or whole samples."""

  def make(
    *samples, grounder=None, options=None, folder="built", name="00000.tar"
  ):
    samples = [
      sample(maker, f"{number:03}", given) if isinstance(given, str) else given
      for number, given in enumerate(samples)
    ]
    [unit] = pairs.find_units(maker.tar(*samples, name=name))
    (tmp_path / folder).mkdir(exist_ok=True)
    return shard.build_shard(
      unit,
      tmp_path / folder,
      options or BuildOptions(),
      parser,
      grounder or Grounder(),
    )

  return make


def read(folder):
  """Records by id; all of them are good."""
  report = DropReport()
  found = list(shards.read_shards(shards.find_shards(folder), report))
  assert not report.counts
  return {record.id: record for record in found}


def counts(told):
  """The report's counts; all that was read is accounted for."""
  report = DropReport.from_dict(told["report"], "")
  assert report.records_read == report.records_kept + report.total("record")
  assert report.items_read == report.items_kept + report.total("item")
  assert report.records_kept == told["count"] == told["successes"]
  return {reason.name: count for reason, count in report.counts.items()}


def phrases(record, name):
  return [
    record.caption[item.start : item.end] for item in getattr(record, name)
  ]


def test_a_pair_becomes_a_record(make_shard, tmp_path, maker):
  grounder = Grounder()
  told = make_shard(CAPTION, "a red car", grounder=grounder)
  records = read(tmp_path / "built")
  assert list(records) == ["0", "1"]
  dog = records["0"]
  assert (dog.caption, dog.image) == (CAPTION, maker.jpeg())
  assert phrases(dog, "noun_chunks") == DOG
  # The chunk's box is its expression's, which the others are parts of.
  assert phrases(dog, "ref_exps") == [CAPTION]
  assert dog.ref_exps[0].box_xyxy == (0.125, 0.0, 0.5, 0.25)
  assert dog.ref_exps[0].score == dog.noun_chunks[0].score == 0.9
  assert phrases(records["1"], "ref_exps") == ["a red car"]
  assert counts(told) == {"CONTAINED_EXPRESSION": 2}
  assert told["statistics"]["images"] == 2
  assert grounder.asked == [["0", "1"]]
  assert set(told["seconds"]) == {*chain.STEPS, "rest"}
  assert told["peak_mebibytes"] > 10
  assert json.loads((tmp_path / "built/00000_stats.json").read_text()) == told
  assert sorted(path.name for path in (tmp_path / "built").iterdir()) == [
    "00000.tar",
    "00000_stats.json",
  ]


def test_fields_are_those_of_the_released_files(maker, make_shard, tmp_path):
  first = sample(
    maker, "000", "a  dog", url="http://a/b.jpg", clip_similarity_vitb32=0.25
  )
  second = sample(maker, "001", "a dog", id="x7")
  told = make_shard(first, second)
  assert counts(told) == {"CAPTION_CLEANED": 1}
  with tarfile.open(tmp_path / "built/00000.tar") as tar:
    fields = json.load(tar.extractfile("000000000.json"))
    other = json.load(tar.extractfile("000000001.json"))
    assert tar.extractfile("000000000.txt").read() == b"a dog"
  assert list(fields)[:9] == [
    *("clip_similarity_vitb32", "clip_similarity_vitl14", "id", "url"),
    *("caption", "width", "height", "noun_chunks", "ref_exps"),
  ]
  assert fields["clip_similarity_vitb32"] == 0.25
  assert fields["clip_similarity_vitl14"] is None
  assert (fields["id"], fields["url"]) == (0, "http://a/b.jpg")
  assert fields["noun_chunks"] == [[0, 5, 0.125, 0.0, 0.5, 0.25, 0.9]]
  assert (fields["width"], fields["height"]) == (48, 40)
  assert (fields["original_width"], fields["original_height"]) == (48, 40)
  assert (fields["key"], fields["status"]) == ("000000000", "success")
  assert other["id"] == "x7"


def test_nested_expressions_are_kept_on_request(make_shard, tmp_path):
  told = make_shard(CAPTION, options=BuildOptions(nested="keep"))
  assert counts(told) == {}
  [dog] = read(tmp_path / "built").values()
  assert phrases(dog, "ref_exps") == [
    CAPTION,
    "a field of yellow flowers",
    "yellow flowers",
  ]
  assert phrases(dog, "noun_chunks") == DOG


def test_only_grounded_phrases_compete(make_shard, tmp_path):
  boxes = [[], [ScoredBox(BOX, 0.75)], [ScoredBox(BOX, 0.5)]]
  told = make_shard(CAPTION, grounder=Grounder({CAPTION: boxes}))
  [dog] = read(tmp_path / "built").values()
  assert phrases(dog, "noun_chunks") == ["a field"]
  assert phrases(dog, "ref_exps") == ["a field of yellow flowers"]
  assert counts(told) == {"LOW_SCORE": 1}


@pytest.mark.parametrize(
  ("caption", "reason"),
  [
    ("dog", "CAPTION_TOO_SHORT"),
    ("a dog " * 20_000, "CAPTION_TOO_LONG"),
    ("<b>a dog</b>", "MARKUP_CAPTION"),
    ("love and freedom", "NO_CHUNK_LEFT"),
  ],
)
def test_captions_that_are_dropped(make_shard, caption, reason, tmp_path):
  grounder = Grounder()
  told = make_shard(caption, "a red car", grounder=grounder)
  assert counts(told)[reason] == 1
  assert list(read(tmp_path / "built")) == ["1"]
  assert grounder.asked == [["1"]]


def test_options_of_the_parts_are_used(make_shard, tmp_path):
  options = BuildOptions(
    captions=CaptionOptions(min_words=3), selection=SelectionOptions(0.9)
  )
  told = make_shard("a dog", "a red car", options=options)
  assert counts(told) == {
    "CAPTION_TOO_SHORT": 1,
    "LOW_SCORE": 1,
    "NO_BOX_FOUND": 1,
  }
  # An empty shard is one, too.
  assert read(tmp_path / "built") == {}


def test_pictures_that_are_dropped_or_changed(maker, make_shard, tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6
  turned = io.BytesIO()
  maker.picture(48, 40).save(turned, "JPEG", exif=exif)
  large = io.BytesIO()
  maker.picture(200, 100).save(large, "JPEG", exif=exif)
  png = io.BytesIO()
  maker.picture(200, 100).convert("L").save(png, "PNG")
  grounder = Grounder()
  told = make_shard(
    sample(maker, "0", "a red car", picture=maker.jpeg(1, 1)),
    sample(maker, "1", "a red car", picture=maker.jpeg()[:300]),
    sample(maker, "2", "a red car", picture=turned.getvalue()),
    sample(maker, "3", "a red car", picture=png.getvalue()),
    sample(maker, "4", "a red car", picture=large.getvalue()),
    grounder=grounder,
    options=BuildOptions(shorter_side=50),
  )
  assert counts(told) == {
    "PICTURE_TOO_SMALL": 1,
    "CORRUPT_PICTURE": 1,
    "PICTURE_REENCODED": 3,
    "PICTURE_RESIZED": 2,
  }
  assert grounder.asked == [["2", "3", "4"]]
  records = read(tmp_path / "built")
  assert (records["2"].width, records["2"].height) == (40, 48)
  assert (records["3"].width, records["3"].height) == (100, 50)
  # Readers refuse it if its original shape is another.
  assert (records["4"].width, records["4"].height) == (50, 100)


def test_a_png_is_stored_as_png(maker, make_shard, tmp_path):
  png = io.BytesIO()
  maker.picture().save(png, "PNG")
  make_shard(sample(maker, "0", "a dog", picture=png.getvalue()))
  assert b"000000000.png" in (tmp_path / "built/00000.tar").read_bytes()
  assert read(tmp_path / "built")["0"].image == png.getvalue()


# ---- what grounders do


def test_pictures_are_decoded_only_if_they_are_looked_at(
  make_shard, maker, monkeypatch
):
  decoded = []

  class Looking(Grounder):
    def ground(self, requests):
      for request in requests:
        image = request.image
        assert request.image is image
        assert image.flags.writeable
        decoded.append(image)
      return super().ground(requests)

  make_shard("a dog", grounder=Grounder())
  told = make_shard("a dog", grounder=Looking(), folder="looking")
  [image] = decoded
  wanted = np.asarray(Image.open(io.BytesIO(maker.jpeg())))
  np.testing.assert_array_equal(image, wanted)
  assert told["grounder_errors"] == []


@pytest.mark.parametrize(
  ("answer", "error"),
  [
    (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
    ([[], []], "ValueError: expected of the grounder lists of boxes for 1"),
    ([None], "TypeError: "),
    ([[BOX]], "TypeError: "),
  ],
)
def test_one_that_fails_does_not_harm_the_others(
  make_shard, tmp_path, answer, error
):
  grounder = Grounder({"a red car": answer})
  told = make_shard("a dog", "a red car", "a cat", grounder=grounder)
  assert counts(told) == {"GROUNDER_FAILED": 1}
  assert list(read(tmp_path / "built")) == ["0", "2"]
  assert grounder.asked == [["0", "1", "2"], ["0"], ["1"], ["2"]]
  [words] = told["grounder_errors"]
  assert words.startswith(f"00000.tar:001: {error}")


@pytest.mark.parametrize("answers", [[], None, [[[]]] * 3])
def test_wrong_number_of_answers(make_shard, tmp_path, answers):
  class Short(Grounder):
    def ground(self, requests):
      return answers if len(requests) > 1 else super().ground(requests)

  told = make_shard("a dog", "a red car", grounder=Short())
  # Asked one by one, it gives as many as it should.
  assert counts(told) == {}
  assert list(read(tmp_path / "built")) == ["0", "1"]


def test_odd_boxes_are_dropped_by_reason(make_shard):
  nan = math.nan
  found = {
    "a dog": [[ScoredBox((nan, 0, 1, 1), 0.9)]],
    "a cat": [[]],
    "a car": [[ScoredBox(BOX, nan)]],
    "a bus": [[ScoredBox((0.5, 0, 0.25, 1), 0.9), ScoredBox(BOX, 0.9)]],
    "a tree": [[ScoredBox(None, 0.9)]],
  }
  told = make_shard(*found, grounder=Grounder(found))
  assert counts(told) == {
    "NOT_FINITE": 2,
    "BOX_EMPTY": 1,
    "BAD_BOX": 1,
    "NO_BOX_FOUND": 4,
  }


def test_a_grounder_that_always_fails_ends_the_shard(
  make_shard, tmp_path, monkeypatch
):
  monkeypatch.setattr(asking, "MAX_FAILURES", 3)
  fails = RuntimeError("no device")
  bad = Grounder({f"a dog {n}": fails for n in range(9)}, batch_size=2)
  # Failures in a row count.
  told = make_shard("a dog 0", "a dog 1", "a cat", "a dog 2", grounder=bad)
  assert counts(told) == {"GROUNDER_FAILED": 3}
  with pytest.raises(GrounderBroken, match="3 pairs in a row.*no device"):
    make_shard(*(f"a dog {n}" for n in range(9)), grounder=bad, folder="second")
  assert list((tmp_path / "second").iterdir()) == []


def test_batches_end_where_they_have_many_pixels(make_shard, monkeypatch):
  monkeypatch.setattr(asking, "MAX_PIXELS", 48 * 40 * 2)
  grounder = Grounder()
  make_shard("a dog", "a cat", "a car", grounder=grounder)
  assert grounder.asked == [["0", "1"], ["2"]]


def test_captions_wait_for_the_parser_by_count_and_bytes(
  make_shard, monkeypatch, maker
):
  captions = ("a dog", "a cat", "a car")
  expected = make_shard(*captions)["report"]
  monkeypatch.setattr(chain, "PARSED_PAIRS", 2)
  assert make_shard(*captions, folder="two")["report"] == expected
  monkeypatch.setattr(chain, "PARSED_BYTES", 1)
  assert make_shard(*captions, folder="one")["report"] == expected


# ---- the account


def test_damaged_files_are_counted(maker, make_shard, tmp_path, parser):
  path = tmp_path / "page.tar"
  path.write_bytes(b"<html>")
  (tmp_path / "built").mkdir()
  [unit] = pairs.find_units(path)
  told = shard.build_shard(
    unit, tmp_path / "built", BuildOptions(), parser, Grounder()
  )
  assert counts(told) == {"UNREADABLE_FILE": 1}
  samples = [sample(maker, f"{n:03}", "a dog") for n in range(3)]
  cut = maker.tar(*samples, name="cut.tar")
  cut.write_bytes(cut.read_bytes()[:-13_000])
  [unit] = pairs.find_units(cut)
  (tmp_path / "second").mkdir()
  told = shard.build_shard(
    unit, tmp_path / "second", BuildOptions(), parser, Grounder()
  )
  assert "TRUNCATED_FILE" in counts(told)
  assert 0 < told["count"] < 3


def test_a_finished_shard_is_not_built_again(make_shard, tmp_path):
  first = make_shard("a dog", "a cat")
  before = (tmp_path / "built/00000.tar").stat().st_mtime_ns
  grounder = Grounder()
  assert make_shard("a dog", "a cat", grounder=grounder) == first
  assert grounder.asked == []
  assert (tmp_path / "built/00000.tar").stat().st_mtime_ns == before


def test_a_shard_without_account_is_built_again(make_shard, tmp_path):
  make_shard("a dog", "a cat")
  path = tmp_path / "built/00000.tar"
  data = path.read_bytes()
  for left in (None, "{"):
    path.write_bytes(b"old")
    (tmp_path / "built/00000_stats.json").unlink()
    if left:
      (tmp_path / "built/00000_stats.json").write_text(left)
    make_shard("a dog", "a cat")
    assert path.read_bytes() == data
  # Nor is one of which the account alone is left.
  path.unlink()
  make_shard("a dog", "a cat")
  assert path.read_bytes() == data


def test_shards_of_another_build_are_refused(make_shard):
  make_shard("a dog", "a cat")
  with pytest.raises(Refused, match=r"00000_stats.json has options.nested"):
    make_shard("a dog", "a cat", options=BuildOptions(nested="keep"))
  low = BuildOptions(selection=SelectionOptions(min_score=0.5))
  with pytest.raises(Refused, match=r"selection.min_score 0.65 where this bui"):
    make_shard("a dog", "a cat", options=low)
  other = Grounder()
  other.identity = {"kind": "fake", "threshold": 0.25}
  with pytest.raises(Refused, match=r"grounder.threshold null .* has 0.25"):
    make_shard("a dog", "a cat", grounder=other)
  with pytest.raises(Refused, match=r"has unit.state "):
    make_shard("a dog", "a red car")
  with pytest.raises(Refused, match=r"has unit.name "):
    make_shard("a dog", "a cat", name="other.tar")


def test_an_error_leaves_nothing(make_shard, tmp_path, monkeypatch):
  def fail(*_):
    raise OSError("the disk is full")

  monkeypatch.setattr(writing.ShardWriter, "add", fail)
  with pytest.raises(OSError, match="disk is full"):
    make_shard("a dog", "a cat")
  assert list((tmp_path / "built").iterdir()) == []


def test_leftovers_are_removed_and_nothing_else(tmp_path):
  left = [
    *(".00001.tar.0a.partial", "00001_stats.json.7.tmp"),
    *(f"outcomes-{'a' * 32}.json", f"outcomes-{'a' * 32}.json.7.tmp"),
  ]
  other = [
    *("00001.tar", "00001_stats.json", "summary.json", "outcomes-.json"),
    *(".partial", "notes.tmp", "x.tar.partial"),
  ]
  for name in (*left, *other):
    (tmp_path / name).touch()
  account.remove_leftovers(tmp_path)
  assert {path.name for path in tmp_path.iterdir()} == set(other)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"nested": "some"}, "one of drop, keep for nested, found 'some'"),
    ({"min_side": 0}, "min_side of at least 1, not 0"),
    ({"shorter_side": 16}, r"at least min_side \(32\) or 0, found 16"),
  ],
)
def test_wrong_options(options, message):
  with pytest.raises(ValueError, match=message):
    BuildOptions(**options)


def test_ids_that_are_numbers():
  told = [shard._as_number(x) for x in ("0", "17", "007", "1e3", "٣", "9" * 25)]
  assert told == [0, 17, "007", "1e3", "٣", "9" * 25]


def test_clock_stops_for_the_step_inside(monkeypatch):
  from data.grit.build import clock

  now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
  monkeypatch.setattr(clock.time, "perf_counter", lambda: next(now))
  watch = clock.Clock(("outer", "inner"))
  with watch.step("outer"), watch.step("inner"):
    pass
  assert watch.stop() == {"outer": 6.0, "inner": 3.0, "rest": 6.0}

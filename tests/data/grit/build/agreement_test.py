"""Built boxes beside true ones: counted by hand here."""

import json

import pytest

from data.grit.build import agreement, selection
from data.grit.records import Item, Record


def _record(record_id, noun_chunks=(), ref_exps=(), caption="a dog and a cat"):
  return Record(record_id, b"", 10, 10, caption, noun_chunks, ref_exps)


DOG, CAT = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)


@pytest.mark.parametrize(
  ("first", "second", "expected"),
  [
    (DOG, DOG, 1.0),
    (DOG, CAT, 0.0),
    # 0.25 x 0.5 of 0.25 + 0.25 - 0.125.
    (DOG, (0.25, 0.0, 0.75, 0.5), 0.125 / 0.375),
    (DOG, (0.2, 0.2, 0.2, 0.4), 0.0),
  ],
)
def test_iou(first, second, expected):
  assert selection.iou(first, second) == pytest.approx(expected, abs=1e-12)


def test_counts():
  """Of four built boxes one is of a wrong span, one twice, one too unsure."""
  built = [
    Item(0, 5, DOG, 0.9),
    Item(0, 5, (0.0, 0.0, 0.5, 0.45), 0.8),  # the same dog again
    Item(2, 5, DOG, 0.7),
    Item(10, 15, CAT, 0.4),
  ]
  true = [Item(0, 5, DOG, 1.0), Item(10, 15, CAT, 1.0)]
  counts = agreement.Counts()
  agreement.add_record(counts, built, true, 0.5)
  assert counts == agreement.Counts(
    boxes=3, spans=2, right_boxes=1, right_spans=1, true_boxes=2, true_spans=2
  )
  told = counts.as_dict()
  assert told["precision_boxes"] == 1 / 3
  assert told["recall_boxes"] == told["recall_spans"] == 0.5
  assert told["precision_spans"] == 0.5


def test_a_box_that_overlaps_by_less_than_half_is_wrong():
  counts = agreement.Counts()
  shifted = (0.25, 0.0, 0.75, 0.5)
  agreement.add_record(
    counts, [Item(0, 5, shifted, 0.9)], [Item(0, 5, DOG, 1.0)], 0.5
  )
  assert (counts.right_boxes, counts.right_spans) == (0, 1)


def test_each_true_box_makes_one_right():
  """Two dogs, both found; the surer one takes the box that fits it best."""
  other = (0.1, 0.0, 0.6, 0.5)
  built = [Item(0, 5, other, 0.6), Item(0, 5, DOG, 0.9)]
  true = [Item(0, 5, DOG, 1.0), Item(0, 5, other, 1.0)]
  counts = agreement.Counts()
  agreement.add_record(counts, built, true, 0.5)
  assert counts.right_boxes == 2


def test_compare_by_id():
  true = {
    name: _record(name, (Item(0, 5, DOG, 1.0),), (Item(0, 15, DOG, 1.0),))
    for name in ("1", "2")
  }
  built = [_record("2", (Item(0, 5, DOG, 0.7),), (Item(0, 15, CAT, 0.7),))]
  told = agreement.compare(built, true)
  assert (told["records"], told["true_records"]) == (1, 2)
  assert told["noun_chunks"]["0.65"]["precision_boxes"] == 1
  assert told["noun_chunks"]["0.8"]["boxes"] == 0
  assert told["noun_chunks"]["0.8"]["precision_boxes"] is None
  assert told["ref_exps"]["0.5"]["precision_boxes"] == 0
  assert told["ref_exps"]["0.5"]["precision_spans"] == 1
  assert "0.65        1      1.000   1.000" in agreement.table(told)


@pytest.mark.parametrize(
  ("record", "message"),
  [
    (_record("3"), "record '3' among the true ones"),
    (_record("1", caption="a cat"), "the caption 'a dog and a cat' of record"),
  ],
)
def test_records_that_do_not_fit(record, message):
  with pytest.raises(ValueError, match=message):
    agreement.compare([record], {"1": _record("1")})


def test_command(capsys):
  """Shards agree with themselves, and all numbers can be had as JSON."""
  shard = "data/grit/photos/00000.tar"
  agreement.main(["--built", shard, "--truth", shard, "--json"])
  told = json.loads(capsys.readouterr().out)
  assert told["records"] == told["true_records"] == 10
  assert told["noun_chunks"]["0.5"]["precision_boxes"] == 1
  assert told["ref_exps"]["0.5"]["recall_boxes"] == 1


def test_no_shards(tmp_path, capsys):
  missing = str(tmp_path / "none.tar")
  with pytest.raises(SystemExit) as stopped:
    agreement.main(["--built", missing, "--truth", missing])
  assert stopped.value.code == 2
  assert "none.tar" in capsys.readouterr().err

"""The contact sheet: which records are drawn, and what of them."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from data.grit.records import Item, Record
from kosmos2_jax import visualize
from kosmos2_jax.grit import contact_sheet
from kosmos2_jax.tools import contact_sheet as command

FIRST, SECOND, THIRD = visualize.COLORS[:3]
CAPTION = "a dog in a field and a cat"
DOG, FIELD, CAT = (0, 5), (9, 16), (21, 26)
WIDTH, HEIGHT = 320, 240
BOXES = {
  DOG: (0.1, 0.1, 0.4, 0.5),
  FIELD: (0.0, 0.6, 1.0, 1.0),
  CAT: (0.5, 0.1, 0.9, 0.5),
}


def encoded(color=(128, 128, 128)):
  buffer = io.BytesIO()
  Image.new("RGB", (WIDTH, HEIGHT), color).save(buffer, "PNG")
  return buffer.getvalue()


def item(span, score=0.75):
  return Item(*span, BOXES[span], score)


def record(noun_chunks, ref_exps):
  return Record(
    "0", encoded(), WIDTH, HEIGHT, CAPTION, tuple(noun_chunks), tuple(ref_exps)
  )


def write_shard(path, numbers, caption=CAPTION):
  """Records whose picture and id are their number; 13 is broken."""
  with tarfile.open(path, "w") as tar:
    for number in numbers:
      fields = {
        "id": str(number),
        "caption": caption,
        "noun_chunks": [[0, 5, 0.1, 0.1, 0.4, 0.5, 0.75]],
        "ref_exps": [[0, 16, 0.1, 0.1, 0.4, 0.5, 0.75]],
      }
      members = {"png": encoded((number, 0, 0)), "json": json.dumps(fields)}
      if number == 13:
        members["png"] = b"no picture"
      for extension, data in members.items():
        data = data.encode() if isinstance(data, str) else data
        member = tarfile.TarInfo(f"{number:09d}.{extension}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
  return path


def has(image, color):
  return (np.asarray(image) == color).all(-1).any()


def at(image, x, y):
  """The pixel of the picture at a place told as a part of its sides."""
  return image.getpixel((round(x * (WIDTH - 1)), round(y * (HEIGHT - 1))))


def test_boxes_have_the_colours_of_their_words():
  whole = Item(0, 16, BOXES[DOG], 0.75)
  drawn = contact_sheet.draw_record(
    record([item(DOG), item(CAT)], [whole, item(CAT)])
  )
  assert drawn.width == WIDTH
  assert at(drawn, 0.1, 0.3) == FIRST
  assert at(drawn, 0.5, 0.3) == SECOND
  assert not has(drawn, THIRD)
  text = drawn.crop((0, HEIGHT, WIDTH, drawn.height))
  for color in (FIRST, SECOND, visualize.BLACK, visualize.GRAY):
    assert has(text, color)


def test_a_box_that_no_expression_has_is_dashed():
  drawn = contact_sheet.draw_record(
    record([item(CAT), item(FIELD)], [item(CAT)])
  )
  top = np.asarray(drawn)[round(0.6 * (HEIGHT - 1)), :WIDTH]
  dashed = (top == SECOND).all(-1)
  assert 0.3 < dashed.mean() < 0.7
  top = np.asarray(drawn)[round(0.1 * (HEIGHT - 1)), 165:280]
  assert (top == FIRST).all()


def test_a_chunk_has_the_colour_of_the_expression_around_it():
  """Not that of another one with the same box."""
  same = [
    Item(0, 16, BOXES[DOG], 0.75),
    Item(9, 16, BOXES[DOG], 0.75),
  ]
  drawn = contact_sheet.draw_record(record([item(DOG)], same))
  lines = np.asarray(drawn.crop((0, HEIGHT, WIDTH, drawn.height)))
  chunks = lines[visualize._LINE_HEIGHT + 4 :]
  assert has(chunks, FIRST)
  assert not has(chunks, SECOND)
  # Of two around it to the shorter; both have its box.
  nested = [Item(0, 5, BOXES[DOG], 0.75), Item(0, 16, BOXES[DOG], 0.75)]
  drawn = contact_sheet.draw_record(record([item(DOG)], nested))
  lines = np.asarray(drawn.crop((0, HEIGHT, WIDTH, drawn.height)))
  assert has(lines[visualize._LINE_HEIGHT + 4 :], FIRST)


def test_records_without_chunks_are_drawn():
  one = contact_sheet.draw_record(record([], [item(DOG)]))
  two = contact_sheet.draw_record(record([item(DOG)], []))
  assert has(one, FIRST)
  assert has(two, FIRST)
  assert one.height < two.height


def test_the_sample_is_of_all_shards(tmp_path):
  for shard in range(3):
    numbers = range(10 * shard, 10 * shard + 10)
    write_shard(tmp_path / f"{shard:05d}.tar", numbers)
  chosen = contact_sheet.choose(tmp_path, 6, 0)
  numbers = [int(one.id) for one in chosen]
  assert sorted(number // 10 for number in numbers) == [0, 0, 1, 1, 2, 2]
  assert len(set(numbers)) == 6
  assert contact_sheet.choose(tmp_path, 6, 0) == chosen
  assert contact_sheet.choose([tmp_path / "*.tar"], 6, 0) == chosen
  assert contact_sheet.choose(tmp_path, 6, 1) != chosen
  # All of them; the broken one is passed over.
  everything = contact_sheet.choose(tmp_path, 100, 0)
  assert sorted(int(one.id) for one in everything) == [
    number for number in range(30) if number != 13
  ]


def test_the_command_draws(tmp_path, capsys):
  write_shard(tmp_path / "00000.tar", range(6))
  output = tmp_path / "new" / "sheet.png"
  arguments = [f"--shards={tmp_path}/*.tar", f"--output={output}"]
  assert command.main(["contact_sheet", *arguments, "--count=5"]) == 0
  assert capsys.readouterr().out == f"wrote {output}: 5 records\n"
  first = output.read_bytes()
  with Image.open(output) as image:
    assert image.width > 4 * WIDTH
    assert image.height > 2 * HEIGHT
  command.main(["contact_sheet", *arguments, "--count=5"])
  assert output.read_bytes() == first


@pytest.mark.parametrize(
  ("arguments", "expected"),
  [
    (["--shards=nowhere.tar", "--output=a.png"], "nowhere.tar"),
    (["--output=a.png"], "--shards"),
    (["--shards=a.tar", "--output=a.png", "more"], "'more' is no flag"),
  ],
)
def test_mistakes_are_said(arguments, expected, capsys):
  assert command.main(["contact_sheet", *arguments]) == 2
  [line] = capsys.readouterr().err.splitlines()
  assert line.startswith("contact_sheet: ")
  assert expected in line


def test_shards_without_records_are_said(tmp_path):
  write_shard(tmp_path / "00000.tar", [13])
  with pytest.raises(ValueError, match="found none that can be read"):
    contact_sheet.draw(tmp_path, tmp_path / "sheet.png", count=4)
  assert not (tmp_path / "sheet.png").exists()

"""The user's files as records, and a run that trains on them."""

import json
import pathlib
import random

import numpy as np
import pytest

import data
from configs import finetune_jsonl
from data.building import builder
from data.jsonl.jsonl_builder import Jsonl
from kosmos2_jax.input import planning, recipes, sources
from kosmos2_jax.input.text_ops import Context, start
from kosmos2_jax.text import markup
from kosmos2_jax.text.tokenizer import Tokenizer

EXAMPLE = pathlib.Path("data/jsonl/example/example.jsonl")
ROOT = pathlib.Path(__file__).parents[3]
CAPTION = {"image": "a.jpg", "caption": "a red box"}


def opened(path, data_dir, split="train", **options):
  """All examples of a split, by id."""
  source = data.load_source(
    "jsonl", split, data_dir, files=str(path), **options
  )
  examples = source.__getitems__(list(range(len(source))))
  return {example["id"]: example for example in examples}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
  """The ten lines of the repository, prepared; by number."""
  folder = tmp_path_factory.mktemp("prepared")
  found = opened(ROOT / EXAMPLE, folder)
  return {int(key.split(":")[1]): value for key, value in found.items()}


def test_the_example_has_every_form(example):
  assert len(example) == 10
  lines = (ROOT / EXAMPLE).read_text().splitlines()
  lines = {i + 1: json.loads(line) for i, line in enumerate(lines)}
  for number, line in lines.items():
    record = example[number]
    names = line.get("images", [line.get("image")])
    pictures = [(ROOT / EXAMPLE).parent / name for name in names]
    assert record["images"] == [path.read_bytes() for path in pictures]
    assert sum(path.stat().st_size for path in pictures) < 30_000
    assert record["caption"] == line.get("caption", "")
    assert record["question"] == line.get("question", "")
    assert record["ref_exps"] == []
  [astronaut, _] = example[3]["noun_chunks"]
  assert (astronaut["start"], astronaut["end"]) == (0, 19)
  np.testing.assert_allclose(
    astronaut["box_xyxy"], np.array([8, 7, 159, 224]) / 224, atol=1e-6
  )
  assert astronaut["score"] == 1
  assert [item["start"] for item in example[2]["noun_chunks"]] == [
    0,
    17,
    17,
    32,
  ]
  [rocket] = example[6]["expressions"]
  assert rocket["text"] == "the white rocket"
  np.testing.assert_allclose(
    rocket["box_xyxy"],
    np.array([108, 44, 118, 142]) / [224, 149, 224, 149],
    atol=1e-6,
  )
  assert len(example[7]["expressions"]) == 2
  assert example[8]["answers"] == ["a clock"]
  assert example[9]["answers"] == ["deep space", "galaxies", "deep space"]
  roles = [message["role"] for message in example[10]["messages"]]
  assert roles == ["user", "assistant"] * 2
  [cup] = example[10]["message_phrases"]
  assert (cup["message"], cup["image"]) == (1, 1)
  text = example[10]["messages"][1]["text"]
  assert text[cup["start"] : cup["end"]] == "a red cup"


def test_every_line_becomes_a_row(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  config = finetune_jsonl.get_config(f"file={EXAMPLE}")
  tokenizer = Tokenizer.small(32)
  plan = planning.plan_stream(
    [kind.to_dict() for kind in config.data.kinds],
    config.data.to_dict(),
    data.loader(tmp_path, config.data.builders),
    tokenizer,
    image_size=32,
    num_latents=16,
    seed=0,
  )
  stream = plan.open(0)
  batch = next(stream)
  stream.close()
  assert batch["images"].shape == (10, 2, 32, 32, 3)
  assert not stream.counts
  texts = [
    tokenizer.decode([t for t, m in zip(row, mask, strict=True) if m])
    for row, mask in zip(batch["targets"], batch["loss_mask"], strict=True)
  ]
  assert any(text.startswith("a bed of small grey stones") for text in texts)
  assert any("<grounding>" in text and "helmet" in text for text in texts)
  assert any(text.startswith("a clock") for text in texts)
  assert any("Espresso." in text and "a red cup" in text for text in texts)
  assert any("rocket" in text for text in texts)


def test_the_config_fits_the_file(folder, monkeypatch):
  box = {"image": "a.jpg", "expression": "x", "box": [0, 0, 1, 1]}
  phrase = {"phrases": [{"text": "a red box", "box": [0, 0, 1, 1]}]}

  def evaluated(*lines):
    config = finetune_jsonl.get_config(f"file={folder.write(*lines)}")
    return [(t.name, t.split, t.where) for t in config.evals.tasks]

  assert evaluated(CAPTION) == []
  assert evaluated(CAPTION | phrase, "{", "[]") == [
    ("caption", "train", "noun_chunks")
  ]
  assert evaluated(box, box | {"split": "test"}, CAPTION | phrase) == [
    ("caption", "train", "noun_chunks"),
    ("find", "test", "expressions"),
  ]
  images = {"images": ["a.jpg"] * 3, "messages": []}
  config = finetune_jsonl.get_config(
    f"file={folder.write(images, {'images': ['a.jpg']})}"
  )
  assert config.data.images_per_row == 3
  # Sixteen latents, `<image>`, `</image>` and some words for each.
  assert config.data.seq_len == 140 + 3 * 19
  assert config.data.view == "squash"
  assert config.optimizer.learning_rate == 2e-3
  tuning = finetune_jsonl.get_config("file=x.jsonl,checkpoint=runs/a")
  assert tuning.init_from == "runs/a"
  assert tuning.optimizer.learning_rate == 1e-5
  assert tuning.data.seq_len == 140 + 67


def test_evaluators_see_the_lines_that_are_for_them(folder, tmp_path):
  box = {"image": "a.jpg", "expression": "x", "box": [0, 0, 1, 1]}
  turns = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "content": "y"},
  ]
  path = folder.write(CAPTION, box, {"messages": turns}, box)
  source = data.load_source("jsonl", "train", tmp_path / "d", files=str(path))
  found = list(sources.eval_examples(source, where="expressions"))
  assert {e["id"] for e in found} == {"boxes.jsonl:2", "boxes.jsonl:4"}
  assert all(e["image"].shape == (80, 100, 3) for e in found)
  assert len(list(sources.eval_examples(source, 1, "expressions"))) == 1
  with pytest.raises(ValueError, match="expected one picture to ask about"):
    list(sources.eval_examples(source, where="messages"))


def test_nothing_is_prepared_of_a_faulty_file(folder, tmp_path):
  path = folder.write(CAPTION, CAPTION | {"caption": ""})
  folder_of_data = tmp_path / "data"
  with pytest.raises(data.FaultyFile, match="2: caption: expected words"):
    opened(path, folder_of_data)
  assert not list(folder_of_data.glob("jsonl/*/1.0.0"))
  found = opened(path, folder_of_data, skip_bad_lines=True)
  assert list(found) == ["boxes.jsonl:1"]
  [manifest] = folder_of_data.glob("jsonl/*/1.0.0/manifest.json")
  account = json.loads(manifest.read_text())
  assert account["records"] == {"read": 2, "kept": 1}
  assert account["dropped"]["record"]["bad_value"]["examples"] == [
    "boxes.jsonl:2"
  ]


def test_splits(folder, tmp_path):
  path = folder.write(CAPTION, CAPTION | {"split": "test"}, CAPTION)
  assert list(opened(path, tmp_path / "d", "test")) == ["boxes.jsonl:2"]
  assert len(opened(path, tmp_path / "d")) == 2


def test_a_changed_picture_is_prepared_again(folder, tmp_path):
  path = folder.write(CAPTION)
  prepared = [builder.prepare(Jsonl, tmp_path / "d", files=str(path))]
  prepared.append(builder.prepare(Jsonl, tmp_path / "d", files=str(path)))
  folder.picture(size=(120, 80))
  prepared.append(builder.prepare(Jsonl, tmp_path / "d", files=[path]))
  one, two, three = [b.data_path for b in prepared]
  assert one == two != three


def test_wrong_options(folder, tmp_path):
  path = folder.write(CAPTION)
  with pytest.raises(ValueError, match="box_format to be normalized or pixels"):
    opened(path, tmp_path, box_format="auto")
  with pytest.raises(ValueError, match="does not take these options"):
    opened(path, tmp_path, colour="red")
  with pytest.raises(FileNotFoundError, match="expected a JSONL file"):
    opened(tmp_path / "x.jsonl", tmp_path)


def test_a_file_without_lines(folder, tmp_path):
  path = folder.write()
  with pytest.raises(ValueError, match=r"expected lines in .*boxes\.jsonl"):
    builder.prepare(Jsonl, tmp_path / "d", files=str(path))


def test_command_line(folder, tmp_path, capsys):
  path = folder.write(CAPTION | {"image": str(folder.path / "a.jpg")})
  flags = ["--files", str(path), "--data_dir", str(tmp_path / "d")]
  with pytest.raises(SystemExit, match="2"):
    builder.main(Jsonl, flags)
  assert capsys.readouterr().err.startswith("error: expected every line of")
  builder.main(Jsonl, [*flags, "--allow_absolute=true"])
  assert "JSONL: 1 file(s), 1 of 1 records" in capsys.readouterr().out


def test_boxes_follow_the_picture_they_are_in(folder, tmp_path):
  """A crop moves boxes of a wide and of a high picture in different ways."""
  folder.picture("high.jpg", size=(80, 100))
  box = [0.32, 0.32, 0.68, 0.68]
  lines = [
    {
      "images": ["a.jpg", "high.jpg"],
      "messages": [
        {"role": "user", "content": "<image>What is <image>this?"},
        {
          "role": "assistant",
          "content": "a box",
          "phrases": [{"text": "a box", "image": image, "box": box}],
        },
      ],
    }
    for image in (0, 1)
  ]
  path = folder.write(*lines)
  found = opened(path, tmp_path / "d")
  tokenizer = Tokenizer.small(32)
  context = Context(tokenizer, 32, "crop", 100, 4)
  [op] = recipes.by_fields()
  bins = []
  for number in (1, 2):
    example = found[f"boxes.jsonl:{number}"]
    made = op(start(dict(example), random.Random(0)), context)
    [phrase] = markup.parse(list(made["document"].ids), tokenizer).phrases
    [cut] = phrase.boxes
    bins.append([int(v * 32) for v in cut.xyxy])
  # Of the long side, 0.32 is 0.275 of the square in its middle.
  assert bins == [[8, 10, 23, 21], [10, 8, 21, 23]]

"""The command: what is asked, what is printed, what is drawn."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax import visualize
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import MAX_BOX_TOKENS, Predictor
from kosmos2_jax.text import markup
from kosmos2_jax.text.grounded import Box, Phrase
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.tools import ground
from kosmos2_jax.training import saved_params, workdir
from tests.convert.samples import random_params

TOKENIZER = Tokenizer.small(num_bins=4)
CAPTION = "a red circle left of a square"
PHRASES = [
  Phrase("a red circle", (0, 12), (Box((0.0, 0.0, 0.6, 0.6)),)),
  Phrase("a square", (21, 29), (Box((0.5, 0.3, 1.0, 0.9)),)),
]
FIRST, SECOND = visualize.COLORS[:2]
WIDTH, HEIGHT = 300, 200


@dataclasses.dataclass
class Taught(Predictor):
  """Answers what it was taught and remembers what it was asked."""

  tokens: list[int]
  log_prob: float = -0.5
  boxes: tuple = ()
  tokenizer: Tokenizer = TOKENIZER
  asked: list = dataclasses.field(default_factory=list)

  def generate(self, prompts, images, **options):
    self.asked.append((*prompts, *images, options))
    log_probs = (self.log_prob,) * len(self.tokens)
    text = TOKENIZER.decode(self.tokens)
    return [Generation(text, tuple(self.tokens), log_probs, True)]

  def locate_batch(self, images, expressions, *, max_new_tokens):
    self.asked.append((*expressions, *images, max_new_tokens))
    return [list(self.boxes)]


@pytest.fixture
def taught(monkeypatch):
  ids = markup.build(CAPTION, PHRASES, TOKENIZER, grounding=False)
  predictor = Taught(ids)
  opened = []

  def from_pretrained(path, dtype):
    opened.append((path, dtype))
    return predictor

  monkeypatch.setattr(ground.Predictor, "from_pretrained", from_pretrained)
  predictor.opened = opened
  return predictor


@pytest.fixture
def image(tmp_path):
  path = tmp_path / "scene.png"
  Image.new("RGB", (WIDTH, HEIGHT), (128, 128, 128)).save(path)
  return path


def run(**named):
  arguments = [f"--{key}={value}" for key, value in named.items()]
  return ground.main(["ground", "--checkpoint=here", *arguments])


def printed(capsys):
  def refuse(name):
    raise AssertionError(f"{name} is no JSON")

  return json.loads(capsys.readouterr().out, parse_constant=refuse)


def load(path):
  with Image.open(path) as picture:
    picture.load()
  return picture


def count(picture, color, box=None):
  picture = picture.crop(box) if box else picture
  return int((np.asarray(picture) == color).all(-1).sum())


def test_a_caption_is_the_default(taught, image, capsys):
  assert run(image=image) == 0
  found = printed(capsys)
  assert taught.opened == [("here", None)]
  [(prompt, picture, options)] = taught.asked
  assert prompt == "<grounding>An image of"
  assert picture.size == (WIDTH, HEIGHT)
  assert options == {}
  assert found == {
    "image": str(image),
    "width": WIDTH,
    "height": HEIGHT,
    "text": f"An image of {CAPTION}",
    "finished": True,
    "phrases": [
      {
        "text": "a red circle",
        "span": [12, 24],
        "boxes": [
          {
            "xyxy": [0.125, 0.125, 0.625, 0.625],
            "pixels": [37.5, 25.0, 187.5, 125.0],
          }
        ],
      },
      {
        "text": "a square",
        "span": [33, 41],
        "boxes": [
          {
            "xyxy": [0.625, 0.375, 0.875, 0.875],
            "pixels": [187.5, 75.0, 262.5, 175.0],
          }
        ],
      },
    ],
  }


def test_prompts_and_flags_reach_the_model(taught, image, capsys):
  assert run(image=image, detailed=True, dtype="bfloat16", seed=3) == 0
  assert run(image=image, prompt="<grounding>a", temperature=0.5, top_k=4) == 0
  assert run(image=image, prompt="", top_p=0.5, max_new_tokens=9) == 0
  capsys.readouterr()
  assert [(prompt, options) for prompt, _, options in taught.asked] == [
    ("<grounding>Describe this image in detail:", {"seed": 3}),
    ("<grounding>a", {"temperature": 0.5, "top_k": 4}),
    ("", {"top_p": 0.5, "max_new_tokens": 9}),
  ]
  assert [dtype for _, dtype in taught.opened] == ["bfloat16", None, None]


def test_an_expression_gives_boxes_best_first(taught, image, tmp_path, capsys):
  taught.boxes = (
    Box((0.0, 0.0, 0.25, 0.5), 0.125),
    Box((0.5, 0.5, 1.0, 1.0), 0.75),
  )
  drawn = tmp_path / "drawn.png"
  assert run(image=image, expression="the red circle", output=drawn) == 0
  found = printed(capsys)
  assert found["expression"] == "the red circle"
  assert found["boxes"] == [
    {"xyxy": [0.5, 0.5, 1, 1], "pixels": [150, 100, 300, 200], "score": 0.75},
    {"xyxy": [0, 0, 0.25, 0.5], "pixels": [0, 0, 75, 100], "score": 0.125},
  ]
  assert [asked[0] for asked in taught.asked] == ["the red circle"]
  assert taught.asked[0][2] == MAX_BOX_TOKENS
  picture = load(drawn)
  # The best in the first colour.
  scale = picture.width / WIDTH
  half = (round(145 * scale), round(95 * scale), picture.width, 400)
  assert count(picture, FIRST, half) > 500
  assert count(picture, SECOND, (0, 0, round(60 * scale), 90)) > 100
  taught.boxes = ()
  assert run(image=image, expression="it", max_new_tokens=3) == 0
  assert printed(capsys)["boxes"] == []
  assert taught.asked[1][2] == 3


def test_a_box_gives_words(taught, image, tmp_path, capsys):
  taught.tokens = TOKENIZER.encode("a red circle")
  drawn = tmp_path / "drawn.jpg"
  assert run(image=image, box="0.5,0.25,1,0.75", output=drawn, seed=1) == 0
  found = printed(capsys)
  assert found["box"] == {
    "xyxy": [0.5, 0.25, 1.0, 0.75],
    "pixels": [150.0, 50.0, 300.0, 150.0],
  }
  assert found["text"] == "a red circle"
  [(prompt, _, options)] = taught.asked
  assert prompt == (
    "<grounding><phrase>It</phrase><object><patch_index_0006>"
    "<patch_index_0015></object> is"
  )
  assert options == {"seed": 1}
  assert load(drawn).format == "JPEG"


def test_a_question_gets_an_answer(taught, image, tmp_path, capsys):
  taught.tokens = TOKENIZER.encode("a star")
  drawn = tmp_path / "drawn.png"
  assert run(image=image, question="What is it?", output=drawn) == 0
  found = printed(capsys)
  assert (found["question"], found["answer"]) == ("What is it?", "a star")
  assert taught.asked[0][0] == "Question: What is it? Answer:"
  assert load(drawn).height > HEIGHT


def test_the_picture_has_boxes_and_labels_in_the_phrases_colours(
  taught, image, tmp_path, capsys
):
  drawn = tmp_path / "drawn.png"
  large = Image.new("RGB", (1600, 1200), (128, 128, 128))
  large.save(image)
  assert run(image=image, output=drawn) == 0
  del taught
  assert printed(capsys)["width"] == 1600
  picture = load(drawn)
  assert picture.width == 1600
  scene, words = (0, 0, 1600, 1200), (0, 1200, 1600, picture.height)
  for color in (FIRST, SECOND):
    # Four sides of a box of some 500 pixels, wider than in a small picture,
    # and a label.
    assert count(picture, color, scene) > 4 * 500 * 3 + 1000
    assert count(picture, color, words) > 100
  # Upper left corners.
  assert picture.getpixel((201, 300)) == FIRST
  assert picture.getpixel((1001, 1000)) == SECOND
  left, top = 200, 150
  assert count(picture, FIRST, (left + 5, top + 5, left + 150, top + 30)) > 1000


def test_files_are_upright_in_numbers_and_drawing(
  taught, tmp_path, capsys, monkeypatch
):
  stored = np.zeros((400, 600, 3), np.uint8)
  stored[:, :300] = (0, 0, 255)  # becomes the upper half
  exif = Image.Exif()
  exif[0x0112] = 6
  path, drawn = tmp_path / "camera.png", tmp_path / "drawn.png"
  Image.fromarray(stored).save(path, exif=exif)
  assert run(image=path, output=drawn) == 0
  found = printed(capsys)
  assert (found["width"], found["height"]) == (400, 600)
  pixels = found["phrases"][0]["boxes"][0]["pixels"]
  assert pixels == [50.0, 75.0, 250.0, 375.0]
  [(_, picture, _)] = taught.asked
  assert picture.size == (400, 600)
  assert picture.getpixel((390, 10)) == (0, 0, 255)
  assert picture.getpixel((10, 590)) == (0, 0, 0)
  assert load(drawn).width == 400
  assert load(drawn).getpixel((390, 10)) == (0, 0, 255)


def test_nothing_is_written_but_where_output_says(taught, image, capsys):
  before = sorted(image.parent.iterdir())
  assert run(image=image) == 0
  assert printed(capsys)["text"]
  assert sorted(image.parent.iterdir()) == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_mistake_and_no_json(
  taught, image, capsys, value
):
  taught.log_prob = value
  taught.boxes = (Box((0, 0, 1, 1), abs(value)),)
  for task in ({}, {"expression": "it"}, {"question": "?"}, {"box": "0,0,1,1"}):
    assert run(image=image, **task) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "probabilities are not numbers" in err


@pytest.mark.parametrize(
  ("named", "words"),
  [
    ({"prompt": "a", "box": "0,0,1,1"}, "got --prompt and --box."),
    ({"expression": "a", "question": "b"}, "got --expression and --question"),
    ({"prompt": "", "detailed": True}, "got --prompt and --detailed"),
    ({"expression": " "}, "--expression is empty"),
    ({"question": ""}, "--question is empty"),
    ({"expression": "a", "top_p": 0.5}, "--expression takes no --top_p"),
    ({"expression": "a", "seed": 0}, "--expression takes no --seed"),
    ({"box": "0,0,1"}, "--box is x1,y1,x2,y2 with"),
    ({"box": "0,0,1,b"}, "got '0,0,1,b'"),
    ({"box": "0.5,0,0.1,1"}, "x1 <= x2"),
    ({"box": "nan,0,1,1"}, "got 'nan,0,1,1'"),
    ({"box": "0,0,1,inf"}, "got '0,0,1,inf'"),
    ({"box": "10,20,100,200"}, "normalised to 0..1"),
    ({"image": "{tmp}/none.png"}, "there is no image file"),
    ({"image": "{tmp}"}, "it is a folder"),
    ({"output": "{tmp}/none/a.png"}, "/none' for --output; make it first"),
    ({"output": "{tmp}/a.txt"}, "no colour picture with the suffix '.txt'"),
    ({"output": "{tmp}/a"}, "with the suffix ''"),
    ({"output": "{tmp}/a.xbm"}, "with the suffix '.xbm'"),
    ({"output": "{tmp}/a.hdf"}, "with the suffix '.hdf'"),
    ({"output": "{tmp}"}, "is a folder; name a picture in it"),
    ({"output": "{tmp}/scene.png"}, "--output is --image"),
    ({"max_new_tokens": 0}, "max_new_tokens"),
    ({"dtype": "int8"}, "dtype"),
    ({"top_q": 1}, "top_q"),
  ],
)
def test_mistakes_are_one_sentence(
  taught, image, tmp_path, capsys, named, words
):
  named = {"image": str(image)} | named
  named = {
    key: value.format(tmp=tmp_path) if isinstance(value, str) else value
    for key, value in named.items()
  }
  before = image.read_bytes()
  assert run(**named) == 2
  out, err = capsys.readouterr()
  assert not out
  assert words in err
  assert err.count("\n") == 1
  assert not taught.asked
  assert image.read_bytes() == before
  assert [path.name for path in tmp_path.iterdir()] == ["scene.png"]


def test_traceback_shows_where(taught, image):
  arguments = ["--checkpoint=a", f"--image={image}", "--question="]
  with pytest.raises(ValueError, match="is empty"):
    ground.main(["ground", *arguments, "--traceback"])
  assert not taught.asked


def test_no_checkpoint_is_one_sentence(image, capsys):
  assert run(image=image) == 2
  err = capsys.readouterr().err
  assert "there is no 'here'" in err
  assert err.count("\n") == 1


@pytest.mark.slow
def test_a_real_checkpoint_without_tensorflow_and_torch(tmp_path):
  sizes = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}
  _, params = random_params(sizes)
  folder = tmp_path / "run"
  workdir.describe_run(folder, None, sizes, "float32", TOKENIZER.model_bytes)
  saved_params.save(folder, params, step=7)
  noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
  Image.fromarray(noise).save(tmp_path / "scene.png")
  script = """
import sys
from kosmos2_jax.tools import ground
folder, image, drawn = sys.argv[1:]
shared = ["ground", f"--checkpoint={folder}", f"--image={image}"]
shared += ["--max_new_tokens=6", f"--output={drawn}"]
for task in ("--prompt=a", "--expression=it"):
  assert ground.main([*shared, task]) == 0
  print("---")
heavy = {"tensorflow", "torch", "ml_collections"} & set(sys.modules)
assert not heavy, heavy
"""
  drawn = tmp_path / "drawn.png"
  done = subprocess.run(
    [sys.executable, "-c", script, folder, tmp_path / "scene.png", drawn],
    check=True,
    capture_output=True,
    text=True,
    timeout=300,
  )
  found = [json.loads(text) for text in done.stdout.split("---")[:-1]]
  assert [entry["width"] for entry in found] == [60] * 2
  assert found[0]["text"].startswith("a")
  for entry in found[1]["boxes"]:
    assert 0 < entry["score"] <= 1
  assert load(drawn).width >= 60

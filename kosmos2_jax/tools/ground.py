r"""Asks a checkpoint about one picture: JSON on stdout, and a drawing.

  python -m kosmos2_jax.tools.ground --checkpoint=runs/shapes \
      --image=scene.png --output=drawn.png
  python -m kosmos2_jax.tools.ground --checkpoint=runs/shapes \
      --image=scene.png --expression="the red circle"

At most one of --prompt, --expression, --box, --question and --detailed says
what is asked; without any it is a caption with boxes. The picture is turned
upright where its EXIF orientation says so; `width`, `height`, `xyxy`
(normalised to 0..1, origin at the top left) and `pixels` are of the upright
one. A mistake ends with one sentence and status 2.
"""

import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags, logging
from PIL import Image

from kosmos2_jax import visualize
from kosmos2_jax.generation import pictures
from kosmos2_jax.predictor import MAX_BOX_TOKENS, Predictor
from kosmos2_jax.text import markup, prompts
from kosmos2_jax.text.grounded import (
  Box,
  GroundedText,
  Phrase,
  box_entry,
  phrase_entries,
)

TASKS = ("prompt", "expression", "box", "question", "detailed")
SAMPLING = ("temperature", "top_k", "top_p", "seed")

# What was found as JSON, and what `visualize.draw_grounding` draws of it.
Found = tuple[dict[str, Any], dict[str, Any]]


def caption(
  predictor: Predictor, picture: Image.Image, prompt: str, options: dict
) -> Found:
  """Continues a prompt; prompt and answer with the boxes of their phrases.

  Args:
    predictor: whom to ask.
    picture: about what.
    prompt: see `Predictor.ground`.
    options: of `Predictor.generate`.

  Raises:
    ValueError: see `Predictor.generate`; or if the model computes no numbers.
  """
  grounded, finished = _say(predictor, picture, prompt, options, whole=True)
  phrases = phrase_entries(grounded, picture.width, picture.height)
  found = {"text": grounded.text, "finished": finished, "phrases": phrases}
  return found, {"predicted": grounded, "lines": [grounded.text]}


def locate(
  predictor: Predictor,
  picture: Image.Image,
  expression: str,
  max_new_tokens: int = MAX_BOX_TOKENS,
) -> Found:
  """The boxes of what an expression describes, best first.

  Raises:
    ValueError: see `Predictor.locate`; or if the model computes no numbers.
  """
  [boxes] = predictor.locate_batch(
    [picture], [expression], max_new_tokens=max_new_tokens
  )
  _check_numbers([box.score for box in boxes])
  boxes = sorted(boxes, key=lambda box: -box.score)
  found = {
    "expression": expression,
    "boxes": [_entry(box, picture) for box in boxes],
  }
  labels = [f"{expression} {box.score:.2f}" for box in boxes]
  predicted = [
    Phrase(label, (0, 0), (box,))
    for label, box in zip(labels, boxes, strict=True)
  ]
  lines = [expression if boxes else f"{expression}: no box"]
  return found, {"predicted": predicted, "lines": lines}


def describe(
  predictor: Predictor,
  picture: Image.Image,
  box_xyxy: Sequence[float],
  options: dict,
) -> Found:
  """Words for what is in a box.

  Raises:
    ValueError: see `Predictor.describe`; or if the model computes no numbers.
  """
  prompt = prompts.describe(box_xyxy, predictor.tokenizer.vocab.num_bins)
  answer, finished = _say(predictor, picture, prompt, options)
  box = Box(box_xyxy)
  found = {"box": _entry(box, picture), "text": answer.text}
  drawn = {
    "predicted": [Phrase("", (0, 0), (box,))],
    "lines": [[(answer.text, visualize.COLORS[0])]],
  }
  return found | {"finished": finished}, drawn


def ask(
  predictor: Predictor, picture: Image.Image, question: str, options: dict
) -> Found:
  """The answer to a question about the picture.

  Raises:
    ValueError: see `Predictor.answer`; or if the model computes no numbers.
  """
  prompt = prompts.question(question)
  answer, finished = _say(predictor, picture, prompt, options)
  found = {"question": question, "answer": answer.text, "finished": finished}
  lines = [[(question, visualize.GRAY)], [(answer.text, visualize.BLACK)]]
  return found, {"lines": lines}


def _say(
  predictor: Predictor,
  picture: Image.Image,
  prompt: str,
  options: dict,
  whole: bool = False,
) -> tuple[GroundedText, bool]:
  """The answer, on request after its prompt, and whether it came to its end."""
  [answer] = predictor.generate([prompt], [picture], **options)
  _check_numbers(answer.log_probs)
  start = predictor.tokenizer.encode(prompt) if whole else []
  grounded = markup.parse([*start, *answer.tokens], predictor.tokenizer)
  return grounded, answer.finished


def _check_numbers(values: Sequence[float]) -> None:
  if not all(map(math.isfinite, values)):
    raise ValueError(
      "the model's probabilities are not numbers; its weights hold NaN or"
      " infinities, or are too large for --dtype (try float32)."
    )


def _entry(box: Box, picture: Image.Image) -> dict[str, Any]:
  return box_entry(box, picture.width, picture.height)


def _parse_box(text: str) -> tuple[float, ...]:
  try:
    box = tuple(float(value) for value in text.split(","))
  except ValueError:
    box = ()
  ordered = len(box) == 4 and box[0] <= box[2] and box[1] <= box[3]
  if not ordered or not all(map(math.isfinite, box)):
    raise ValueError(
      "--box is x1,y1,x2,y2 with x1 <= x2 and y1 <= y2, normalised to 0..1;"
      f" got {text!r}."
    )
  return box


def _check_output(output: Path, image: Path) -> None:
  """Refuses what could not be written, before the model is loaded."""
  if not output.parent.is_dir():
    raise FileNotFoundError(
      f"there is no folder {str(output.parent)!r} for --output; make it first."
    )
  if output.is_dir():
    raise ValueError(f"--output={output} is a folder; name a picture in it.")
  if output.exists() and output.samefile(image):
    raise ValueError("--output is --image; give it another name.")
  form = Image.registered_extensions().get(output.suffix.lower())
  try:
    # Pillow lists formats that need other programs, or cannot hold colours.
    Image.new("RGB", (4, 4)).save(io.BytesIO(), form)
  except (OSError, KeyError, ValueError, AttributeError) as error:
    raise ValueError(
      f"--output={output}: Pillow writes no colour picture with the suffix"
      f" {output.suffix!r}; use .png or .jpg."
    ) from error


def _define_flags() -> flags.FlagValues:
  read = flags.FlagValues()
  named = {"flag_values": read}
  text, number = flags.DEFINE_string, flags.DEFINE_float
  text("checkpoint", None, "As `Predictor` opens.", required=True, **named)
  text("image", None, "Picture to ask about.", required=True, **named)
  text("output", None, "Picture to write.", **named)
  text("prompt", None, "Text to continue.", **named)
  text("expression", None, "Finds what it describes.", **named)
  text("box", None, "x1,y1,x2,y2 (0..1): says what is there.", **named)
  text("question", None, "Answers it.", **named)
  flags.DEFINE_bool("detailed", None, "A long caption with boxes.", **named)
  flags.DEFINE_integer(
    "max_new_tokens", None, "Cuts the answer.", lower_bound=1, **named
  )
  number("temperature", None, "0: most probable; above: drawn.", **named)
  number("top_p", None, "Draws from this mass.", **named)
  flags.DEFINE_integer("top_k", None, "Draws from so many.", **named)
  flags.DEFINE_integer("seed", None, "Of what is drawn.", **named)
  flags.DEFINE_enum(
    "dtype", None, ("float32", "bfloat16"), "Computes with it.", **named
  )
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", **named)
  return read


def _check_tasks(read: flags.FlagValues) -> None:
  given = [name for name in TASKS if read[name].value not in (None, False)]
  if len(given) > 1:
    raise ValueError(
      f"give at most one of {', '.join(f'--{name}' for name in TASKS)}; got"
      f" {' and '.join(f'--{name}' for name in given)}."
    )
  for name in ("expression", "question"):
    if name in given and not read[name].value.strip():
      raise ValueError(f"--{name} is empty.")
  drawn = [name for name in SAMPLING if read[name].value is not None]
  if given == ["expression"] and drawn:
    raise ValueError(
      f"--expression takes no --{drawn[0]}: its boxes are the most probable."
    )


def run(read: flags.FlagValues) -> dict[str, Any]:
  """Does what the flags say; returns what is printed.

  Raises:
    FileNotFoundError, ImportError, TypeError, ValueError: for flags that
      contradict each other, a picture that cannot be read or written, or a
      checkpoint that cannot be opened.
  """
  _check_tasks(read)
  box = _parse_box(read.box) if read.box is not None else None
  picture = pictures.read_image(read.image)
  if read.output is not None:
    _check_output(Path(read.output), Path(read.image))
  options = {
    name: read[name].value
    for name in ("max_new_tokens", *SAMPLING)
    if read[name].value is not None
  }
  predictor = Predictor.from_pretrained(read.checkpoint, dtype=read.dtype)
  if read.expression is not None:
    found, drawn = locate(predictor, picture, read.expression, **options)
  elif box is not None:
    found, drawn = describe(predictor, picture, box, options)
  elif read.question is not None:
    found, drawn = ask(predictor, picture, read.question, options)
  else:
    prompt = read.prompt
    if prompt is None:
      prompt = prompts.grounded_caption(detailed=bool(read.detailed))
    found, drawn = caption(predictor, picture, prompt, options)
  if read.output is not None:
    visualize.draw_grounding(picture, **drawn, full_size=True).save(read.output)
  size = {"width": picture.width, "height": picture.height}
  return {"image": read.image, **size, **found}


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = _define_flags()
  try:
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help")
    found = run(read)
  except (flags.Error, ImportError, OSError, ValueError) as error:
    if "--traceback" in argv:
      raise
    print(f"ground: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
  # ASCII alone: any terminal and any file name can be printed.
  print(json.dumps(found, indent=2, allow_nan=False))
  return 0


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  sys.exit(main(sys.argv))

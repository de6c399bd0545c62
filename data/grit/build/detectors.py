"""Grounds phrases with the zero-shot detectors of `transformers`.

Grounding DINO (and MM Grounding DINO), OWL-ViT, OWLv2 and OMDet-Turbo, by the
name or the folder of a checkpoint. Nothing is ever downloaded: a checkpoint is
a folder, or it is in Hugging Face's cache already.

Pictures and texts are prepared by the checkpoint's own image processor (that of
Pillow and numpy, so that torchvision changes nothing) and tokenizer; how the
detectors are asked is in `families`, whose box is whose in `alignment`.
"""

import hashlib
import importlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from data.grit.build import alignment, families
from data.grit.build.grounding import Found, Request, ScoredBox

TOKEN_SCORES = ("max", "mean")


class _Job(NamedTuple):
  """Texts to find in a picture, and the spans their boxes go to."""

  request: int
  texts: list[str]
  places: list[int]


class DetectorGrounder:
  """A `Grounder`: a zero-shot detector of `transformers`, in float32.

  Words that a caption repeats are asked once, and their boxes go to the first
  of their spans: as many boxes of the same things for the others would be
  suppressed anyway. Pictures run together if they have the same size once
  they are prepared, so that nothing is padded and what is found in a picture
  does not depend on what is asked beside it, rounding aside. A phrase that
  has more tokens than the detector takes, or none, gets no box.

  Attributes:
    batch_size: requests that are asked at once.
    identity: kind, name, hash of weights and preparation, and the options.
    num_not_asked: phrases so far that got no box because they do not fit.
  """

  def __init__(
    self,
    model: str,
    batch_size: int = 8,
    threshold: float = 0.1,
    token_score: str = "max",
    device: str = "cpu",
  ):
    """Opens the checkpoint.

    Args:
      model: name on Hugging Face's hub, or a folder.
      batch_size: see the attributes.
      threshold: boxes with this score or less are not told.
      token_score: Grounding DINO's score of a phrase; see
        `alignment.phrase_scores`.
      device: of torch, where it runs.

    Raises:
      FileNotFoundError: the checkpoint, or a part of it, is not here.
      ModuleNotFoundError: torch or transformers is not installed.
      ValueError: it is no such detector, or an option is out of range.
    """
    if batch_size < 1 or not 0 <= threshold <= 1:
      raise ValueError(
        "batch_size is 1 or more and threshold in 0..1; got"
        f" batch_size={batch_size} and threshold={threshold}."
      )
    if token_score not in TOKEN_SCORES:
      raise ValueError(
        f"token_score is one of {list(TOKEN_SCORES)}; got {token_score!r}."
      )
    self.batch_size = batch_size
    self.num_not_asked = 0
    self._threshold = threshold
    detector, self._prepare, tokenizer = _load(model, device)
    family = families.FAMILIES[detector.config.model_type]
    self._family = family(detector, tokenizer, token_score)
    self.identity: dict[str, str | int | float | bool] = {
      "kind": "transformers",
      "model": model.rstrip("/").rsplit("/", 1)[-1],
      "hash": _hash(detector, self._prepare),
      "threshold": threshold,
      "token_score": token_score,
    }

  def ground(self, requests: Sequence[Request]) -> Found:
    """See `Grounder`; the boxes of a phrase are told best first."""
    found: Found = [[[] for _ in request.spans] for request in requests]
    jobs = [
      job
      for i, request in enumerate(requests)
      for job in self._jobs(i, request)
    ]
    pixels = {i: self._pixels(requests[i].image) for i, *_ in jobs}
    sizes: dict[tuple[int, ...], list[_Job]] = {}
    for job in jobs:
      sizes.setdefault(tuple(pixels[job.request].shape), []).append(job)
    for same in sizes.values():
      for start in range(0, len(same), self.batch_size):
        some = same[start : start + self.batch_size]
        answers = self._ask(pixels, some)
        for job, answer in zip(some, answers, strict=True):
          boxes = self._boxes(answer, requests[job.request])
          for place, own in zip(job.places, boxes, strict=True):
            found[job.request][place] = own
    return found

  def _jobs(self, number: int, request: Request) -> Iterator[_Job]:
    family = self._family
    texts = [alignment.plain(p, family.forbidden) for p in request.phrases]
    fit = {text: bool(text) and family.fits(text) for text in set(texts)}
    for phrase, text in zip(request.phrases, texts, strict=True):
      if not fit[text]:
        self._pass_over(request, phrase)
    places = alignment.first_places(text if fit[text] else "" for text in texts)
    if not places:
      return
    asked = list(places)
    for group in family.groups(asked):
      own = [asked[i] for i in group]
      yield _Job(number, own, [places[text] for text in own])

  def _pass_over(self, request: Request, phrase: str) -> None:
    if not self.num_not_asked:
      logging.getLogger(__name__).warning(
        "%r of the pair %r has too many tokens for the detector, or none, and"
        " gets no box; others like it are only counted",
        phrase[:80],
        request.id,
      )
    self.num_not_asked += 1

  def _pixels(self, image: np.ndarray) -> Any:
    prepared = self._prepare(
      images=[image], input_data_format="channels_last", return_tensors="pt"
    )
    return prepared["pixel_values"][0]

  def _ask(
    self, pixels: dict[int, Any], jobs: Sequence[_Job]
  ) -> list[families.Answer]:
    torch = importlib.import_module("torch")
    together = torch.stack([pixels[job.request] for job in jobs])
    device = self._family.model.device
    with torch.inference_mode():
      return self._family.ask(together.to(device), [job.texts for job in jobs])

  def _boxes(
    self, answer: families.Answer, request: Request
  ) -> list[list[ScoredBox]]:
    height, width = request.image.shape[:2]
    scale_xy = self._family.scale_xy(width, height)
    boxes = alignment.corners(answer.boxes_cxcywh, scale_xy)
    return alignment.assign(answer.scores, boxes, self._threshold)


def _load(model: str, device: str) -> tuple[Any, Any, Any]:
  """The detector, its image processor and its tokenizer."""
  local = {"local_files_only": True}
  try:
    torch = importlib.import_module("torch")
    library = importlib.import_module("transformers")
    kind = _kind_of(library, model)
    if kind not in families.FAMILIES:
      raise ValueError(
        f"the model {model!r} is a {kind!r}, no detector that is known here;"
        f" give one of the kinds {sorted(families.FAMILIES)}."
      )
    prepare = library.AutoImageProcessor.from_pretrained(
      model, backend="pil", **local
    )
    tokenizer = library.AutoTokenizer.from_pretrained(model, **local)
    detector = library.AutoModelForZeroShotObjectDetection.from_pretrained(
      model, dtype=torch.float32, **local
    )
  except ImportError as error:
    # Some checkpoints ask for more: OMDet-Turbo's backbone is one of timm.
    needed = error.name or " ".join(str(error).split())
    raise ModuleNotFoundError(
      f"the detector {model!r} needs a library that is not installed here"
      f" ({needed}); pip install torch transformers, and what else it names."
    ) from error
  except OSError as error:
    raise FileNotFoundError(
      f"the detector {model!r}, or a part of it, is neither a folder nor in"
      " Hugging Face's cache, and nothing is downloaded here; fetch it first:"
      f" hf download {model}"
    ) from error
  return detector.eval().to(device), prepare, tokenizer


def _kind_of(library: Any, model: str) -> str:
  """The `model_type` of a checkpoint; "" if the library knows none."""
  try:
    config = library.AutoConfig.from_pretrained(model, local_files_only=True)
  except ValueError:
    return ""
  return config.model_type


def _hash(detector: Any, prepare: Any) -> str:
  """16 hexadecimal digits of the weights and of how pictures are prepared."""
  digest = hashlib.blake2b(prepare.to_json_string().encode(), digest_size=8)
  for name, tensor in sorted(detector.state_dict().items()):
    digest.update(f"{name} {list(tensor.shape)} ".encode())
    digest.update(np.ascontiguousarray(tensor.cpu().numpy()))
  return digest.hexdigest()

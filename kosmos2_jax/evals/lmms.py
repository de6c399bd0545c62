"""lmms-eval with a predictor as its model; a thin adapter.

    python -m kosmos2_jax.tools.lmms_eval --tasks pope \
        --model_args "pretrained=runs/mine,template=Question: {context} Answer:"

lmms-eval is not among the extras of this project: its many dependencies are
pinned. It is imported when a model is made and not before.

Three of its tasks are not what their names say. `refcoco_bbox_*` are captions
of regions; referring expressions are `refcoco_bbox_rec_*`, whose val has one
question for each of 23,962 expressions (10,834 in the usual split), asks for
numbers in words, and reads four numbers in brackets, which this model does not
write: its boxes are tokens, and `evals.rec` asks for them. `flickr30k_test` is
all 31,783 pictures, not the 1,000 of the usual test. And `pope` counts an
answer only if it is exactly yes or no.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from kosmos2_jax.evals import adapting
from kosmos2_jax.predictor import Predictor

MODEL = "kosmos2_jax"  # its name in lmms-eval
CLASS = "Kosmos2Lmms"
# Options of tasks that say how pictures are cut; here they are squashed.
_OF_PICTURES = {"image_aspect_ratio"}


def __getattr__(name: str) -> Any:
  """lmms-eval finds the class by its name in this module."""
  if name == CLASS:
    return model_class()
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register() -> None:
  """Makes lmms-eval know `--model kosmos2_jax`.

  Raises:
    ModuleNotFoundError: if it is not installed.
  """
  _library()
  from lmms_eval.models import MODEL_REGISTRY_V2
  from lmms_eval.models.registry_v2 import ModelManifest

  MODEL_REGISTRY_V2.register_manifest(
    ModelManifest(model_id=MODEL, simple_class_path=f"{__name__}.{CLASS}"),
    overwrite=True,
  )


@functools.cache
def model_class() -> type:
  """Returns the class that lmms-eval makes its model from.

  Its arguments are those of `--model_args`: `pretrained` (what
  `Predictor.from_pretrained` opens), `dtype`, `use_ema`, and

    template: what a task's text becomes, such as
      `Question: {context} Answer:`, the paper's prompt of questions.

  Raises:
    ModuleNotFoundError: if lmms-eval is not installed.
  """
  base = _library()

  class Kosmos2Lmms(base):
    """See `model_class`."""

    is_simple = True

    def __init__(
      self,
      pretrained: str | None = None,
      *,
      predictor: Any = None,
      template: str = "{context}",
      dtype: str | None = None,
      use_ema: bool = True,
      batch_size: int | str = 16,
      device: str | None = None,
      max_batch_size: int | None = None,
    ):
      """Opens a checkpoint, or takes a predictor.

      Raises:
        ValueError: if there is neither or both, or for a template without
          `{context}`.
        FileNotFoundError, ModuleNotFoundError, ValueError: see
          `Predictor.from_pretrained`.
      """
      super().__init__()
      del device, max_batch_size  # jax chooses, and there is no search
      if (pretrained is None) == (predictor is None):
        raise ValueError(
          "give the checkpoint, --model_args pretrained=PATH, or a predictor."
        )
      if "{context}" not in template:
        raise ValueError(
          f"the template {template!r} has no place for the task's text; write"
          " {context} into it."
        )
      self.predictor = predictor or Predictor.from_pretrained(
        str(pretrained),
        dtype=dtype,
        use_ema=use_ema,
        batch_size=int(batch_size),
      )
      self.template = template

    def loglikelihood(
      self, requests: Sequence[Any]
    ) -> list[tuple[float, bool]]:
      """Log-probability of each target, and whether it is the greedy one."""
      pairs, images = [], []
      for context, target, visual, doc_id, task, split in _arguments(requests):
        doc = self.task_dict[task][split][doc_id]
        tokens = adapting.encode_pair(
          self.predictor.tokenizer.encode,
          self._prompt(context),
          target if isinstance(target, str) else target(doc),
        )
        pairs.append(tokens)
        images.append(_pictures(visual, doc))
      return adapting.score(self.predictor, pairs, images)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
      """Continues contexts, see `adapting.generate`."""
      prompts, wishes, images = [], [], []
      for context, options, visual, doc_id, task, split in _arguments(requests):
        prompts.append(self._prompt(context))
        wishes.append(
          {key: options[key] for key in options if key not in _OF_PICTURES}
        )
        images.append(_pictures(visual, self.task_dict[task][split][doc_id]))
      return adapting.generate(self.predictor, prompts, wishes, images)

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
      """Not done: the model was trained on single rounds."""
      raise NotImplementedError(
        "kosmos2_jax answers tasks of one round; choose another task."
      )

    def _prompt(self, context: str) -> str:
      return self.template.replace("{context}", context)

  return Kosmos2Lmms


def _library() -> type:
  """Returns the base class of lmms-eval's models.

  Raises:
    ModuleNotFoundError: if lmms-eval is not installed.
  """
  try:
    from lmms_eval.api.model import lmms
  except ModuleNotFoundError as error:
    if error.name is None or error.name.split(".")[0] != "lmms_eval":
      raise
    raise ModuleNotFoundError(
      "the package lmms_eval is not installed: pip install lmms_eval, best"
      " into an environment of its own."
    ) from error
  return lmms


def _arguments(requests: Sequence[Any]) -> list[tuple[Any, ...]]:
  return [request.args for request in requests]


def _pictures(visual: Callable[[Any], Any] | None, doc: Any) -> list[Any]:
  """A document's pictures in order; none for text alone.

  Raises:
    ValueError: for a video or a sound.
  """
  pictures = list((visual and visual(doc)) or [])
  for picture in pictures:
    if not hasattr(picture, "convert"):
      raise ValueError(
        "kosmos2_jax looks at pictures; a document of the task has"
        f" {type(picture).__name__!r}: choose another task."
      )
  return pictures

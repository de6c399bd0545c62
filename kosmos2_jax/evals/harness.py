"""lm-evaluation-harness with a predictor as its model.

    model = harness.adapt(predictor)
    lm_eval.simple_evaluate(model=model, tasks=["hellaswag"])

or, on the command line, `python -m kosmos2_jax.tools.lm_eval`. Texts become
tokens as in the harness's own adapter for Hugging Face: context and
continuation are encoded in one, spaces that end the context begin the
continuation, and a context without text is `<s>` alone. Every row begins with
`<s>`, as those of the text stream did in training.

The harness is an extra; it is imported when a model is made and not before.
"""

import contextlib
import functools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from kosmos2_jax.evals import adapting
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.vocab import BOS, LINE

MODEL = "kosmos2_jax"  # its name in the harness

_LINES = re.compile(r"\s*\n\s*")


def library() -> Any:
  """Returns the package `lm_eval`.

  Raises:
    ModuleNotFoundError: if it is not installed.
  """
  try:
    import lm_eval
  except ModuleNotFoundError as error:
    if error.name != "lm_eval":
      raise
    raise ModuleNotFoundError(
      "the language tasks need the package lm_eval, which is not installed:"
      " pip install 'kosmos2_jax[eval]'."
    ) from error
  return lm_eval


def adapt(predictor: Any, *, lines: bool = False) -> Any:
  """Returns the harness's `LM` that asks a predictor.

  Args:
    predictor: a `Predictor`, or anything with `tokenizer` and its `score`;
      tasks that generate need `generate`, too.
    lines: see `model_class`.

  Raises:
    ModuleNotFoundError: see `library`.
  """
  return model_class()(predictor=predictor, lines=lines)


def register() -> None:
  """Makes the harness know `--model kosmos2_jax`.

  Raises:
    ModuleNotFoundError: see `library`.
  """
  library()
  from lm_eval.api.registry import model_registry, register_model

  if MODEL not in model_registry:
    register_model(MODEL)(model_class())


def load_task(definition: str | os.PathLike) -> Any:
  """Returns the harness's `Task` that a YAML file defines.

  Raises:
    ModuleNotFoundError: see `library`.
  """
  library()
  from lm_eval.tasks import TaskManager

  manager = TaskManager(include_defaults=False)
  with offline():
    [task] = manager.load(str(definition))["tasks"].values()
  return task


@contextlib.contextmanager
def offline() -> Iterator[None]:
  """Within, the harness's libraries ask no server and show no bars."""
  library()
  import datasets
  from huggingface_hub import constants

  log = logging.getLogger("lm_eval")
  modules = (datasets.config, constants)
  before = [module.HF_HUB_OFFLINE for module in modules]
  level, bars = log.level, datasets.is_progress_bar_enabled()
  try:
    for module in modules:
      module.HF_HUB_OFFLINE = True
    # It is told that definitions name no way to add up; ours are theirs.
    log.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    yield
  finally:
    for module, value in zip(modules, before, strict=True):
      module.HF_HUB_OFFLINE = value
    log.setLevel(level)
    if bars:
      datasets.enable_progress_bars()


@functools.cache
def model_class() -> type:
  """Returns the class that the harness makes its model from.

  Its arguments are those of `--model_args`: `pretrained` (what
  `Predictor.from_pretrained` opens), `dtype`, `use_ema`, and

    lines: line breaks become `</line>`, as in the text that the model was
      trained on. If not, they are spaces: so the tokenizer reads them, and
      the harness's adapter for Hugging Face with it.

  Raises:
    ModuleNotFoundError: see `library`.
  """
  library()
  from lm_eval.api.model import TemplateLM
  from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
  from tqdm import tqdm

  class Kosmos2LM(TemplateLM):
    """See `model_class`.

    Attributes:
      predictor: that is asked.
      cut: for (context, continuation) that were too long, how many tokens of
        the context's beginning were left out.
    """

    def __init__(
      self,
      pretrained: str | None = None,
      *,
      predictor: Any = None,
      lines: bool = False,
      dtype: str | None = None,
      use_ema: bool = True,
      batch_size: int | str | None = None,
      max_batch_size: int | None = None,
      device: str | None = None,
    ):
      """Opens a checkpoint, or takes a predictor.

      Raises:
        ValueError: if there is neither or both.
        FileNotFoundError, ModuleNotFoundError, ValueError: see
          `Predictor.from_pretrained`.
      """
      super().__init__()
      # The harness names a GPU by default and searches for a size; jax knows
      # its devices, and the size is given.
      del device, max_batch_size
      if (pretrained is None) == (predictor is None):
        raise ValueError(
          "give the checkpoint, --model_args pretrained=PATH, or a predictor."
        )
      if predictor is None:
        options = {"dtype": dtype, "use_ema": use_ema}
        if batch_size not in (None, "auto"):
          options["batch_size"] = int(batch_size)
        predictor = Predictor.from_pretrained(str(pretrained), **options)
      self.predictor = predictor
      self.lines = lines
      self.cut: dict[tuple[str, str], int] = {}

    @property
    def max_length(self) -> int:
      """Longest row in tokens, `<s>` included."""
      return adapting.max_length(self.predictor)

    @property
    def eot_token_id(self) -> int:
      return self.predictor.tokenizer.vocab.eos_id

    @property
    def prefix_token_id(self) -> int:
      return self.predictor.tokenizer.vocab.bos_id

    def tok_encode(
      self, string: str, add_special_tokens: bool | None = None, **kwargs
    ) -> list[int]:
      """Ids of a text; `<s>` first, unless `add_special_tokens` is False."""
      del kwargs
      if self.lines:
        string = _LINES.sub(LINE, string)
      ids = self.predictor.tokenizer.encode(string.removeprefix(BOS))
      return (
        ids if add_special_tokens is False else [self.prefix_token_id, *ids]
      )

    def _loglikelihood_tokens(
      self,
      requests: Sequence[tuple[Any, list[int], list[int]]],
      disable_tqdm: bool = False,
      **kwargs,
    ) -> list[tuple[float, bool]]:
      del kwargs
      pairs = []
      for texts, context, continuation in requests:
        room = self.max_length - 1 - len(continuation)
        if not continuation or room < 0:
          raise ValueError(
            f"the continuation {_short(texts)} has {len(continuation)} tokens;"
            f" it must have from 1 to {self.max_length - 1}."
          )
        context = context[1:]  # `score` puts `<s>` in front
        if len(context) > room:
          self.cut[texts] = len(context) - room
          context = context[len(context) - room :]
        pairs.append((context, continuation))
      with tqdm(total=len(pairs), disable=disable_tqdm) as bar:
        answers = adapting.score(self.predictor, pairs, on_rows=bar.update)
      for (texts, *_), answer in zip(requests, answers, strict=True):
        if texts is not None:
          self.cache_hook.add_partial("loglikelihood", texts, answer)
      return answers

    def loglikelihood_rolling(
      self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
      """Log-probability of whole texts, each by itself, from `<s>` on.

      A long one goes through in windows: all tokens are predicted once, and
      each window but the first has one token of context behind its `<s>`, the
      last as many as there is room for.
      """
      windows, owners = [], []
      for index, request in enumerate(requests):
        found = get_rolling_token_windows(
          token_list=self.tok_encode(request.args[0], add_special_tokens=False),
          prefix_token=self.prefix_token_id,
          # Room for `<s>` and for the last token, which is not read.
          max_seq_len=self.max_length - 2,
          context_len=1,
        )
        for number, (context, tokens) in enumerate(
          map(make_disjoint_window, found)
        ):
          # The first begins with the prefix, which is `<s>`, by itself.
          prefix = [self.prefix_token_id] if number else []
          windows.append((None, [*prefix, *context], tokens))
          owners.append(index)
      totals = [0.0] * len(requests)
      answers = self._loglikelihood_tokens(windows, disable_tqdm)
      for index, (log_prob, _) in zip(owners, answers, strict=True):
        totals[index] += log_prob
      for request, total in zip(requests, totals, strict=True):
        self.cache_hook.add_partial(
          "loglikelihood_rolling", request.args, total
        )
      return totals

    def generate_until(
      self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[str]:
      """Continues contexts, see `adapting.generate`."""
      prompts = [
        self.tok_encode(request.args[0], add_special_tokens=False)
        for request in requests
      ]
      options = [request.args[1] for request in requests]
      with tqdm(total=len(prompts), disable=disable_tqdm) as bar:
        answers = adapting.generate(
          self.predictor, prompts, options, on_rows=bar.update
        )
      for request, answer in zip(requests, answers, strict=True):
        self.cache_hook.add_partial("generate_until", request.args, answer)
      return answers

  return Kosmos2LM


def _short(texts: Any) -> str:
  """A request's continuation for messages."""
  return repr(texts if texts is None else texts[-1])[:80]

"""The front door for people who only want to use a checkpoint.

    predictor = Predictor.from_pretrained("runs/shapes")
    predictor.ground(image).phrases
    predictor.locate(image, "the red circle left of the blue square")

Pictures go in as PIL images, uint8 arrays or paths; strings, floats and small
frozen dataclasses come out, never an array of a device. Neither TensorFlow
nor torch is imported.
"""

import dataclasses
import os
from collections.abc import Sequence

import jax

from kosmos2_jax.convert import loading
from kosmos2_jax.generation import placement
from kosmos2_jax.generation.answers import Generation, leading_boxes
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.constraints import BoxGrammar
from kosmos2_jax.generation.engine import Engine
from kosmos2_jax.generation.prompting import ImageLike, Text
from kosmos2_jax.generation.requests import Answer
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.text import markup
from kosmos2_jax.text import prompts as prompt_texts
from kosmos2_jax.text.grounded import Box, GroundedText
from kosmos2_jax.text.vocab import OBJECT

MAX_NEW_TOKENS = 256
MAX_BOX_TOKENS = 32  # room for ten boxes of one expression


class Predictor(Engine):
  """A model with its weights and its tokenizer, ready to be asked.

  What it holds, and `score`, `encode` and `logits`, are those of `Engine`.
  """

  @classmethod
  def from_pretrained(
    cls,
    path: str | os.PathLike,
    *,
    dtype: str | None = None,
    batch_size: int = 16,
    use_ema: bool = True,
    devices: Sequence[jax.Device] | None = None,
  ) -> "Predictor":
    """Reads a checkpoint.

    Args:
      path: a workdir that `train.py` wrote (its newest checkpoint), a folder
        that `tools.convert` wrote, a Hugging Face folder of Kosmos-2, or the
        original's `kosmos-2.pt` with its tokenizer beside it.
      dtype: compute type, "float32" or "bfloat16"; by default a workdir's own,
        else float32.
      batch_size: see the class.
      use_ema: takes a workdir's averaged parameters, where it has them; False
        takes those of the last step.
      devices: of this process; each has the whole model, and they share the
        rows of a batch. None: the first one.

    Raises:
      FileNotFoundError: if there is nothing, or a part of it is missing.
      ModuleNotFoundError: for a `.pt` file where torch is not installed.
      ValueError: if it is no such checkpoint, or the weights are not those of
        the model it describes.
    """
    # Separate layers answer faster on a CPU and compile longer elsewhere.
    on_cpu = jax.default_backend() == "cpu"
    loaded = loading.load(path, dtype, stacked=not on_cpu, use_ema=use_ema)
    placed = placement.DEFAULT
    if devices is not None:
      # More than a batch has rows would compute what nobody asked for.
      placed = placement.over(list(devices)[:batch_size])
    return cls(
      loaded.model,
      placement.spread(loaded.params, placed),
      loaded.tokenizer,
      step=loaded.step,
      no_repeat_ngram_size=loaded.no_repeat_ngram_size,
      batch_size=batch_size,
      placement=placed,
    )

  def generate(
    self,
    prompts: Sequence[Text],
    images: Sequence[ImageLike | Sequence[ImageLike] | None] | None = None,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    min_new_tokens: int = 0,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    no_repeat_ngram_size: int | None = None,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    num_results: int = 1,
    constrain_boxes: bool = False,
    seed: int | Sequence[int] = 0,
  ) -> list[Generation]:
    """Continues prompts, each up to `</s>`.

    Args:
      prompts: any lengths, as text or as ids. Pictures come before the text,
        in order, unless the prompt says where with one `<image>` for each.
      images: for each prompt None, one picture, or a list of them; None if
        no prompt has any.
      max_new_tokens: where an answer is cut off.
      min_new_tokens: `</s>` is forbidden before so many tokens.
      temperature: 0 takes the most probable token each time, else tokens are
        drawn.
      top_k: see `generation.sampling.Options`.
      top_p: see there.
      no_repeat_ngram_size: see there; None is the checkpoint's own default.
      num_beams: above 1, beam search; see `generation.beams.BeamOptions`.
      length_penalty: see there.
      early_stopping: see there.
      num_results: answers for each prompt, at most `num_beams`; those behind
        the best one are its `alternatives`.
      constrain_boxes: every `<object>` holds well-formed boxes.
      seed: one for all prompts, or one for each. An answer depends on its
        own prompt and seed only, not on the batch it is in.

    Raises:
      FileNotFoundError, TypeError: for a picture that cannot be read.
      ValueError: for a picture that cannot be read, a wrong number of
        pictures, a number out of range, or a prompt that leaves no room for
        the answer.
    """
    if no_repeat_ngram_size is None:
      no_repeat_ngram_size = self.no_repeat_ngram_size
    options = Options(
      temperature=temperature,
      top_k=top_k,
      top_p=top_p,
      min_new_tokens=min_new_tokens,
      no_repeat_ngram_size=no_repeat_ngram_size,
      boxes=BoxGrammar(self.tokenizer.vocab) if constrain_boxes else None,
    )
    beam = None
    if num_beams != 1 or num_results != 1:
      beam = BeamOptions(num_beams, length_penalty, early_stopping, num_results)
    eos_id = self.tokenizer.vocab.eos_id
    rows = self._rows(prompts, images, max_new_tokens)
    seeds = [seed] * len(prompts) if isinstance(seed, int) else list(seed)
    if len(seeds) != len(prompts):
      raise ValueError(
        f"there are {len(prompts)} prompts and {len(seeds)} seeds; give one"
        " for all, or one for each."
      )
    answers = []
    for several in self._generate(
      rows, max_new_tokens, eos_id, options, beam, seeds
    ):
      best, *others = [self._read(answer) for answer in several]
      answers.append(dataclasses.replace(best, alternatives=tuple(others)))
    return answers

  def _read(self, answer: Answer) -> Generation:
    tokens, log_probs, score = answer
    finished = bool(tokens) and tokens[-1] == self.tokenizer.vocab.eos_id
    size = len(tokens) - finished
    return Generation(
      self.tokenizer.decode(tokens[:size]),
      tuple(tokens[:size]),
      tuple(log_probs[:size]),
      finished,
      score,
    )

  def ground(
    self,
    image: ImageLike,
    prompt: str = prompt_texts.grounded_caption(),
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
  ) -> GroundedText:
    """Returns prompt and answer as plain text with the boxes of its phrases.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    [text] = self.ground_batch([image], [prompt], max_new_tokens=max_new_tokens)
    return text

  def ground_batch(
    self,
    images: Sequence[ImageLike],
    prompts: Sequence[str],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
  ) -> list[GroundedText]:
    """`ground` for several pictures, each with its own prompt."""
    answers = self.generate(prompts, images, max_new_tokens=max_new_tokens)
    return [
      markup.parse(
        [*self.tokenizer.encode(prompt), *answer.tokens], self.tokenizer
      )
      for prompt, answer in zip(prompts, answers, strict=True)
    ]

  def locate(
    self, image: ImageLike, expression: str, *, constrained: bool = True
  ) -> list[Box]:
    """Returns the boxes of what an expression describes, best first.

    The score of a box is the probability the model gave its two location
    tokens, before any constraint.

    Args:
      image: the picture.
      expression: such as "the man in the red coat".
      constrained: the answer can be nothing but well-formed boxes: a prefill
        and two steps for one box. Else the model writes what it likes, and an
        answer that is no list of boxes gives an empty list.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    [boxes] = self.locate_batch([image], [expression], constrained=constrained)
    return sorted(boxes, key=lambda box: -box.score)

  def locate_batch(
    self,
    images: Sequence[ImageLike],
    expressions: Sequence[str],
    *,
    constrained: bool = True,
    max_new_tokens: int = MAX_BOX_TOKENS,
    as_prompts: bool = False,
    no_repeat_ngram_size: int = 0,
  ) -> list[list[Box]]:
    """`locate` for several pictures; boxes in the order they were written.

    That order is the one the published protocol scores: its first box counts.
    The published protocol is not constrained.

    Args:
      images: one for each expression.
      expressions: see `locate`.
      constrained: see `locate`.
      max_new_tokens: where an answer is cut off; three for each box.
      as_prompts: the expressions are whole prompts, which end with a phrase.
      no_repeat_ngram_size: see `generation.sampling.Options`.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    vocab = self.tokenizer.vocab
    prompts = list(expressions)
    if not as_prompts:
      prompts = [prompt_texts.refer(expression) for expression in prompts]
    boxes = None
    if constrained:
      boxes = BoxGrammar(vocab)
      prompts = [f"{prompt}{OBJECT}" for prompt in prompts]
    options = Options(boxes=boxes, no_repeat_ngram_size=no_repeat_ngram_size)
    # The answer is over where its list of boxes is: nothing after is read.
    answers = self._generate(
      self._rows(prompts, images, max_new_tokens),
      max_new_tokens,
      vocab.object_end_id,
      options,
    )
    found = []
    for [(tokens, log_probs, _)] in answers:
      if constrained:
        tokens, log_probs = [vocab.object_id, *tokens], [0.0, *log_probs]
      found.append(leading_boxes(tokens, log_probs, vocab))
    return found

  def describe(
    self,
    image: ImageLike,
    box_xyxy: Sequence[float],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    rounding: str = "floor",
  ) -> str:
    """Returns words for what is in a box: an expression that refers to it.

    Args:
      image: the picture.
      box_xyxy: `x1, y1, x2, y2`, normalised to 0..1, origin at the top left.
      max_new_tokens: where the answer is cut off.
      rounding: of the lower right corner; see `encode`.

    Raises:
      FileNotFoundError, TypeError: see `generate`.
      ValueError: see there; or a box that is none.
    """
    x1, y1, x2, y2 = box_xyxy
    if not (x1 <= x2 and y1 <= y2):
      raise ValueError(
        f"a box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, normalised to"
        f" 0..1; got {tuple(box_xyxy)}."
      )
    num_bins = self.tokenizer.vocab.num_bins
    prompt = prompt_texts.describe(box_xyxy, num_bins, rounding)
    [answer] = self.generate([prompt], [image], max_new_tokens=max_new_tokens)
    return markup.parse(answer.tokens, self.tokenizer).text

  def answer(
    self,
    image: ImageLike | None,
    question: str,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
  ) -> str:
    """Returns the answer to a question about a picture, or without one.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    prompt = prompt_texts.question(question)
    [answer] = self.generate([prompt], [image], max_new_tokens=max_new_tokens)
    return markup.parse(answer.tokens, self.tokenizer).text

"""The front door for people who only want to use a checkpoint.

    predictor = Predictor.from_pretrained("runs/shapes")
    predictor.ground(image).phrases
    predictor.locate(image, "the red circle left of the blue square")

Pictures go in as PIL images, uint8 arrays or paths; strings, floats and small
frozen dataclasses come out, never an array of a device. Neither TensorFlow
nor torch is imported.
"""

import os
from collections.abc import Sequence
from typing import Any

import jax

from kosmos2_jax.convert import loading
from kosmos2_jax.generation import chatting, few_shot, placement, prompting
from kosmos2_jax.generation.answers import before_another, leading_boxes
from kosmos2_jax.generation.constraints import BoxGrammar
from kosmos2_jax.generation.few_shot import SolvedExample
from kosmos2_jax.generation.generator import MAX_NEW_TOKENS, Generator
from kosmos2_jax.generation.prompting import ImageLike
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.text import markup
from kosmos2_jax.text import prompts as prompt_texts
from kosmos2_jax.text.grounded import Box, GroundedText
from kosmos2_jax.text.vocab import OBJECT

MAX_BOX_TOKENS = 32  # room for ten boxes of one expression


class Predictor(Generator):
  """A model with its weights and its tokenizer, ready to be asked.

  What it holds, `score`, `encode` and `logits` are those of `Engine`,
  `generate` and `stream` those of `Generator`.
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
    self,
    image: ImageLike,
    expression: str,
    *,
    constrained: bool = True,
    examples: Sequence[SolvedExample] = (),
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
      examples: solved ones that are shown before, in order; each has a picture
        of its own, an expression and its box, normalised `x1, y1, x2, y2`.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    [boxes] = self.locate_batch(
      [image], [expression], constrained=constrained, examples=examples
    )
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
    examples: Sequence[SolvedExample] = (),
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
      examples: see `locate`; the same before every expression.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    vocab = self.tokenizer.vocab
    prompts = list(expressions)
    if not as_prompts:
      prompts = [prompt_texts.refer(expression) for expression in prompts]
    prompts, pictures = few_shot.references(
      examples, prompts, images, vocab.num_bins
    )
    boxes = None
    if constrained:
      boxes = BoxGrammar(vocab)
      prompts = [f"{prompt}{OBJECT}" for prompt in prompts]
    options = Options(boxes=boxes, no_repeat_ngram_size=no_repeat_ngram_size)
    # The answer is over where its list of boxes is: nothing after is read.
    answers = self._generate(
      self._rows(prompts, pictures, max_new_tokens),
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
    examples: Sequence[SolvedExample] = (),
  ) -> str:
    """Returns words for what is in a box: an expression that refers to it.

    Args:
      image: the picture.
      box_xyxy: `x1, y1, x2, y2`, normalised to 0..1, origin at the top left.
      max_new_tokens: where the answer is cut off.
      rounding: of the lower right corner; see `encode`.
      examples: see `locate`. The rule against repeated n-grams sees them, too.

    Raises:
      FileNotFoundError, TypeError: see `generate`.
      ValueError: see there; or a box that is none.
    """
    vocab = self.tokenizer.vocab
    grid = vocab.num_bins, rounding
    prompt = prompt_texts.describe(prompting.checked_box(box_xyxy), *grid)
    prompt, pictures = few_shot.description(examples, prompt, image, *grid)
    [answer] = self.generate(
      [prompt], [pictures], max_new_tokens=max_new_tokens
    )
    return markup.parse(
      before_another(answer.tokens, vocab), self.tokenizer
    ).text

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

  def chat(
    self,
    messages: Sequence[chatting.ChatMessage],
    *,
    grounded: bool = True,
    max_new_tokens: int = MAX_NEW_TOKENS,
    **options: Any,
  ) -> GroundedText:
    """Returns the answer to the last message of a conversation, with boxes.

    Args:
      messages: in order, each `{"role": "user", "content": ...}`; roles are
        "system", "user" and "assistant", the last message is the user's. A
        content is a text, or a list of texts and pictures in the order in
        which they are shown: pictures as PIL images, arrays, `pathlib.Path`s
        or `{"image": ...}`. An answer that `chat` returned may be given as it
        is; then its boxes are told, too.
      grounded: asks for boxes in the answer.
      max_new_tokens: where the answer is cut off.
      **options: of `generate`, such as `temperature`.

    Raises:
      FileNotFoundError, TypeError: see `generate`.
      ValueError: see there; or messages that are none, or for which the
        context is too short.
    """
    prompt = self.chat_prompt(messages, grounded=grounded)
    [answer] = self.generate(
      [prompt.tokens],
      [prompt.images],
      max_new_tokens=max_new_tokens,
      **options,
    )
    return markup.parse(answer.tokens, self.tokenizer)

  def chat_prompt(
    self, messages: Sequence[chatting.ChatMessage], *, grounded: bool = True
  ) -> chatting.ChatPrompt:
    """Returns what `generate` and `stream` take of a conversation.

    Raises:
      ValueError: see `chat`.
    """
    return chatting.prompt_of(messages, self.tokenizer, grounded)

"""Continues prompts: the whole answers of many, or one as it comes."""

import dataclasses
from collections.abc import Iterator, Sequence

from kosmos2_jax.generation import streaming
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.constraints import BoxGrammar
from kosmos2_jax.generation.engine import Engine
from kosmos2_jax.generation.prompting import ImageLike, Text
from kosmos2_jax.generation.requests import Answer
from kosmos2_jax.generation.sampling import Options

MAX_NEW_TOKENS = 256


class Generator(Engine):
  """An engine whose tokens are read as text."""

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
    options = self._options(
      temperature=temperature,
      top_k=top_k,
      top_p=top_p,
      min_new_tokens=min_new_tokens,
      no_repeat_ngram_size=no_repeat_ngram_size,
      constrain_boxes=constrain_boxes,
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

  def stream(
    self,
    prompt: Text,
    images: ImageLike | Sequence[ImageLike] | None = None,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    min_new_tokens: int = 0,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    no_repeat_ngram_size: int | None = None,
    constrain_boxes: bool = False,
    seed: int = 0,
    every: int = 4,
  ) -> Iterator[Generation]:
    """Continues one prompt; yields the answer so far, at last the whole one.

    The last answer is the one that `generate` gives. What is wrong with the
    arguments is raised by the call itself.

    Args:
      prompt: see `generate`.
      images: its pictures.
      max_new_tokens: see `generate`, and so all others.
      min_new_tokens: see there.
      temperature: see there.
      top_k: see there.
      top_p: see there.
      no_repeat_ngram_size: see there.
      constrain_boxes: see there.
      seed: see there.
      every: new tokens from one answer to the next; the first has one.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    if every < 1 or max_new_tokens < 1:
      raise ValueError(
        "every and max_new_tokens are 1 or more; got"
        f" {every} and {max_new_tokens}."
      )
    options = self._options(
      temperature=temperature,
      top_k=top_k,
      top_p=top_p,
      min_new_tokens=min_new_tokens,
      no_repeat_ngram_size=no_repeat_ngram_size,
      constrain_boxes=constrain_boxes,
    )
    [row] = self._rows([prompt], [images], max_new_tokens)
    answers = streaming.stream(
      self.model,
      self.params,
      row,
      vocab=self.tokenizer.vocab,
      eos_id=self.tokenizer.vocab.eos_id,
      max_new_tokens=max_new_tokens,
      options=options,
      seed=seed,
      every=every,
      placement=self.placement,
    )
    return map(self._read, answers)

  def _options(
    self,
    *,
    no_repeat_ngram_size: int | None,
    constrain_boxes: bool,
    **named: float | int,
  ) -> Options:
    if no_repeat_ngram_size is None:
      no_repeat_ngram_size = self.no_repeat_ngram_size
    return Options(
      no_repeat_ngram_size=no_repeat_ngram_size,
      boxes=BoxGrammar(self.tokenizer.vocab) if constrain_boxes else None,
      **named,
    )

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

"""What adapters to other people's harnesses share: their requests, answered.

Harnesses bring texts, pictures and options by the thousand and in any order;
here they are sorted, so that those asked together have about one length.
"""

import collections
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kosmos2_jax.generation.engine import MAX_LENGTH
from kosmos2_jax.generation.prompting import Text
from kosmos2_jax.predictor import MAX_NEW_TOKENS
from kosmos2_jax.text import markup

# Rows that are asked between two steps of a progress bar.
_SLICE = 256
# The harnesses' options and what `Predictor.generate` calls them; where there
# are several names, the first that a task uses counts.
_OPTIONS = {
  "max_gen_toks": "max_new_tokens",
  "max_new_tokens": "max_new_tokens",
  "max_tokens": "max_new_tokens",
  "temperature": "temperature",
  "top_k": "top_k",
  "top_p": "top_p",
  "num_beams": "num_beams",
}


def encode_pair(
  encode: Callable[[str], list[int]], context: str, continuation: str
) -> tuple[list[int], list[int]]:
  """Encodes what is given and what is scored, in one.

  As lm-evaluation-harness does: spaces that end the context begin the
  continuation, whose tokens are those behind as many as the context has.

  Args:
    encode: text to ids.
    context: may be empty.
    continuation: what follows.
  """
  given = context.rstrip()
  whole = encode(context + continuation)
  tokens = encode(given)
  return tokens, whole[len(tokens) :]


def score(
  predictor: Any,
  pairs: Iterable[tuple[Sequence[int], Sequence[int]]],
  images: Sequence[Any] | None = None,
  on_rows: Callable[[int], Any] = lambda count: None,
) -> list[tuple[float, bool]]:
  """Log-probability of continuations, and whether each is the greedy one.

  Args:
    predictor: a `Predictor`, or anything with its `score`.
    pairs: ids of contexts, without `<s>`, and of what follows.
    images: of each context, see `Predictor.generate`.
    on_rows: called with the number of rows that were just answered.
  """
  pairs = list(pairs)
  lengths = [len(context) + len(tokens) for context, tokens in pairs]
  answers: list[tuple[float, bool]] = [(0.0, False)] * len(pairs)
  for some in _slices(range(len(pairs)), lengths):
    scores = predictor.score(
      [list(pairs[i][0]) for i in some],
      [list(pairs[i][1]) for i in some],
      None if images is None else [images[i] for i in some],
    )
    for i, found in zip(some, scores, strict=True):
      answers[i] = (found.log_prob, found.is_greedy)
    on_rows(len(some))
  return answers


def generate(
  predictor: Any,
  prompts: Sequence[Text],
  options: Sequence[Mapping[str, Any]],
  images: Sequence[Any] | None = None,
  on_rows: Callable[[int], Any] = lambda count: None,
) -> list[str]:
  """Continues prompts, each up to the first of its ending strings.

  Greedy unless the options say otherwise, and n-grams may repeat, whatever
  the checkpoint's own default. What is drawn depends on the prompt's place
  alone. Answers are plain text, without tags and boxes; `</line>` is a line
  break.

  Args:
    predictor: a `Predictor`, or anything with `generate` and `tokenizer`.
    prompts: text or ids. Ids that leave no room for the answer lose those at
      the beginning.
    options: of each prompt, as harnesses have them.
    images: of each prompt, see `Predictor.generate`.
    on_rows: called with the number of prompts that were just answered.

  Raises:
    ValueError: for options that `Predictor.generate` does not have, or that
      leave no room for a prompt.
  """
  groups = collections.defaultdict(list)
  for index, wishes in enumerate(options):
    groups[json.dumps(wishes, sort_keys=True)].append(index)
  answers = [""] * len(prompts)
  lengths = [len(prompt) for prompt in prompts]
  for wishes, indices in groups.items():
    sampling, until = sampling_options(json.loads(wishes))
    room = max_length(predictor) - 1 - sampling["max_new_tokens"]
    if room < 1:
      raise ValueError(
        f"an answer of {sampling['max_new_tokens']} tokens leaves no room for"
        f" a prompt in the {max_length(predictor)} of the context; ask for a"
        " shorter one."
      )
    for some in _slices(indices, lengths):
      found = predictor.generate(
        [p if isinstance(p := prompts[i], str) else p[-room:] for i in some],
        None if images is None else [images[i] for i in some],
        no_repeat_ngram_size=0,
        seed=list(some),
        **sampling,
      )
      for i, answer in zip(some, found, strict=True):
        answers[i] = up_to(plain_text(answer.tokens, predictor), until)
      on_rows(len(some))
  return answers


def max_length(predictor: Any) -> int:
  """Longest row in tokens, `<s>` included."""
  return getattr(predictor, "max_length", MAX_LENGTH)


def plain_text(tokens: Iterable[int], predictor: Any) -> str:
  """The words of an answer, with line breaks where it has `</line>`."""
  tokenizer = predictor.tokenizer
  lines: list[list[int]] = [[]]
  for token in tokens:
    if token == tokenizer.vocab.line_id:
      lines.append([])
    else:
      lines[-1].append(token)
  return "\n".join(markup.parse(line, tokenizer).text for line in lines)


def sampling_options(
  wishes: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
  """Reads a harness's options.

  Without `do_sample` a temperature above 0 draws; with `do_sample: false`
  there is none, and with `do_sample: true` it is 1 unless it is said.

  Returns:
    Arguments of `Predictor.generate`, and the strings that end an answer.

  Raises:
    ValueError: for an option that is not known.
  """
  wishes = {key: x for key, x in wishes.items() if x is not None}
  until = wishes.pop("until", [])
  do_sample = wishes.pop("do_sample", None)
  unknown = sorted(set(wishes) - set(_OPTIONS))
  if unknown:
    raise ValueError(
      f"the task generates with {unknown[0]!r}, which this model does not"
      f" know; it knows {sorted(_OPTIONS)}, do_sample and until."
    )
  sampling = {"max_new_tokens": MAX_NEW_TOKENS}
  for theirs, ours in reversed(_OPTIONS.items()):
    if theirs in wishes:
      sampling[ours] = wishes[theirs]
  if do_sample is False:
    sampling["temperature"] = 0.0
  elif do_sample:
    sampling.setdefault("temperature", 1.0)
  return sampling, [until] if isinstance(until, str) else list(until)


def up_to(text: str, endings: Sequence[str]) -> str:
  """Returns what a text says before the first of several endings."""
  found = [text.find(ending) for ending in endings if ending]
  return text[: min([i for i in found if i >= 0], default=len(text))]


def _slices(
  indices: Sequence[int], lengths: Sequence[int]
) -> Iterable[list[int]]:
  """Cuts rows into lists, the long ones first: what is too long fails early."""
  order = sorted(indices, key=lambda i: -lengths[i])
  for start in range(0, len(order), _SLICE):
    yield order[start : start + _SLICE]

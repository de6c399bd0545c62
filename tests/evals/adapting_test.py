"""What adapters share: order, options, endings."""

import pytest

from kosmos2_jax.evals import adapting
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.small(num_bins=4)


class Echo:
  """Answers with its prompt's first token and remembers what it was asked."""

  tokenizer = TOKENIZER
  max_length = 20

  def __init__(self):
    self.asked = []

  def generate(self, prompts, images, **options):
    self.asked.append((prompts, images, options))
    return [
      Generation("", tuple(prompt[:1]), (0.0,), True) for prompt in prompts
    ]


def ids(text):
  return TOKENIZER.encode(text)


def test_each_set_of_options_is_asked_by_itself():
  predictor = Echo()
  prompts = [ids("a red circle"), ids("blue"), ids("the square left of it")]
  answers = adapting.generate(
    predictor,
    prompts,
    [{"max_gen_toks": 4}, {"max_gen_toks": 6}, {"max_gen_toks": 4}],
    ["A", "B", "C"],
  )
  assert answers == [TOKENIZER.decode(prompt[:1]) for prompt in prompts]
  first, second = predictor.asked
  # Long ones first; a seed is the place of the prompt.
  assert first[0] == [prompts[2], prompts[0]]
  assert first[1] == ["C", "A"]
  assert first[2] == {
    "no_repeat_ngram_size": 0,
    "seed": [2, 0],
    "max_new_tokens": 4,
  }
  assert second[0] == [prompts[1]]
  assert second[2]["max_new_tokens"] == 6


def test_long_prompts_lose_their_beginning():
  predictor = Echo()
  prompt = ids("a red circle left of a blue square " * 4)
  adapting.generate(predictor, [prompt], [{"max_gen_toks": 12}])
  # 20 in all: `<s>`, what is kept, the answer.
  assert predictor.asked[0][0] == [prompt[-7:]]
  with pytest.raises(ValueError, match="an answer of 19 tokens leaves no room"):
    adapting.generate(predictor, [prompt], [{"max_gen_toks": 19}])


@pytest.mark.parametrize(
  ("wishes", "sampling", "until"),
  [
    ({}, {"max_new_tokens": 256}, []),
    ({"until": "\n", "max_new_tokens": 3}, {"max_new_tokens": 3}, ["\n"]),
    (
      {"max_new_tokens": 3, "max_gen_toks": 5, "top_p": None},
      {"max_new_tokens": 5},
      [],
    ),
    (
      {"do_sample": False, "temperature": 0.7},
      {"max_new_tokens": 256, "temperature": 0.0},
      [],
    ),
    (
      {"do_sample": True},
      {"max_new_tokens": 256, "temperature": 1.0},
      [],
    ),
    (
      {"do_sample": True, "temperature": 0.7, "top_k": 5, "num_beams": 1},
      {
        "max_new_tokens": 256,
        "temperature": 0.7,
        "top_k": 5,
        "num_beams": 1,
      },
      [],
    ),
  ],
)
def test_options_are_read(wishes, sampling, until):
  assert adapting.sampling_options(wishes) == (sampling, until)


def test_an_unknown_option_is_refused():
  with pytest.raises(ValueError, match="generates with 'typical_p'"):
    adapting.sampling_options({"typical_p": 0.2})


@pytest.mark.parametrize(
  ("endings", "expected"),
  [
    ([], "one. two. three"),
    (["."], "one"),
    (["three", " two"], "one."),
    (["four", ""], "one. two. three"),
  ],
)
def test_an_answer_ends_before_the_first_ending(endings, expected):
  assert adapting.up_to("one. two. three", endings) == expected


def test_answers_are_plain_text():
  tokens = ids(
    "<phrase>a cat</phrase><object><patch_index_0000><patch_index_0005>"
    "</object> sits</line>here"
  )
  assert adapting.plain_text(tokens, Echo()) == "a cat sits\nhere"


def test_pairs_are_encoded_in_one():
  # Spaces of the context belong to what follows.
  assert adapting.encode_pair(ids, "a red ", "circle") == (
    ids("a red"),
    ids("a red circle")[len(ids("a red")) :],
  )
  assert adapting.encode_pair(ids, "", "circle") == ([], ids("circle"))
  # With a tokenizer to which those spaces are tokens.
  letters = [ord(letter) for letter in "ab  c"]
  assert adapting.encode_pair(
    lambda text: [ord(letter) for letter in text], "ab ", " c"
  ) == (letters[:2], letters[2:])

"""The adapter: tokens and likelihoods are those of the harness's own one."""

import importlib.machinery
import importlib.util
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest

from kosmos2_jax.convert import processor
from kosmos2_jax.evals import harness
from kosmos2_jax.evals.language import LanguageChoice
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.generation.scoring import Score
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.convert.samples import build_theirs
from tests.evals import language_rows

TOKENIZER = Tokenizer.small(num_bins=4)
# The maths is the same, in another order of float32 operations.
TOLERANCE = 1e-4


class Counting:
  """Every token has the log-probability -id / 100, whatever is before it."""

  tokenizer = TOKENIZER

  def __init__(self, max_length=64):
    self.max_length = max_length
    self.rows = []

  def score(self, prompts, continuations, images=None):
    for prompt, tokens in zip(prompts, continuations, strict=True):
      assert 1 + len(prompt) + len(tokens) <= self.max_length
      self.rows.append((prompt, tokens))
    return [Score(-sum(t) / 100, len(t), False) for t in continuations]


def requests(*arguments):
  return [SimpleNamespace(args=args) for args in arguments]


def log_probs(answers):
  return [log_prob for log_prob, _ in answers]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
  """A random text decoder in both worlds: our predictor, the harness's HFLM."""
  transformers = pytest.importorskip("transformers", reason="needs it")
  folder = tmp_path_factory.mktemp("kosmos2")
  theirs = build_theirs(
    TOKENIZER.vocab.size, (32, 2, 48, 4), (16, 1, 24, 2, 8, 4), 3
  )
  theirs.save_pretrained(folder)
  processor.write(folder, TOKENIZER, 8)
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  # What a causal model needs: `<s>` in front and no `</s>` behind, which the
  # released tokenizer would put between context and continuation.
  from tokenizers.processors import TemplateProcessing

  tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
    single="<s> $A", special_tokens=[("<s>", TOKENIZER.vocab.bos_id)]
  )
  with pytest.MonkeyPatch.context() as patch:
    if importlib.util.find_spec("accelerate") is None:
      _stand_in(patch)
    from lm_eval.models.huggingface import HFLM

    hflm = HFLM(
      theirs.text_model,
      tokenizer=tokenizer,
      batch_size=3,
      max_length=512,
      # In 0.4.13 its memory mistakes the place of a one-token continuation
      # whose row also comes as that of a longer one.
      logits_cache=False,
    )
  return Predictor.from_pretrained(folder, batch_size=4), hflm


def _stand_in(patch):
  """The names that HFLM imports and, given a model, never uses."""
  for name, names in (
    (
      "accelerate",
      ("Accelerator", "InitProcessGroupKwargs", "find_executable_batch_size"),
    ),
    ("accelerate.utils", ("get_max_memory",)),
  ):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for each in names:
      setattr(module, each, None)
    patch.setitem(sys.modules, name, module)


@pytest.mark.slow
def test_likelihoods_are_those_of_the_harnesss_own_adapter(pair, tmp_path):
  predictor, hflm = pair
  pairs = [
    ("a red", " circle"),
    ("a red ", "circle"),  # the space goes to the continuation
    ("a red  ", " circle left of it"),
    ("a re", "d circle left of the square"),  # a word in two
    ("", "a red circle"),  # `<s>` alone
    ("", " a blue square"),
    ("It is\n\nlate.\nQuestion: is it?\nAnswer:", " yes"),
    ("It is\n\nlate.\nQuestion: is it?\nAnswer:", " no"),
    ("<grounding><phrase> a cat</phrase>", " sits"),  # tags
    ("ß λ", " € ∞"),  # bytes
  ]
  pairs += [
    request
    for rows in language_rows.ASKED.values()
    for row, _ in rows
    for request in row
  ]
  folder = language_rows.write(tmp_path / "language")
  pairs += [
    tuple(request)
    for task in ("piqa", "winogrande")
    for question in LanguageChoice(
      task=task, files=folder, num_fewshot=2
    ).questions()
    for request in question.ask
  ]
  asked = requests(*pairs)
  ours = harness.adapt(predictor).loglikelihood(asked, disable_tqdm=True)
  theirs = hflm.loglikelihood(asked, disable_tqdm=True)
  np.testing.assert_allclose(
    log_probs(ours), log_probs(theirs), atol=TOLERANCE, rtol=0
  )
  assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
  # They differ from each other by far more than the tolerance.
  assert np.std(log_probs(ours)) > 1


@pytest.mark.slow
def test_what_the_model_would_say_is_greedy(pair):
  predictor, hflm = pair
  context = "a red circle"
  [answer] = predictor.generate(
    [context], max_new_tokens=1, no_repeat_ngram_size=0
  )
  tokens = [*TOKENIZER.encode(context)]
  asked = [(("", ""), [TOKENIZER.vocab.bos_id, *tokens], [*answer.tokens])]
  if not answer.tokens:  # `</s>` is a token like others here
    asked[0][2].append(TOKENIZER.vocab.eos_id)
  [(ours, greedy)] = harness.adapt(predictor)._loglikelihood_tokens(asked, True)
  [(theirs, also)] = hflm._loglikelihood_tokens(asked, True)
  assert greedy
  assert also
  assert ours == pytest.approx(theirs, abs=TOLERANCE)


@pytest.mark.slow
def test_whole_texts_are_as_likely_as_to_the_harnesss_own_adapter(pair):
  predictor, hflm = pair
  asked = requests(
    ("a red circle left of the blue square",), ("It rained.\nI got wet.",)
  )
  # With `<s>` as a token of the text it would be predicted behind itself.
  hflm.add_bos_token = False
  try:
    theirs = hflm.loglikelihood_rolling(asked, disable_tqdm=True)
  finally:
    hflm.add_bos_token = None
  ours = harness.adapt(predictor).loglikelihood_rolling(asked, True)
  np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)


def test_a_long_context_loses_its_beginning_and_keeps_bos():
  predictor = Counting(max_length=16)
  model = harness.adapt(predictor)
  context = "a red circle left of a blue square " * 4
  [(log_prob, _)] = model.loglikelihood(
    requests((context, " yes")), disable_tqdm=True
  )
  whole = TOKENIZER.encode(context.rstrip() + "  yes")
  given = TOKENIZER.encode(context.rstrip())
  tokens = whole[len(given) :]
  [row] = predictor.rows
  # `<s>`, which `score` puts in front, and 15 others.
  assert row == (given[-(15 - len(tokens)) :], tokens)
  assert log_prob == -sum(tokens) / 100
  assert model.cut == {(context, " yes"): len(given) + len(tokens) - 15}


def test_a_continuation_must_have_tokens_and_room():
  model = harness.adapt(Counting(max_length=16))
  with pytest.raises(ValueError, match="the continuation '' has 0 tokens"):
    model.loglikelihood(requests(("a", "")), disable_tqdm=True)
  with pytest.raises(ValueError, match="it must have from 1 to 15"):
    model.loglikelihood(requests(("a", " red" * 40)), disable_tqdm=True)


@pytest.mark.parametrize("words", [1, 6, 14, 15, 16, 50])
def test_whole_texts_in_windows_predict_every_token_once(words):
  predictor = Counting(max_length=16)
  model = harness.adapt(predictor)
  text = " ".join(["red", "blue", "a", "square"][i % 4] for i in range(words))
  tokens = TOKENIZER.encode(text)
  [total] = model.loglikelihood_rolling(requests((text,)), True)
  assert total == pytest.approx(-sum(tokens) / 100)
  rows = sorted(predictor.rows, key=lambda row: bool(row[0]))
  assert rows[0] == ([], tokens[:14])
  assert sum(len(row[1]) for row in rows) == len(tokens)
  # Behind the first, each has the tokens before it as its context, and the
  # last as many of them as go in.
  for context, found in rows[1:]:
    assert context
    assert len(context) + len(found) == 15
    joined = context + found
    places = [
      i for i in range(len(tokens)) if tokens[i : i + len(joined)] == joined
    ]
    assert places


def test_an_empty_text_costs_nothing():
  assert harness.adapt(Counting()).loglikelihood_rolling(
    requests(("",)), True
  ) == [0.0]


def test_rows_are_asked_longest_first_and_answered_in_order():
  predictor = Counting()
  model = harness.adapt(predictor)
  asked = requests(
    ("a", " red"), ("a red circle left of", " a square"), ("a red", " circle")
  )
  found = log_probs(model.loglikelihood(asked, disable_tqdm=True))
  lengths = [len(prompt) + len(tokens) for prompt, tokens in predictor.rows]
  assert lengths == sorted(lengths, reverse=True)
  assert len(set(lengths)) == 3
  again = [
    log_probs(model.loglikelihood([one], disable_tqdm=True))[0] for one in asked
  ]
  assert found == again


def test_line_breaks_become_line_tokens_on_request():
  text = "It is late.\n\nIs it?  \n Yes."
  line = TOKENIZER.vocab.line_id
  plain = harness.adapt(Counting()).tok_encode(text, False)
  assert plain == TOKENIZER.encode("It is late. Is it? Yes.")
  lines = harness.adapt(Counting(), lines=True).tok_encode(text, False)
  assert lines == [
    *TOKENIZER.encode("It is late."),
    line,
    *TOKENIZER.encode("Is it?"),
    line,
    *TOKENIZER.encode("Yes."),
  ]


def test_bos_is_not_doubled():
  model = harness.adapt(Counting())
  bos = TOKENIZER.vocab.bos_id
  assert model.tok_encode("a") == [bos, *TOKENIZER.encode("a")]
  assert model.tok_encode("<s>a") == model.tok_encode("a")
  assert model.prefix_token_id == bos
  assert model.eot_token_id == TOKENIZER.vocab.eos_id


def test_texts_are_continued_up_to_their_ending():
  class Saying(Counting):
    def generate(self, prompts, images, **options):
      self.options = options
      tokens = TOKENIZER.encode("Yes.</line>Question: no")
      return [Generation("", tuple(tokens), (), True) for _ in prompts]

  predictor = Saying(max_length=512)
  model = harness.adapt(predictor)
  until = {"until": ["\n\n", "\n"], "max_gen_toks": 8, "do_sample": False}
  assert model.generate_until(
    requests(("Is it?", until), ("Is it?", {"until": []})), True
  ) == ["Yes.", "Yes.\nQuestion: no"]
  assert predictor.options["no_repeat_ngram_size"] == 0


def test_the_harness_finds_the_model_by_its_name():
  from lm_eval.api.registry import get_model

  harness.register()
  harness.register()
  model = get_model("kosmos2_jax")
  assert model is harness.model_class()
  # As the command line makes it; the device is jax's affair.
  predictor = Counting()
  made = model.create_from_arg_obj(
    {"predictor": predictor}, {"batch_size": 1, "device": "cuda:0"}
  )
  assert made.predictor is predictor


def test_a_checkpoint_or_a_predictor_is_needed():
  for arguments in ({}, {"pretrained": "a", "predictor": Counting()}):
    with pytest.raises(ValueError, match="give the checkpoint"):
      harness.model_class()(**arguments)


def test_a_checkpoint_is_opened_as_asked(monkeypatch):
  opened = []
  monkeypatch.setattr(
    Predictor,
    "from_pretrained",
    lambda *args, **kwargs: opened.append((args, kwargs)) or Counting(),
  )
  make = harness.model_class().create_from_arg_obj
  make({"pretrained": "runs/a"}, {"batch_size": "auto"})
  make({"pretrained": "runs/a", "dtype": "bfloat16"}, {"batch_size": 4})
  assert opened == [
    (("runs/a",), {"dtype": None, "use_ema": True}),
    (("runs/a",), {"dtype": "bfloat16", "use_ema": True, "batch_size": 4}),
  ]


def test_a_missing_harness_names_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, "lm_eval", None)
  with pytest.raises(ModuleNotFoundError, match=r"'kosmos2_jax\[eval\]'"):
    harness.library()

"""Caption metrics beside pycocoevalcap called directly, and hard answers."""

import shutil

import numpy as np
import pytest

from kosmos2_jax.evals.scoring import captions, meteor
from tests.evals.scoring import programs

needs_java = pytest.mark.skipif(
  shutil.which("java") is None,
  reason="the PTB tokenizer and METEOR are Java programs",
)
FAST = ("cider", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l")

REFERENCES = [
  ["A cat sits on a mat.", "The cat is sitting on its mat.", "Cat, mat!"],
  ["Two dogs run in the grass.", "Dogs are running across a lawn."],
  ["A man's hat (red) isn't on his head."],
  ["A café in Zürich — très bon!", "Zürich café"],
  ["...", "A red car"],  # one reference is no word
  ["?!?", "'s"],
]
ANSWERS = [
  "a cat sits on a mat",
  "two dogs running over the grass. they run.",
  "",
  "Un café très bon",
  "zzz qqq",
  "!!!.",
]


def official(references, answers, with_meteor=False):
  """Value and values of each answer by pycocoevalcap, as its users call it."""
  from pycocoevalcap.bleu.bleu import Bleu
  from pycocoevalcap.cider.cider import Cider
  from pycocoevalcap.meteor.meteor import Meteor
  from pycocoevalcap.rouge.rouge import Rouge
  from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

  true = {
    i: [{"caption": text} for text in texts]
    for i, texts in enumerate(references)
  }
  said = {i: [{"caption": text}] for i, text in enumerate(answers)}
  true, said = PTBTokenizer().tokenize(true), PTBTokenizer().tokenize(said)
  bleu, bleus = Bleu(4).compute_score(true, said, verbose=0)
  found = {
    "cider": Cider().compute_score(true, said),
    "rouge_l": Rouge().compute_score(true, said),
  }
  for n in range(4):
    found[f"bleu_{n + 1}"] = bleu[n], bleus[n]
  if with_meteor:
    scorer = Meteor()
    found["meteor"] = scorer.compute_score(true, said)
    scorer.meteor_p.stdout.close()  # which it leaves open
    scorer.meteor_p.stderr.close()
  return found


@needs_java
def test_the_metrics_are_pycocoevalcaps(capfd):
  scores = captions.score(REFERENCES, ANSWERS, FAST)
  assert capfd.readouterr() == ("", "")
  expected = official(REFERENCES, ANSWERS)
  assert tuple(scores.metrics) == FAST
  for name, metric in scores.metrics.items():
    value, each = expected[name]
    np.testing.assert_allclose(metric.value, 100 * value, rtol=1e-12)
    assert metric.scale == 100.0
    if metric.numerators is not None:
      np.testing.assert_array_equal(metric.numerators, each)
      assert metric.denominators is None
  np.testing.assert_array_equal(scores.quality, 100 * expected["cider"][1])
  assert scores.n == 6
  assert scores.counts == {
    "references": 12,
    # "!!!" is no punctuation to the official scorer, only "!" is.
    "answers_without_word": 1,
    "references_without_word": 1,
  }
  assert scores.notes == ()


@needs_java
@pytest.mark.slow
def test_meteor_is_the_official_programs_and_so_is_the_formula(monkeypatch):
  seen = []
  run = meteor.score
  monkeypatch.setattr(
    meteor, "score", lambda *args: seen.append(run(*args)) or seen[-1]
  )
  scores = captions.score(REFERENCES, ANSWERS)
  whole, each = official(REFERENCES, ANSWERS, with_meteor=True)["meteor"]
  assert tuple(scores.metrics) == captions.METRICS
  assert scores.metrics["meteor"].value == 100 * whole
  np.testing.assert_allclose(
    scores.metrics["meteor"].resample(np.arange(len(ANSWERS))),
    100 * whole,
    rtol=1e-12,
  )
  np.testing.assert_allclose(meteor.of_counts(seen[0].counts), each, rtol=1e-12)
  # It is not the mean: why the bootstrap needs the counts.
  assert abs(np.mean(each) - whole) > 0.01
  assert (each[0], each[2], each[4]) == (1.0, 0.0, 0.0)


@needs_java
def test_bleu_over_answers_drawn_again_is_bleu_of_those_answers():
  scores = captions.score(REFERENCES, ANSWERS, FAST)
  drawn = np.array([3, 1, 1, 0, 2])
  expected = official(
    [REFERENCES[i] for i in drawn], [ANSWERS[i] for i in drawn]
  )
  for order in range(1, 5):
    metric = scores.metrics[f"bleu_{order}"]
    assert metric.numerators is None
    np.testing.assert_allclose(
      metric.resample(drawn), 100 * expected[f"bleu_{order}"][0], rtol=1e-9
    )
    np.testing.assert_allclose(
      metric.resample(np.arange(len(ANSWERS))), metric.value, rtol=1e-9
    )


@needs_java
def test_cider_by_hand():
  # Two pictures, one reference each. All n-grams of each are in the one
  # reference alone, so all weigh log 2, and a cosine is one of counts. The
  # first answer is its reference of three words: 1 for n = 1, 2, 3 and 0 for
  # n = 4, of which there is none. The second has one of its two words, and one
  # pair fewer: cosine 1 / sqrt(2) for n = 1, none of the pairs, a length that
  # differs by one pair: exp(-1 / 72).
  scores = captions.score(
    [["red cats sleep"], ["two dogs"]], ["red cats sleep", "dogs"], ["cider"]
  )
  expected = [10 * 3 / 4, 10 * np.exp(-1 / 72) / np.sqrt(2) / 4]
  np.testing.assert_allclose(scores.quality, 100 * np.array(expected))
  np.testing.assert_allclose(
    scores.metrics["cider"].value, 100 * np.mean(expected)
  )


@needs_java
def test_answers_that_are_all_the_same():
  answers = ["a photo of a dog"] * len(REFERENCES)
  scores = captions.score(REFERENCES, answers, FAST)
  expected = official(REFERENCES, answers)
  for name, metric in scores.metrics.items():
    np.testing.assert_allclose(metric.value, 100 * expected[name][0])
  np.testing.assert_array_equal(scores.quality, 100 * expected["cider"][1])


@needs_java
def test_answers_that_are_all_empty():
  scores = captions.score(REFERENCES, [""] * len(REFERENCES), FAST)
  assert scores.counts["answers_without_word"] == 6
  for name in FAST[:-1]:
    assert scores.metrics[name].value == pytest.approx(0.0, abs=1e-9)


@needs_java
def test_one_answer_alone_has_no_cider_and_a_note():
  scores = captions.score([["a red dog"]], ["a red dog"], FAST)
  assert scores.metrics["cider"].value == 0.0
  assert scores.metrics["bleu_3"].value == pytest.approx(100.0)
  assert scores.metrics["rouge_l"].value == pytest.approx(100.0)
  assert any("one answer alone is 0" in note for note in scores.notes)


@needs_java
def test_the_same_every_time():
  first, second = (captions.score(REFERENCES, ANSWERS, FAST) for _ in "ab")
  for name in FAST:
    assert first.metrics[name].value == second.metrics[name].value


def test_without_java_the_others_go_on_and_it_is_said(tmp_path, monkeypatch):
  programs.remove(tmp_path, monkeypatch)
  scores = captions.score(REFERENCES[:3], ANSWERS[:3])
  assert tuple(scores.metrics) == FAST
  own, left_out = scores.notes
  assert "own tokenizer" in own
  assert "do not compare with published ones: Java was not found" in own
  assert left_out.startswith("METEOR is left out: Java was not found; install")
  # Words that both tokenizers know: the numbers are those with Java.
  assert scores.metrics["bleu_1"].value > 0
  # No METEOR was wanted: nothing to say of it.
  assert len(captions.score(REFERENCES, ANSWERS, FAST).notes) == 1


@needs_java
def test_without_java_plain_captions_score_the_same(tmp_path, monkeypatch):
  with_java = captions.score(REFERENCES, ANSWERS, FAST)
  programs.remove(tmp_path, monkeypatch)
  without = captions.score(REFERENCES, ANSWERS, FAST)
  for name in FAST:
    assert without.metrics[name].value == with_java.metrics[name].value


@needs_java
def test_a_meteor_that_fails_is_left_out_alone(monkeypatch):
  def score(references, answers):
    raise captions.java.JavaTrouble("it fell.")

  monkeypatch.setattr(meteor, "score", score)
  scores = captions.score(REFERENCES, ANSWERS)
  assert tuple(scores.metrics) == FAST
  assert scores.notes == ("METEOR is left out: it fell.",)


def test_what_cannot_be_scored(tmp_path, monkeypatch):
  programs.remove(tmp_path, monkeypatch)
  with pytest.raises(ValueError, match="no answer to score"):
    captions.score([], [])
  with pytest.raises(ValueError, match=r"2 answers .* \[0, 1\] for 2"):
    captions.score([["a"], []], ["a", "b"])
  with pytest.raises(ValueError, match="none of the 2 references holds a word"):
    captions.score([["."], [""]], ["a", "b"])
  with pytest.raises(ValueError, match="found 'spice'"):
    captions.score([["a"]], ["a"], ["spice"])


def test_a_part_of_a_split_is_said_to_be_one():
  [note] = captions.size_notes(200, {1000: "Flickr30k test", 5000: "COCO"})
  assert "200 answers" in note
  assert "1,000 (Flickr30k test) or 5,000 (COCO)" in note
  assert captions.size_notes(1000, {1000: "Flickr30k test"}) == ()

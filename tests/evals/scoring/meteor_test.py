"""METEOR: the official program, its formula, and its failures."""

import numpy as np
import pytest

from kosmos2_jax.evals.scoring import java, meteor
from tests.evals.scoring import programs


def test_the_formula_by_hand():
  # Answer of 4 words, 1 of them a function word; reference of 5, 2 function
  # words. Matched: 2 content words exactly, 1 function word by its stem, in 2
  # chunks of 3 words.
  counts = np.zeros(23)
  counts[0:4] = 4, 5, 1, 2
  counts[4:8] = 2, 2, 0, 0
  counts[8:12] = 0, 0, 1, 1
  counts[20:] = 2, 3, 3
  matched = 0.75 * 2 * 1.0 + 0.25 * 1 * 0.6
  precision = matched / (0.75 * 3 + 0.25 * 1)
  recall = matched / (0.75 * 3 + 0.25 * 2)
  f_mean = precision * recall / (0.85 * precision + 0.15 * recall)
  expected = f_mean * (1 - 0.6 * (2 / 3) ** 0.2)
  np.testing.assert_allclose(meteor.of_counts(counts), expected, rtol=1e-12)
  value = meteor.resampler(np.stack([counts, np.zeros(23)]), scale=100.0)
  # The sums count, and an answer without any word adds nothing to them.
  np.testing.assert_allclose(value(np.array([0, 0, 1])), 100 * expected)
  assert value(np.array([1, 1])) == 0.0


def test_all_the_same_in_one_chunk_has_no_penalty():
  counts = np.array(programs.SAME_WORD.split(), np.float64)
  assert meteor.of_counts(counts) == 1.0
  # Nor have two such answers together, which add no chunk; but two words of
  # one answer in two chunks have.
  value = meteor.resampler(counts[None], scale=1.0)
  assert value(np.array([0, 0])) == 1.0
  np.testing.assert_allclose(meteor.of_counts(2 * counts), 1 - 0.6)


@pytest.mark.parametrize(
  ("script", "sentence"),
  [
    ("exit 7", "Java ended before it had answered for METEOR .status 7"),
    (f"read a; echo {programs.SAME_WORD}; exit 1", "for METEOR"),
    ("while read a; do echo Error: specify; done", "for METEOR"),
    (f"read a; echo {programs.SAME_WORD}; sleep 60", "no answer for METEOR"),
    ("sleep 60", "no answer for METEOR in 0.5 seconds"),
    (
      f"for i in 1 2; do read a; echo {programs.SAME_WORD}; done\n"
      "read a; echo 0.5; echo none; cat >&2",
      "for METEOR",
    ),
  ],
)
def test_a_program_that_fails_is_a_sentence_and_no_wait(
  script, sentence, tmp_path, monkeypatch
):
  programs.put(tmp_path, monkeypatch, script)
  with pytest.raises(java.JavaTrouble, match=sentence):
    meteor.score(
      [["a"], ["b"]], ["a", "b"], timeout_s=0.5 if "sleep" in script else 60.0
    )


def test_the_program_is_spoken_to_as_pycocoevalcap_does(tmp_path, monkeypatch):
  log = tmp_path / "log"
  programs.put(
    tmp_path / "bin",
    monkeypatch,
    f"echo $@ > {log}\n"
    f"for i in 1 2; do read a; echo $a >> {log}; echo {programs.SAME_WORD}\n"
    f"done; read a; echo 0.25; echo 0.75; echo 0.5; cat > /dev/null",
  )
  found = meteor.score([["a b", "c"], ["d"]], ["a ||| b", ""])
  assert found.value == 0.5
  assert found.counts.shape == (2, 23)
  command, *lines = log.read_text().splitlines()
  assert command.endswith("meteor-1.5.jar - - -stdio -l en -norm")
  assert lines == ["SCORE ||| a b ||| c ||| a b", "SCORE ||| d |||"]

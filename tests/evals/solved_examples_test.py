"""The prompt with its solved examples, letter by letter."""

from kosmos2_jax.evals import solved_examples

LEFT, RIGHT = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
IT_LEFT = (
  "<image><grounding><phrase>It</phrase><object><patch_index_0000>"
  "<patch_index_0060></object> is"
)
IT_RIGHT = (
  "<image><grounding><phrase>It</phrase><object><patch_index_0004>"
  "<patch_index_0063></object> is"
)


def test_a_sentence_has_one_end():
  shots = [
    {"box": RIGHT, "text": "a red kite."},
    {"box": LEFT, "text": "the cup"},
    {"box": LEFT, "text": "who?"},
  ]
  prompt = solved_examples.write_prompt({"box": RIGHT, "shots": shots}, 8)
  assert prompt == (
    f"{IT_RIGHT} a red kite.{IT_LEFT} the cup.{IT_LEFT} who?{IT_RIGHT}"
  )


def test_no_example_no_more_than_the_question():
  assert solved_examples.write_prompt({"box": LEFT, "shots": []}, 8) == IT_LEFT

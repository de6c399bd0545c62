"""A few rows of each language task, made by hand in the true format.

And what the harness makes of them: for each row the texts that are compared,
as (context, continuation), and which of them is true. Written out here, not
computed, so that a change of prompts is seen.
"""

import json

STORY = [
  {
    "story_id": "s0",
    "input_sentence_1": "Ada had a kite.",
    "input_sentence_2": "She took it up a hill.",
    "input_sentence_3": "The wind was strong.",
    "input_sentence_4": "She let go of the string.",
    "sentence_quiz1": "The kite flew away.",
    "sentence_quiz2": "The kite was a sandwich.",
    "answer_right_ending": 1,
  },
  {
    "story_id": "s1",
    "input_sentence_1": "Ben was hungry.",
    "input_sentence_2": "He looked for bread.",
    "input_sentence_3": "There was none.",
    "input_sentence_4": "He put on his coat.",
    "sentence_quiz1": "He fell asleep in the sea.",
    "sentence_quiz2": "He went to the baker's shop, which was open.",
    "answer_right_ending": 2,
  },
]
HELLASWAG = [
  {
    "ind": 0,
    "activity_label": "Washing dishes",
    "ctx_a": "A man stands at a sink.",
    "ctx_b": "he",
    "ctx": "A man stands at a sink. he",
    "endings": [
      "turns the water on.",
      "flies [laughs] off into the blue sky.",
      "is a plate.",
      "sings to the moon for hours and hours.",
    ],
    "source_id": "made~1",
    "split": "val",
    "split_type": "indomain",
    "label": "0",
  },
  {
    "ind": 1,
    "activity_label": "Gardening",
    "ctx_a": "How to plant a tree [title] Dig a hole.",
    "ctx_b": "the hole",
    "ctx": "How to plant a tree [title] Dig a hole. the hole",
    "endings": [
      "reads a book.",
      "has a red car.",
      "is as deep as the pot that the tree came in.",
      "[substeps] Wait.",
    ],
    "source_id": "made~2",
    "split": "val",
    "split_type": "zeroshot",
    "label": "2",
  },
]
WINOGRAD = [
  {
    "text": "The cup did not fit the box because it was too large.",
    "pronoun": "it",
    "pronoun_loc": 36,
    "quote": "it was too large",
    "quote_loc": 36,
    "options": ["The cup", "The box"],
    "label": 0,
    "source": "made by hand",
  },
  {
    "text": "Joan thanked Susan for the help.  She had given it.",
    "pronoun": "She",
    "pronoun_loc": 33,
    "quote": "She had given it",
    "quote_loc": 34,
    "options": ["Joan", "Susan"],
    "label": 1,
    "source": "made by hand",
  },
  {
    "text": "The king lost to the cook and gave his hat.",
    "pronoun": "his",
    "pronoun_loc": 35,
    "quote": "his hat",
    "quote_loc": 35,
    "options": ["The king", "The cook"],
    "label": 0,
    "source": "made by hand",
  },
]
WINOGRANDE = [
  {
    "sentence": "Ann paid Sue because _ had sold the car.",
    "option1": "Ann",
    "option2": "Sue",
    "answer": "2",
  },
  {
    "sentence": "The ball broke the glass as the _ was hard.",
    "option1": "ball",
    "option2": "glass",
    "answer": "1",
  },
]
PIQA = [
  {
    "goal": "How do you cool soup?",
    "sol1": "Blow on it.",
    "sol2": "Set it on the stove and turn the flame up high.",
    "label": 0,
  },
  {
    "goal": "To dry a shirt,",
    "sol1": "pour water on it.",
    "sol2": "hang it in the sun on a line for a few hours.",
    "label": 1,
  },
  {"goal": "Open a door", "sol1": "Push.", "sol2": "Sing.", "label": 0},
]
BOOLQ = [
  {
    "question": "is the sun a star",
    "passage": "The Sun -- The sun is the star in the middle.",
    "idx": 0,
    "label": 1,
  },
  {
    "question": "do fish fly to the moon",
    "passage": "Fish live in the sea.",
    "idx": 1,
    "label": 0,
  },
]
CB = [
  {
    "premise": "A: It rained. B: Yes, I got wet.",
    "hypothesis": "it rained",
    "idx": 0,
    "label": 0,
  },
  {
    "premise": "She did not say that he had come.",
    "hypothesis": "he had come",
    "idx": 1,
    "label": 2,
  },
  {
    "premise": "Nobody thinks that the cat is blue.",
    "hypothesis": "the cat is blue",
    "idx": 2,
    "label": 1,
  },
]
COPA = [
  {
    "premise": "The man fell.",
    "choice1": "The floor was wet.",
    "choice2": "The sky was blue.",
    "question": "cause",
    "idx": 0,
    "label": 0,
  },
  {
    "premise": "The girl dropped the cup.",
    "choice1": "She grew wings.",
    "choice2": "It broke.",
    "question": "effect",
    "idx": 1,
    "label": 1,
  },
]

# For training splits: none of them is asked.
SHOTS = {
  "storycloze_2016": [
    row | {"input_sentence_1": f"Story {i}."} for i in range(2) for row in STORY
  ],
  "hellaswag": [
    row | {"activity_label": f"Deed {i}"} for i in range(2) for row in HELLASWAG
  ],
  "winogrande": [
    {
      "sentence": f"Day {i}: the _ ran.",
      "option1": "dog",
      "option2": "hat",
      "answer": "1",
    }
    for i in range(4)
  ],
  "piqa": [row | {"goal": f"Goal {i}?"} for i, row in enumerate(PIQA * 2)],
  "boolq": [row | {"passage": f"Text {i}."} for i in range(2) for row in BOOLQ],
  "cb": [row | {"premise": f"Word {i}."} for i, row in enumerate(CB * 2)],
  "copa": [row | {"premise": f"Thing {i}."} for i in range(2) for row in COPA],
}
ROWS = {
  "storycloze_2016": STORY,
  "hellaswag": HELLASWAG,
  "wsc273": WINOGRAD,
  "winogrande": WINOGRANDE,
  "piqa": PIQA,
  "boolq": BOOLQ,
  "cb": CB,
  "copa": COPA,
}

_ADA = (
  "Ada had a kite. She took it up a hill. The wind was strong. She let go of"
  " the string."
)
_BEN = (
  "Ben was hungry. He looked for bread. There was none. He put on his coat."
)
_SINK = "Washing dishes: A man stands at a sink. He"
_TREE = "Gardening: How to plant a tree. Dig a hole. The hole"
_SUN = (
  "The Sun -- The sun is the star in the middle.\n"
  "Question: is the sun a star?\nAnswer:"
)
_FISH = "Fish live in the sea.\nQuestion: do fish fly to the moon?\nAnswer:"
_RAIN = (
  "A: It rained. B: Yes, I got wet.\n"
  "Question: it rained. True, False, or Neither?\nAnswer:"
)
_COME = (
  "She did not say that he had come.\n"
  "Question: he had come. True, False, or Neither?\nAnswer:"
)
_BLUE = (
  "Nobody thinks that the cat is blue.\n"
  "Question: the cat is blue. True, False, or Neither?\nAnswer:"
)


def _each(context, *continuations):
  return [(context, f" {text}") for text in continuations]


def _both(continuation, *contexts):
  return [(text, f" {continuation}") for text in contexts]


# For each row: what is compared, and the true one.
ASKED = {
  "storycloze_2016": [
    (_each(_ADA, "The kite flew away.", "The kite was a sandwich."), 0),
    (
      _each(
        _BEN,
        "He fell asleep in the sea.",
        "He went to the baker's shop, which was open.",
      ),
      1,
    ),
  ],
  "hellaswag": [
    (
      _each(
        _SINK,
        "turns the water on.",
        "flies off into the blue sky.",
        "is a plate.",
        "sings to the moon for hours and hours.",
      ),
      0,
    ),
    (
      _each(
        _TREE,
        "reads a book.",
        "has a red car.",
        "is as deep as the pot that the tree came in.",
        " Wait.",
      ),
      2,
    ),
  ],
  "wsc273": [
    (
      _both(
        " was too large.",
        "The cup did not fit the box because the cup",
        "The cup did not fit the box because the box",
      ),
      0,
    ),
    (
      _both(
        " had given it.",
        "Joan thanked Susan for the help. Joan",
        "Joan thanked Susan for the help. Susan",
      ),
      1,
    ),
    (
      _both(
        " hat.",
        "The king lost to the cook and gave the king's",
        "The king lost to the cook and gave the cook's",
      ),
      0,
    ),
  ],
  "winogrande": [
    (
      _both(
        "had sold the car.",
        "Ann paid Sue because Ann",
        "Ann paid Sue because Sue",
      ),
      1,
    ),
    (
      _both(
        "was hard.",
        "The ball broke the glass as the ball",
        "The ball broke the glass as the glass",
      ),
      0,
    ),
  ],
  "piqa": [
    (
      _each(
        "Question: How do you cool soup?\nAnswer:",
        "Blow on it.",
        "Set it on the stove and turn the flame up high.",
      ),
      0,
    ),
    (
      _each(
        "Question: To dry a shirt,\nAnswer:",
        "pour water on it.",
        "hang it in the sun on a line for a few hours.",
      ),
      1,
    ),
    (_each("Question: Open a door\nAnswer:", "Push.", "Sing."), 0),
  ],
  "boolq": [(_each(_SUN, "no", "yes"), 1), (_each(_FISH, "no", "yes"), 0)],
  "cb": [
    (_each(_RAIN, "True", "False", "Neither"), 0),
    (_each(_COME, "True", "False", "Neither"), 2),
    (_each(_BLUE, "True", "False", "Neither"), 1),
  ],
  "copa": [
    (
      _each(
        "The man fell because", " the floor was wet.", " the sky was blue."
      ),
      0,
    ),
    (
      _each(
        "The girl dropped the cup therefore", " she grew wings.", " it broke."
      ),
      1,
    ),
  ],
}


def write(folder, shots=True):
  """Writes all tasks' files as `evals.language_tasks` looks for them."""
  for name, rows in ROWS.items():
    asked = "test" if name in ("storycloze_2016", "wsc273") else "validation"
    train = "validation" if name == "storycloze_2016" else "train"
    splits = {asked: rows}
    if shots and name in SHOTS:
      splits[train] = SHOTS[name]
    (folder / name).mkdir(parents=True)
    for split, some in splits.items():
      (folder / name / f"{split}.jsonl").write_text(
        "".join(f"{json.dumps(row)}\n" for row in some)
      )
  return folder

"""Examples of recipes as the tables in their docstrings have them."""

import inspect

from kosmos2_jax.input import packing, shuffling, text_ops

PICTURE = b"picture"


def run(recipe, example, context, key=0):
  """What the ops of a recipe make of an example."""
  example = text_ops.start(example, shuffling.example_random(key))
  for op in recipe:
    example = op(example, context)
  return example


def documented(recipe):
  """The columns (token, target, counts) of the table in a docstring."""
  rows = {"tokens": [], "targets": [], "mask": []}
  for line in inspect.getdoc(recipe).splitlines():
    name, *cells = line.split() or [""]
    if line.startswith("    ") and name in rows:
      rows[name] += cells
  return list(zip(*rows.values(), strict=True))


def columns(document, tokenizer):
  """The columns of a document, words in one column whatever their tokens."""
  row = packing.make_row(document)
  vocab = tokenizer.vocab
  names = {
    vocab.bos_id: "<s>",
    vocab.eos_id: "</s>",
    vocab.line_id: "</line>",
    vocab.image_end_id: "</i>",
    vocab.grounding_id: "<g>",
    vocab.phrase_id: "<p>",
    vocab.phrase_end_id: "</p>",
    vocab.object_id: "<o>",
    vocab.object_end_id: "</o>",
    vocab.delimiter_id: "<d>",
  }

  def label(token_id, before, is_slot):
    if token_id == vocab.image_id:
      return "_" if is_slot else "<i>"
    if token_id in names:
      return names[token_id]
    if vocab.is_location(token_id):
      return f"@{vocab.bin_of(token_id)}"
    # The text behind another token keeps the space that begins a word.
    text = tokenizer.decode([*before, token_id])
    return text[len(tokenizer.decode(before)) :] if before else " " + text

  # Every token with its label; words grow while no space begins one.
  ids, slots = list(document.ids), list(document.slots)
  words, word_of, run_ids = [], [], []
  for token_id, is_slot in zip(ids, slots, strict=True):
    text = label(token_id, run_ids, is_slot)
    special = vocab.is_special(token_id) or token_id in names
    run_ids = [] if special else [*run_ids, token_id]
    if special or len(run_ids) == 1 or text.startswith(" ") or not words:
      words.append(text.strip())
    else:
      words[-1] += text
    word_of.append(len(words) - 1)
  # A word's target is the next word, its mask that of its last token.
  result = []
  counts = row["loss_mask"].tolist()
  for i in range(len(ids) - 1):
    assert row["tokens"][i] == ids[i]
    assert row["targets"][i] == ids[i + 1]
    assert row["image_mask"][i] == slots[i]
    if word_of[i] == word_of[i + 1]:
      # Inside of a word: all of it counts, or nothing.
      before = document.predicted[i]
      assert counts[i] == before
      continue
    target = words[word_of[i + 1]]
    result.append((words[word_of[i]], target, "T" if counts[i] else "."))
  return result

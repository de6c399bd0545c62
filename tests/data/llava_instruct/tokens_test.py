"""From LLaVA's file to what the model sees: who speaks, and what tags do."""

import json

import numpy as np

import data as datasets
from kosmos2_jax.input import pipeline
from kosmos2_jax.text.tokenizer import Tokenizer


def test_words_count_answers_and_tags_stay_words(maker, tmp_path):
  (tmp_path / "pictures").mkdir()
  (tmp_path / "pictures" / "a.jpg").write_bytes(maker.jpeg())
  said = [
    {"from": "human", "value": "<image>\nA <grounding> or a </image>?"},
    {"from": "gpt", "value": "a red <patch_index_0001> circle"},
  ]
  path = tmp_path / "llava.json"
  path.write_text(
    json.dumps([{"id": "1", "image": "a.jpg", "conversations": said}])
  )
  options = {"conversations": str(path), "pictures": str(tmp_path / "pictures")}
  tokenizer = Tokenizer.small(num_bins=4)
  kinds = [
    {
      "name": "instruction",
      "dataset": "llava_instruct",
      "split": "train",
      "recipe": "instruction",
      "per_step": 1,
      "options": {},
    }
  ]
  load = datasets.loader(tmp_path / "out", {"llava_instruct": options})
  stream = pipeline.make_stream(
    pipeline.make_kinds(kinds, load),
    tokenizer=tokenizer,
    image_size=16,
    num_latents=2,
    seq_len=120,
  )
  batch = next(stream)
  stream.close()
  tokens, targets = batch["tokens"][0], batch["targets"][0]
  special = [t for t in tokens.tolist() if t >= tokenizer.vocab.mask_id]
  vocab = tokenizer.vocab
  slots = [vocab.image_id] * 3
  assert special[:4] == [*slots, vocab.image_end_id]
  # No other special token, however much the words look like them.
  assert set(special) <= {vocab.image_id, vocab.image_end_id}
  assert len(special) == 4
  counted = targets[np.asarray(batch["loss_mask"][0])].tolist()
  assert counted[-1] == vocab.eos_id
  assert tokenizer.decode(counted[:-1]) == "a red <patch_index_0001> circle"

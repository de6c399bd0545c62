"""Ids that were kept are remembered, however many."""

from data.building import seen_ids


def test_ids_are_remembered_when_merged(monkeypatch):
  monkeypatch.setattr(seen_ids, "RECENT_IDS", 4)
  seen = seen_ids.SeenIds()
  for i in range(0, 100, 2):
    seen.add(str(i))
  assert [i for i in range(100) if str(i) in seen] == list(range(0, 100, 2))
  assert len(seen._recent) < 4

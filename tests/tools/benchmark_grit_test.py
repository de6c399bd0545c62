"""What is measured of building GrIT."""

import json

import pytest

from kosmos2_jax.tools import benchmark_grit

pytest.importorskip("spacy", reason="needs the extra `grit`")
pytest.importorskip("py3langid", reason="needs the extra `grit`")


@pytest.mark.slow
def test_speed_and_memory(monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(benchmark_grit, "UNIT", 20)
  monkeypatch.setattr(benchmark_grit.os, "environ", {})
  output = tmp_path / "found.json"
  flags = ["--captions=40", "--repeats=1", "--memory_captions=40"]
  arguments = ["benchmark_grit", *flags, f"--output={output}"]
  assert benchmark_grit.main(arguments) == 0
  found = json.loads(output.read_text())
  [speed] = found["speed"]
  assert speed["captions_per_second"] > 0
  assert speed["captions_per_second_of_processor"] > 0
  assert sum(speed["share"].values()) == pytest.approx(1, abs=0.01)
  assert [captions for captions, _ in found["memory"]] == [20, 40]
  assert "40 captions: " in capsys.readouterr().out


def test_every_caption_is_another():
  found = {benchmark_grit.caption(number) for number in range(3000)}
  assert len(found) == 3000


def test_a_mistake(capsys):
  assert benchmark_grit.main(["benchmark_grit", "--repeats=x"]) == 2
  assert capsys.readouterr().err.startswith("benchmark_grit: ")

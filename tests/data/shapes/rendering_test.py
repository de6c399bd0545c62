"""Records do not depend on how many processes render them."""

import io

import numpy as np
import pytest
from PIL import Image

from data.shapes import rendering, scenes

_REQUEST = rendering.Request("validation", 3, 1, 4, 32)


def test_png_is_exact():
  image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
  with Image.open(io.BytesIO(rendering.encode_png(image))) as decoded:
    decoded.load()
    assert decoded.format == "PNG"
    assert decoded.mode == "RGB"
    assert np.array_equal(decoded, image)


def test_a_record_is_its_scene():
  record = rendering.render(_REQUEST, 4)
  scene = scenes.sample_scene(3, 4, split="validation", image_size=32)
  assert record["id"] == "validation_0000004"
  assert record["caption"] == scene.caption
  assert np.array_equal(Image.open(io.BytesIO(record["image"])), scene.image)
  assert record["ref_exps"]["end"] == [span.end for span in scene.ref_exps]
  assert list(zip(*record["expressions"].values(), strict=True)) == list(
    scene.expressions
  )


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_processes_change_nothing(num_workers):
  count = 300  # Two chunks and a part of one.
  alone = list(rendering.render_all(_REQUEST, count, num_workers=0))
  together = rendering.render_all(_REQUEST, count, num_workers=num_workers)
  assert list(together) == alone
  assert len(alone) == count


def test_a_process_that_dies_is_noticed():
  request = rendering.Request("no_such_split", 3, 1, 4, 32)
  with pytest.raises(
    RuntimeError, match=r"no_such_split.*code 1 before scene 0"
  ):
    list(rendering.render_all(request, 300, num_workers=2))


def test_an_abandoned_rendering_ends_its_processes(monkeypatch):
  started = []
  popen = rendering.subprocess.Popen

  def remember(*args, **kwargs):
    started.append(popen(*args, **kwargs))
    return started[-1]

  monkeypatch.setattr(rendering.subprocess, "Popen", remember)
  records = rendering.render_all(_REQUEST, 100_000, num_workers=2)
  next(records)
  records.close()
  assert [process.poll() for process in started] == [-9, -9]

"""The tutorial runs from top to bottom, and is committed without outputs."""

import pathlib

import pytest

nbformat = pytest.importorskip(
  "nbformat", reason="nbformat of the extra notebook is missing"
)

PATH = pathlib.Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
# Five minutes are promised; a cell that hangs is no cell that is slow.
CELL_SECONDS = 1200


def test_it_is_committed_without_outputs():
  for cell in nbformat.read(PATH, as_version=4).cells:
    if cell.cell_type == "code":
      assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
  nbclient = pytest.importorskip(
    "nbclient", reason="nbclient of the extra notebook is missing"
  )
  pytest.importorskip("ipykernel", reason="ipykernel is missing")
  monkeypatch.setenv("TMPDIR", str(tmp_path))
  monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
  monkeypatch.setenv("HF_HUB_OFFLINE", "1")
  notebook = nbformat.read(PATH, as_version=4)
  nbclient.NotebookClient(
    notebook,
    timeout=CELL_SECONDS,
    resources={"metadata": {"path": str(PATH.parent)}},
  ).execute()
  [picture] = [
    output
    for cell in notebook.cells
    if cell.cell_type == "code"
    for output in cell.outputs
    if "image/png" in output.get("data", {})
  ]
  assert len(picture["data"]["image/png"]) > 1000
  assert notebook.cells[-2].outputs[-1]["data"]["text/plain"] == "True"

"""The notebook of experiments/real_features runs, and shows what it showed when it was committed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "experiments/real_features"


@pytest.mark.slow
def test_the_notebook_runs_and_says_the_same() -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(FOLDER / "notebook.ipynb", as_version=4)
    before = said(notebook)
    assert len(before) >= 7
    done = client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    assert said(done) == before


def said(notebook: dict) -> list[str]:
    """The text of every output; of pictures only that there is one."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = data.get("text/html") or data.get("text/plain") or output.get("text", "")
            found.append(("picture " if "image/png" in data else "") + re.sub(r"0x[0-9a-f]+", "", text))
    return found

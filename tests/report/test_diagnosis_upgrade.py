"""Diagnoses of the first version are read, and every renderer shows them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.errors import InputError
from manifold_probe.report.document import read_result
from manifold_probe.report.records import DiagnosisDocument
from manifold_probe.report.typed import mismatch
from tests.report.diagnoses import BROKEN

STEP = {"value": 0.3, "low": 0.28, "high": 0.32, "gain": 0.0}
OLD: dict[str, Any] = {
    "schema": "manifold-probe/diagnosis/1",
    "verdict": "Healthy: 48% of each point's nearest neighbours are kept, and no cause of loss stands out.",
    "causes": [
        {
            "name": name,
            "confidence": confidence,
            "share": share,
            "evidence": [{"measure": "overlap@10 inside", "value": 0.21, "expected": 0.71}],
            "repair": repair,
            "where": {"count": 2, "rows": [1, 2]},
            "advice": "Look at these rows.",
            "or": ["quantisation"],
        }
        for name, confidence, share, repair in (
            (
                "outliers",
                0.93,
                -0.1,
                {
                    "name": "left out",
                    "measure": "debiased_linear_cka",
                    "before": 0.2,
                    "after": 0.9,
                    "low": 0.8,
                    "high": 0.95,
                    "healthy_gain": 0.0,
                },
            ),
            ("noise", 0.7, None, None),
        )
    ],
    "benign": [{"name": "global_scale", "value": 3.4, "note": "longer by one factor"}],
    "ladder": [{"repair": name, "measures": {"overlap@10": STEP}} for name in ("identity", "ridge")],
    "not_assessed": [{"name": "overfit", "why": "no ids"}],
    "examined": {"rows": 1000, "of": 2000, "labels": False, "overlap": 0.48},
    **{name: BROKEN[name] for name in ("inputs", "pairing", "settings", "provenance")},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "old.json").write_text(json.dumps(OLD))
    return tmp_path / "old.json"


def test_it_is_read_in_the_form_of_today(file: Path) -> None:
    made = read_result(file)
    assert made is not None
    assert mismatch(made, DiagnosisDocument) is None
    assert [(each["status"], each["share"], each["words"]) for each in made["causes"]] == [
        ("proved", 0.0, "outliers"),
        ("suspected", None, "noise"),
    ]
    assert (made["accounting"], made["accounting_cka"], made["measures"], made["held_out"]) == ([], [], {}, {})
    assert made["ladder"] == OLD["ladder"]
    assert made["verdict"].startswith("No specific fault found: 48%")
    assert json.loads(file.read_text()) == OLD


def test_every_renderer_works_with_it(file: Path, tmp_path: Path) -> None:
    made = mp.load(file)
    text = made.summary()
    assert "linear map" in text
    assert "Where the loss went" not in text
    assert re.search("status +suspected", text)
    made.to_html(tmp_path / "old.html")
    assert "Where the loss went" not in (tmp_path / "old.html").read_text()
    assert set(made.figures()) == {"causes", "ladder"}
    for suffix in (".csv", ".parquet", ".md"):
        made.to_table(tmp_path / f"old{suffix}")
    assert "Outliers" in made._repr_html_()
    assert len(made.to_frame()) == 5
    made.save(tmp_path / "new.json")
    assert mp.load(tmp_path / "new.json").to_dict() == made.to_dict()


def test_the_command_line_draws_it(file: Path, tmp_path: Path) -> None:
    arguments = ["figures", str(file), "--out", str(tmp_path / "f"), "--report", str(tmp_path / "r.html")]
    assert cli.run([*arguments, "--table", str(tmp_path / "t.md")]) == 0
    assert sorted({each.stem for each in (tmp_path / "f").iterdir()}) == ["captions", "causes", "ladder"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ladder": []}, "'ladder' is empty"),
        ({"causes": [{**OLD["causes"][0], "confidence": 7}]}, "a 'confidence' is not between 0 and 1"),
        ({"examined": None}, "'examined' is not an object"),
    ],
)
def test_a_damaged_one_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps({**copy.deepcopy(OLD), **change}))
    with pytest.raises(InputError, match=re.escape(words)):
        read_result(tmp_path / "d.json")

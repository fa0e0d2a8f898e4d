"""Diagnoses made by hand: a broken student, a faithful one, one without a specific fault, one in another order."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.diagnosis.verdict import verdict
from manifold_probe.report.diagnosis.words import RUNGS
from manifold_probe.report.document import DIAGNOSIS
from manifold_probe.report.records import Findings
from manifold_probe.report.typed import names
from tests.report.hand import DIGEST

NAMES = (
    *("width", "rows_set_aside", "centre_scale_norms", "rotation"),
    *("linear_map", "nonlinear_map", "classes", "not_held"),
)
SENTENCES = {
    "width": "A student with more dimensions: the teacher's own first 384 components lose as much.",
    "rows_set_aside": "Leave out or pair again the 312 rows that are set aside.",
    "centre_scale_norms": "Subtract the student's mean before cosines are taken.",
    "rotation": "Rotate the student's features (--save-repair).",
    "linear_map": "Map the student linearly (--save-repair), or train with a loss that sees single dimensions.",
    "nonlinear_map": "Read the features before the last nonlinear layer, or map them back with a small network.",
    "classes": "Add examples of the classes boot and bag to the training data.",
    "not_held": "No map of these features wins it back: train longer, on more data, or a larger student.",
}
MODELS = "the models are not at hand: give --teacher and --student as models with --data"


def account(value: float, **parts: float) -> list[dict[str, Any]]:
    """Parts that add up to 1 - value: those that are given, and the rest that no map wins back."""
    rest = 1 - value - sum(parts.values())
    assert rest >= -1e-12
    shares = dict.fromkeys(NAMES, 0.0) | parts
    shares["not_held"] = max(shares.pop("not_held") + rest, 0.0)  # the last, after the parts that were split off it
    return [
        {
            "name": name,
            "share": share,
            "low": max(share - 0.011, 0.0) if share else 0.0,
            "high": share + 0.012 if share else 0.004,
            "sentence": SENTENCES.get(name, f"See {name}."),
        }
        for name, share in shares.items()
    ]


def measure(value: float, reference: float = 0.84, half: float = 0.004) -> dict[str, Any]:
    low, high = max(value - half, 0.0), min(value + half, 1.0)
    return {"value": value, "low": low, "high": high, "chance": 0.001, "reference": reference, "n": 5000}


def read(value: float, half: float) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "n": 2000}


def measures(overlap: float, cka: float, reference: float = 0.84) -> dict[str, Any]:
    return {
        "overlap@10": measure(overlap, reference),
        "overlap@10:euclidean": measure(0.9 * overlap, reference),
        "debiased_linear_cka": measure(cka, 0.99, 0.002),
    }


def cause(name: str, words: str, share: float | None = 0.4, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "words": words,
        "status": "proved",
        "share": share,
        "evidence": [{"measure": "overlap@10 inside these rows", "value": 0.021, "expected": 0.712}],
        "repair": {
            "name": "these rows left out",
            "kind": "undo",
            "measure": "held_out_overlap@10",
            "before": 0.402,
            "after": 0.648,
            "low": 0.641,
            "high": 0.655,
            "healthy_gain": 0.002,
            "z": 68.2,
            "n": 2188,
        },
        "where": {"count": 1200, "rows": list(range(1000)), "ids": [f"r{row}" for row in range(1000)]},
        "advice": "Look at the step that sorted or filtered these rows.",
        "falsified_by": "the pairs that their ids give have the same vectors as these.",
        "or": [],
        **more,
    }


MISALIGNED = cause(
    "row_misalignment",
    "rows are paired with the wrong partner",
    0.402,
    where={"count": 1200, "rows": [*range(4000, 5000)], "ids": [f"img_{row:05}.png" for row in range(4000, 5000)]},
    advice="Join the files by id again: these rows are paired with other rows' vectors.",
)
ROUNDED = cause(
    "quantisation",
    "values are rounded to few levels",
    0.11,
    status="suspected",
    evidence=[{"measure": "levels in the median dimension", "value": 15.0, "expected": 9871.0}],
    repair={
        **MISALIGNED["repair"],
        "name": "the teacher rounded to 15 levels",
        "kind": "inflict",
        "measure": "overlap@10",
        "before": 0.631,
        "after": 0.701,
        "low": 0.688,
        "high": 0.714,
    },
    where=None,
    advice="Store the vectors in a finer type, or calibrate the scale of each dimension.",
    falsified_by="two passes over the same rows give other values.",
    **{"or": ["noise", "saturation"]},
)
FAILED = cause(
    "slice_failure",
    "one slice failed alone",
    0.04,
    where={"count": 1, "slices": ["fr"]},
    repair={**MISALIGNED["repair"], "kind": "left out", "after": 0.426, "low": 0.421, "high": 0.431, "z": None},
)
OUTLIERS = cause(
    "outliers",
    "a few rows are far out and decide the shape",
    0.93,
    repair={
        **MISALIGNED["repair"],
        "measure": "debiased_linear_cka",
        "before": 0.26,
        "after": 0.97,
        "low": 0.95,
        "high": 0.99,
    },
    where={"count": 6, "rows": [3, 17, 203, 1011, 1900, 1999]},
)
ORDER = cause(
    "unaligned_rows",
    "rows are in an unknown order, or the two spaces have nothing in common",
    0.99,
    where={"count": 1, "orders": ["the student's rows are shifted by 1 (off by one)"]},
    repair={**MISALIGNED["repair"], "name": "rows paired in that order", "before": 0.002, "after": 0.87},
)


def within(diagnosis: dict[str, Any]) -> dict[str, Any]:
    """What a comparison holds of a diagnosis."""
    return {name: diagnosis[name] for name in names(Findings)}


def step(name: str, value: float | None, cka: float | None = 0.8) -> dict[str, Any]:
    near = {"value": value, "low": None, "high": None, "gain": None}
    if value is not None:
        near |= {"low": value - 0.02, "high": value + 0.02, "gain": value - 0.3}
    far = {"value": cka, "low": None, "high": None, "gain": None}
    keys = ("held_out_overlap@10", "held_out_overlap@10:euclidean", "held_out_debiased_linear_cka")
    return {"repair": name, "measures": dict(zip(keys, (near, near, far), strict=True))}


def document(overlap: float = 0.39, cka: float = 0.61, reference: float = 0.84, **more: Any) -> dict[str, Any]:
    """A diagnosis of a student at this overlap; its verdict is worked out from the rest."""
    sides = {
        side: {"name": side[0], "path": f"{side[0]}.pt", "sha256": DIGEST, "shape": [5000, d], "dtype": "float32"}
        for side, d in (("teacher", 512), ("student", 384))
    }
    made = {
        "schema": DIAGNOSIS,
        "verdict": "",
        "measures": measures(overlap, cka, reference),
        "accounting": account(overlap),
        "accounting_cka": account(cka),
        "held_out": {
            "held_out_overlap@10": {
                "value": overlap + 0.012,
                "low": overlap + 0.006,
                "high": overlap + 0.018,
                "n": 2000,
            },
            "held_out_debiased_linear_cka": {"value": cka, "low": cka - 0.004, "high": cka + 0.004, "n": 2000},
        },
        "causes": [],
        "benign": [],
        "ladder": [step(name, overlap + 0.02 * place) for place, name in enumerate(RUNGS)],
        "not_assessed": [{"name": name, "why": MODELS} for name in ("preprocessing", "misaligned_head")],
        "examined": {
            "rows": 2500,
            "of": 5000,
            "copies": 0,
            "labels": False,
            "set_aside": 0,
            "causes": {"tried": 21, "level": 0.01, "correction": "Bonferroni"},
        },
        "inputs": sides,
        "pairing": {"by": "id", "rows": 5000, "coverage": 0.5, "verified": True, "label_conflicts": 0},
        "settings": {"k": 10, "seed": 0, "classes": "k-means"},
        "provenance": {"versions": {"numpy": "2"}, "seed": 0, "platform": "x", "when": "now"},
        **more,
    }
    made["verdict"] = more.get("verdict") or verdict(made, made["measures"], 10, 384)
    return made


BROKEN = document(
    accounting=account(
        0.39,
        width=0.021,
        rows_set_aside=0.245,
        centre_scale_norms=0.013,
        linear_map=0.094,
        nonlinear_map=0.004,
        classes=0.018,
    ),
    accounting_cka=account(0.61, width=0.004, rows_set_aside=0.262, linear_map=0.071),
    causes=[MISALIGNED, ROUNDED, FAILED, OUTLIERS],
    benign=[
        {
            "name": "global_scale",
            "words": "one global scale",
            "value": 3.4,
            "note": "the student's vectors are all longer by one factor: scale them before both share an index",
        }
    ],
)
FAITHFUL = document(
    0.811, 0.984, accounting=account(0.811, width=0.158, linear_map=0.011), accounting_cka=account(0.984, width=0.009)
)
UNSPECIFIC = document(
    0.39,
    0.71,
    accounting=account(
        0.39,
        width=0.021,
        centre_scale_norms=0.006,
        linear_map=0.152,
        nonlinear_map=0.032,
        classes=0.017,
        underfit=0.203,
    ),
    accounting_cka=account(0.71, linear_map=0.1),
)
MAPPED = document(
    0.41, 0.6, accounting=account(0.41, width=0.16, linear_map=0.40), accounting_cka=account(0.6, linear_map=0.38)
)
UNALIGNED = document(
    0.002,
    0.001,
    accounting=[],
    accounting_cka=[],
    held_out={},
    causes=[ORDER],
    ladder=[step("identity", 0.002, None), step("reordered", 0.87, None)],
    not_assessed=[{"name": "all other causes", "why": "they can be assessed once rows are paired correctly"}],
)

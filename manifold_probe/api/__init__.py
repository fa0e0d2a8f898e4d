"""The verbs as functions, and their results: a file a verb.

The command line parses options and calls these. Nothing large is imported before a verb needs it.
"""

from manifold_probe.api.arguments import check_settings
from manifold_probe.api.comparison import compare, merged
from manifold_probe.api.diagnosis import diagnose
from manifold_probe.api.distillation import Distillation, compare_run, distill, plan_distillation
from manifold_probe.api.evaluation import evaluate
from manifold_probe.api.extraction import Extraction, extract
from manifold_probe.api.migration import migrate
from manifold_probe.api.results import (
    Comparison,
    Comparisons,
    Diagnosis,
    Evaluation,
    Evaluations,
    Migration,
    load,
    of_document,
)

__all__ = [
    "Comparison",
    "Comparisons",
    "Diagnosis",
    "Distillation",
    "Evaluation",
    "Evaluations",
    "Extraction",
    "Migration",
    "check_settings",
    "compare",
    "compare_run",
    "diagnose",
    "distill",
    "evaluate",
    "extract",
    "load",
    "merged",
    "migrate",
    "of_document",
    "plan_distillation",
]

"""The kinds of table that a diagnosis is written as."""

from __future__ import annotations

from manifold_probe.report.diagnosis.result import Diagnosis

check_table = Diagnosis.check_table

"""The report as one offline web page: no script, no request, readable on a phone, in the dark and on paper."""

from manifold_probe.report.page.page import render

__all__ = ["render"]

"""The report as one offline web page: no request, readable without its script, on a phone, in the dark and on paper."""

from manifold_probe.report.page.page import render

__all__ = ["render"]

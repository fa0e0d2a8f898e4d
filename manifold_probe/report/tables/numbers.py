"""One format for every number that a table or a figure prints."""

from __future__ import annotations


def number(value: float | None) -> str:
    """Three decimals, fewer for large values; what is not quite 0 or 1 is written so.

    >>> number(0.1612), number(345.2), number(-6e-05), number(6e-05), number(0.99988), number(1.0), number(None)
    ('0.161', '345', '0.000', '<0.001', '>0.999', '1.000', '-')
    """
    if value is None:
        return "-"
    if 1e-12 < value < 0.0005:
        return "<0.001"
    if 0.9995 <= value < 1 - 1e-7:
        return ">0.999"
    return rounded(value)


def rounded(value: float) -> str:
    """The same without signs, as for the ends of an interval.

    >>> rounded(0.99988), rounded(12.34), rounded(-1.5e9)
    ('1.000', '12.3', '-1.5e+09')
    """
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}" if size < 1e7 else f"{value:.2g}"
    text = f"{value:.1f}" if size >= 9.9995 else f"{value:.3f}"
    return text.removeprefix("-") if text == "-0.000" else text

r"""Any text as LaTeX in plain ASCII, for pdflatex with no package but those of every format.

Latin letters with accents, Greek and common signs are set as they are; what pdflatex has no letter for (Chinese, emoji,
control characters, marks of direction) is spelt out as ``\u4e2d``, so that it shows and nothing breaks.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple


class Symbol(NamedTuple):
    """LaTeX for one character, and how many characters wide it is printed."""

    code: str
    width: int


# Quotes and hyphens by number or apart, so that two of them join to nothing else and babel's shorthands stay out;
# brackets and stars in braces, so that no row break before them takes them for its option.
SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "'": r"\char39{}",
    "`": r"\char96{}",
    "-": "-{}",
    ",": ",{}",
    "?": "?{}",
    "!": "!{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "\N{LATIN SMALL LETTER DOTLESS I}": r"\i{}",
    "§": r"\S{}",
    "\N{EN DASH}": r"\textendash{}",
    "\N{EM DASH}": r"\textemdash{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{LEFT SINGLE QUOTATION MARK}": r"\char96{}",
    "\N{RIGHT SINGLE QUOTATION MARK}": r"\char39{}",
    "\N{LEFT DOUBLE QUOTATION MARK}": r"\textquotedblleft{}",
    "\N{RIGHT DOUBLE QUOTATION MARK}": r"\char34{}",
    "²": "$^{2}$",
    "³": "$^{3}$",
    "°": r"$^{\circ}$",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
}
ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
    "\u0331": "b",
}
MATH_ACCENTS = {"\u0300": "grave", "\u0301": "acute", "\u0308": "ddot"}
BELOW = "\u0323\u0327\u0331"
DOTLESS = {"i": r"\i", "j": r"\j"}
CAPITALS = "A B Gamma Delta E Z H Theta I K Lambda M N Xi O Pi P - Sigma T Y Phi X Psi Omega"
SMALL = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi o pi rho varsigma sigma tau upsilon phi "
    "chi psi omega"
)
GREEK = {
    chr(start + place): name
    for start, names in ((0x391, CAPITALS), (0x3B1, SMALL))
    for place, name in enumerate(names.split())
}


def symbols(text: str) -> list[Symbol]:
    r"""The characters of a text, each with its LaTeX.

    >>> "".join(symbol.code for symbol in symbols("50% of é and 中"))
    "50\\% of \\'{e} and \\textbackslash{}u4e2d"
    """
    return [_symbol(character) for character in unicodedata.normalize("NFC", text)]


def escaped(text: str) -> str:
    r"""A text as LaTeX.

    >>> print(escaped("a_b & c"))
    a\_b \& c
    """
    return joined(symbols(text))


def joined(line: list[Symbol]) -> str:
    r"""Symbols as text, without the empty groups that separate nothing.

    >>> joined(symbols("k-NN, n--m"))
    'k-NN, n-{}-m'
    """
    return re.sub(r"([-,?!])\{\}(?=[ A-Za-z0-9]|$)", r"\1", "".join(symbol.code for symbol in line))


def _symbol(character: str) -> Symbol:
    if character in SIGNS:
        return Symbol(SIGNS[character], 1)
    if " " <= character <= "~":
        return Symbol(character, 1)
    code = _letter(character)
    if code:
        return Symbol(code, 1)
    spelt = character.encode("unicode_escape").decode()
    return Symbol(spelt.replace("\\", SIGNS["\\"]), len(spelt))


def _letter(character: str) -> str:
    """A Latin or Greek letter with one accent or none; the encoding every pdflatex has stacks no two."""
    parts = unicodedata.normalize("NFD", character)
    name, mark = GREEK.get(parts[0], parts[0]), parts[1:]
    if len(name) > 1:
        known = mark in MATH_ACCENTS or not mark
        return (rf"$\{MATH_ACCENTS[mark]}{{\{name}}}$" if mark else rf"$\{name}$") if known else ""
    if not (name.isascii() and name.isalpha()) or (mark and mark not in ACCENTS):
        return ""
    return rf"\{ACCENTS[mark]}{{{DOTLESS.get(name, name) if mark not in BELOW else name}}}" if mark else name

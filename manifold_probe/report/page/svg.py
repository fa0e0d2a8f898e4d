"""A figure's SVG as a part of a page: nothing in it can clash with another one, and its colours follow the page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from markupsafe import Markup

from manifold_probe.report.page.colours import PROPERTIES

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
REFERENCE = re.compile(r"url\(#([^)]*)\)")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
FONT = re.compile(r"(font-family: |font: [^;]*?px )[^;]*")
DECIMALS = re.compile(r"(-?\d+\.\d\d)\d+")
ROUNDED = ("d", "x", "y", "width", "height", "points")  # two decimals of a point are far below a pixel


def inline(text: str, name: str, label: str) -> Markup:
    """The SVG element to stand in the page.

    Parameters
    ----------
    text : str
        A whole SVG file, as Matplotlib writes it.
    name : str
        Opens every id, so that no two figures share one.
    label : str
        What a screen reader says in place of the drawing.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            # a style element would reach out of the figure, over the whole page
            if child.tag in (f"{SVG}metadata", f"{SVG}style") or not isinstance(child.tag, str):
                parent.remove(child)
    _rename(root, name)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        if element.tag not in ("text", "tspan"):  # indentation
            element.text = None
        element.tail = None if element.tag != "tspan" else element.tail
        for key, value in element.attrib.items():
            element.attrib[key] = _adapted(key, value)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label, "class": "figure"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _rename(root: ElementTree.Element, name: str) -> None:
    """Number the ids that something refers to, in the order of the file, and drop the others."""
    referred = set()
    for element in root.iter():
        if HREF in element.attrib:
            element.attrib["href"] = element.attrib.pop(HREF)
        referred.add(element.attrib.get("href", "").removeprefix("#"))
        for value in element.attrib.values():
            referred.update(REFERENCE.findall(value))
    new: dict[str, str] = {}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in referred:
            element.attrib["id"] = new[old] = f"{name}-{len(new) + 1}"
    for element in root.iter():
        target = element.attrib.get("href", "")
        if target.startswith("#"):
            element.attrib["href"] = f"#{new[target[1:]]}"
        for key, value in element.attrib.items():
            element.attrib[key] = REFERENCE.sub(lambda found: f"url(#{new[found[1]]})", value)


def _adapted(key: str, value: str) -> str:
    if key in ROUNDED:
        return DECIMALS.sub(r"\1", value)
    if key == "href":
        return value.replace(" ", "")  # line feeds within base64
    if key not in ("style", "fill", "stroke"):
        return value
    value = COLOUR.sub(lambda found: PROPERTIES.get(found[0].lower(), found[0]), value)
    return FONT.sub(r"\1var(--font)", value)

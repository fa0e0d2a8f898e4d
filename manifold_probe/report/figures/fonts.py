"""Which characters can be drawn: by the font that Matplotlib carries, or by one of the machine for other scripts."""

from __future__ import annotations

from functools import lru_cache

OWN = "DejaVu Sans"
OTHER_SCRIPTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "Noto Sans Devanagari",
    "Arial Unicode MS",
)


@lru_cache(maxsize=1)
def families() -> list[str]:
    """Font families in order of preference, only such as are installed."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [OWN, *(name for name in OTHER_SCRIPTS if name in installed)]


@lru_cache(maxsize=1)
def drawable() -> frozenset[int]:
    """Code points that one of the families has a glyph for."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(point for family in families() for point in get_font(findfont(family)).get_charmap())

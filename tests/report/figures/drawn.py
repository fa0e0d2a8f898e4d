"""What a test asks of a drawn figure: its texts, where they stand, and the data of its lines."""

from __future__ import annotations

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """Every text that is seen: not those of ticks outside the axes' range."""
    unseen = set()
    for axes in figure.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            seen = {id(tick) for tick in axis._update_ticks()}
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                if id(tick) not in seen:
                    unseen |= {tick.label1, tick.label2}
    found = [text for text in figure.findobj(Text) if text not in unseen and text.get_visible()]
    return [text for text in found if text.get_text().strip()]


def words(figure: Figure) -> list[str]:
    """What the texts say."""
    return [text.get_text() for text in texts(figure)]


def faults(figure: Figure) -> list[str]:
    """Texts that leave the sheet, or stand on each other."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts(figure)]
    width, height = figure.bbox.width, figure.bbox.height
    found = [
        f"{text!r} leaves the sheet"
        for text, box in boxes
        if min(box.x0, box.y0) < -0.5 or box.x1 > width + 0.5 or box.y1 > height + 0.5
    ]
    for (one, a), (other, b) in combinations(boxes, 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > 0.5 and down > 1.5:
            found.append(f"{one!r} stands on {other!r}")
    return found

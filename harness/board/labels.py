"""Places some twenty-five labels so that every one of them can be read."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
DISTANCES = (7, 14, 22, 32, 44, 58, 74, 92, 112)
"""Points between a mark and its label; the nearest free place is taken."""
CONNECTED_FROM = 22
MARK_RADIUS = 4


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> NDArray[np.float64]:
    """The positions nearest to the ascending `wanted` ones (least squares) that keep `gap` apart and within bounds."""
    steps = np.arange(len(wanted)) * gap
    return np.clip(isotonic_regression(np.asarray(wanted) - steps).x, low, high - steps[-1]) + steps


def annotate(axes: Axes, points: Sequence[tuple[float, float]], labels: Sequence[str], colours: Sequence[str]) -> None:
    """Writes each label beside its point, clear of other labels and marks; a thin line leads to one that had to move.

    It also leads to one that lies nearer to another point than to its own.

    Call it when the axes have their final size and limits: it measures in pixels.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure, so nothing can be measured")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = figure.dpi / 72
    inside = axes.get_window_extent()
    centres = [axes.transData.transform(point) for point in points]
    taken = [_box(x, y, 2 * MARK_RADIUS * pixels, 2 * MARK_RADIUS * pixels) for x, y in centres]
    for (x, y), label, colour in zip(centres, labels, colours, strict=True):
        text = axes.text(0, 0, label, color=colour, ha="center", va="center", transform=None, clip_on=False)
        size = text.get_window_extent(canvas.get_renderer())
        places = _places(x, y, size.width, size.height, pixels)
        free = ((box, far) for box, far in places if _fits(box, inside) and not any(box.overlaps(o) for o in taken))
        box, far = next(free, (_box(x, y, size.width, size.height), False))
        taken.append(box)
        middle = axes.transData.inverted().transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
        text.set_transform(axes.transData)
        text.set_position((float(middle[0]), float(middle[1])))
        if far or min(_gap(box, *centre) for centre in centres) < _gap(box, x, y):
            ends = axes.transData.inverted().transform([(x, y), _nearest(box, x, y)])
            axes.plot(ends[:, 0], ends[:, 1], color=colour, linewidth=0.5, alpha=0.6, zorder=1)


def _places(x: float, y: float, width: float, height: float, pixels: float) -> Iterator[tuple[Bbox, bool]]:
    """Boxes around (x, y), the nearest first, and whether a line should lead there."""
    for distance in DISTANCES:
        for right, up in DIRECTIONS:
            away = distance * pixels
            centre = x + right * (away + width / 2), y + up * (away + height / 2)
            yield _box(*centre, width, height), distance >= CONNECTED_FROM


def _nearest(box: Bbox, x: float, y: float) -> tuple[float, float]:
    """The place of the box that is nearest to (x, y)."""
    return float(np.clip(x, box.x0, box.x1)), float(np.clip(y, box.y0, box.y1))


def _gap(box: Bbox, x: float, y: float) -> float:
    return math.dist((x, y), _nearest(box, x, y))


def _box(x: float, y: float, width: float, height: float) -> Bbox:
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)


def _fits(box: Bbox, inside: Bbox) -> bool:
    return inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1

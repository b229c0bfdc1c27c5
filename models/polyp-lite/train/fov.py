"""The field of view of one frame as the product finds it (src/vision/fov), on a grid of cells.

A cell is lit where it is brighter than the frame's dark border, or less so and of another hue, and not part of a drawn
panel. The picture is the largest connected part of the lit cells, without what is thin.
"""

import cv2
import numpy as np

CELLS = 180  # along the longer side
DARKEST = 48  # luma of a border, at most
BORDER = 4  # luma by which border cells differ
BRIGHT, DIM, HUE = 12, 4, 10  # luma above the border, alone and with a hue apart
PANEL_SATURATION, PANEL_EVEN = 24, 2
TRIM = 0.15  # of the longest row or column: thinner ends are cut
LEAST_AREA, LEAST_FILL = 0.08, 0.4  # of the frame; of its own bounding box


def cells(rgb):
    """Per cell luma, blue and red difference (-127..127), from four points each; and the cell's side in pixels."""
    h, w = rgb.shape[:2]
    step = max(1, -(-max(h, w) // CELLS))
    at = lambda end, quarter: np.minimum(np.arange(-(-end // step)) * step + step * quarter // 4, end - 1)
    four = sum(rgb[np.ix_(at(h, y), at(w, x))].astype(np.int32) for y in (1, 3) for x in (1, 3))
    r, g, b = four[..., 0], four[..., 1], four[..., 2]
    return (77 * r + 150 * g + 29 * b) >> 10, (-43 * r - 85 * g + 128 * b) >> 10, (128 * r - 107 * g - 21 * b) >> 10, step


def border(luma, cb, cr):
    """Luma and hue of the dark border, from the darkest fiftieth of the frame's edge; None where it has none."""
    # The corners count twice, as in the product.
    edge = [np.concatenate([p[:, 0], p[:, -1], p[0], p[-1]]) for p in (luma, cb, cr)]
    dark = np.sort(edge[0], kind="stable")[len(edge[0]) // 50]
    if dark > DARKEST:
        return None
    near = edge[0] <= dark + BORDER
    median = lambda values: np.sort(values)[len(values) // 2]
    return dark, median(edge[1][near]), median(edge[2][near])


def lit_cells(luma, cb, cr):
    found = border(luma, cb, cr)
    if found is None:
        return None
    above = luma - found[0]
    apart = np.maximum(np.abs(cb - found[1]), np.abs(cr - found[2]))
    bright = (above >= BRIGHT) | ((above >= DIM) & (apart >= HUE))

    def even(axis, by):
        """As bright as the neighbour on this side; the frame's end is nobody's neighbour."""
        near = np.abs(np.diff(luma, axis=axis)) <= PANEL_EVEN
        ends = [(0, 0), (0, 0)]
        ends[axis] = (1, 0) if by < 0 else (0, 1)
        return np.pad(near, ends, constant_values=True)

    # A drawn panel is saturated, not red, and even with a neighbour across and one along.
    panel = (np.maximum(np.abs(cb), np.abs(cr)) >= PANEL_SATURATION) & (cr < 0)
    panel &= (even(1, -1) | even(1, 1)) & (even(0, -1) | even(0, 1))
    return bright & ~panel


def consolidate(lit):
    """Two thirds of the cells around must be lit."""
    count = cv2.boxFilter(lit.astype(np.float32), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    rows = np.full(len(lit), 3)
    rows[[0, -1]] -= 1
    solid = count >= (2 * rows)[:, None]
    for column in (0, -1):
        solid[:, column] = count[:, column] >= -(-4 * rows // 3)
    return solid


def extent(profile):
    """From where to where a profile is not thin, and one cell around."""
    kept = np.flatnonzero(profile >= max(1, int(np.ceil(profile.max() * TRIM))))
    return max(0, kept[0] - 1), min(kept[-1] + 2, len(profile))


def find_fov(rgb):
    """Bounding box (x0, y0, x1, y1) of the field of view; the whole frame where none is found."""
    h, w = rgb.shape[:2]
    luma, cb, cr, step = cells(rgb)
    lit = lit_cells(luma, cb, cr)
    if lit is None:
        return 0, 0, w, h
    n, labels, stats, _ = cv2.connectedComponentsWithStats(consolidate(lit).astype(np.uint8), connectivity=4)
    if n < 2:
        return 0, 0, w, h
    part = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    (top, bottom), (left, right) = extent(part.sum(1)), extent(part.sum(0))
    if part.sum() < LEAST_AREA * part.size or part.sum() < LEAST_FILL * (bottom - top) * (right - left):
        return 0, 0, w, h
    return int(left * step), int(top * step), int(min(right * step, w)), int(min(bottom * step, h))

"""What a training frame goes through: geometry, mixing between frames and hospitals, optics,
light, compression, and what consoles draw around the picture. One numpy generator per frame,
so an epoch is reproducible from its seed."""

import cv2
import numpy as np


def chance(rng, p):
    return rng.random() < p


def clip8(x):
    return np.clip(x, 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- geometry

def crop_window(rng, frame):
    """The field of view, imprecisely found; now and then the whole frame, or something between."""
    h, w = frame.image.shape[:2]
    box = np.array(frame.fov, np.float32)
    bw, bh = box[2] - box[0], box[3] - box[1]
    u = rng.random()
    if u < 0.62:
        box += rng.normal(0, 0.025, 4) * (bw, bh, bw, bh)
    elif u < 0.82:
        box[:] = (0, 0, w, h)
    else:
        t = rng.random(4)
        box = box * (1 - t) + np.array((0, 0, w, h)) * t
    x0, y0 = max(0, int(box[0])), max(0, int(box[1]))
    x1, y1 = min(w, int(np.ceil(box[2]))), min(h, int(np.ceil(box[3])))
    if x1 - x0 < 32 or y1 - y0 < 32:
        return 0, 0, w, h
    return x0, y0, x1, y1


def clean_window(rng, frame):
    """A part of the field of view that shows no polyp, so that every hospital has negatives."""
    x0, y0, x1, y1 = frame.fov
    fw, fh = x1 - x0, y1 - y0
    for _ in range(10):
        k = rng.uniform(0.4, 0.75)
        w, h = int(fw * min(1, k * rng.uniform(0.9, 1.15))), int(fh * min(1, k * rng.uniform(0.9, 1.15)))
        x = x0 + int(rng.random() * (fw - w))
        y = y0 + int(rng.random() * (fh - h))
        if w > 40 and h > 40 and not frame.mask[y:y + h, x:x + w].any():
            return x, y, x + w, y + h
    return None


def warp(rng, frame, width, height, clean=False):
    window = clean_window(rng, frame) if clean else None
    x0, y0, x1, y1 = window or crop_window(rng, frame)
    image, mask = frame.image[y0:y1, x0:x1], frame.mask[y0:y1, x0:x1]
    w, h = x1 - x0, y1 - y0
    fit = min(width / w, height / h)
    angle = rng.uniform(-180, 180) if chance(rng, 0.5) else rng.normal(0, 12)
    a = np.deg2rad(angle)
    scale = fit * np.exp(rng.normal(0.08, 0.2))
    stretch = np.exp(rng.normal(0, 0.08))
    shear = rng.normal(0, 0.05)
    flip_x = -1.0 if chance(rng, 0.5) else 1.0
    flip_y = -1.0 if chance(rng, 0.5) else 1.0
    m = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    m = m @ np.array([[1, shear], [0, 1]]) @ np.diag([flip_x * stretch * scale, flip_y / stretch * scale])
    centre = np.array([(w - 1) / 2, (h - 1) / 2])
    target = np.array([(width - 1) / 2, (height - 1) / 2])
    # keep the middle of the picture in view, and mostly its polyp
    target = target + rng.normal(0, 0.08, 2) * (width, height)
    matrix = np.hstack([m, (target - m @ centre)[:, None]])
    if scale < 0.6:
        k = 2 * scale
        small = (max(8, round(w * k)), max(8, round(h * k)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, small, interpolation=cv2.INTER_NEAREST)
        matrix[:, :2] = matrix[:, :2] @ np.diag([w / small[0], h / small[1]])
    image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    mask = cv2.warpAffine(mask * 255, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return image, (mask > 127).astype(np.uint8)


# ---------------------------------------------------------------- mixing

def colour_statistics(rng, image, own, other):
    """Move the Lab statistics of one frame towards those of another hospital's."""
    t = rng.uniform(0.3, 1.0)
    gain = np.clip(other[1] / own[1], 0.6, 1.6) ** t
    mean = own[0] * (1 - t) + other[0] * t
    x = np.arange(256, dtype=np.float32)
    table = np.stack([clip8((x - own[0][c]) * gain[c] + mean[c]) for c in range(3)], 1)
    dark = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) < 26
    lab = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), table[None])
    out = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    out[dark] = image[dark]
    return out


def low_frequencies(rng, image, other):
    """Take over part of another frame's coarse light and colour (a spatial kind of Fourier adaptation)."""
    h, w = image.shape[:2]
    cells = (int(rng.integers(2, 6)), int(rng.integers(2, 5)))
    a = cv2.resize(image, cells, interpolation=cv2.INTER_AREA).astype(np.float32)
    b = cv2.resize(other, cells, interpolation=cv2.INTER_AREA).astype(np.float32)
    delta = cv2.resize((b - a) * rng.uniform(0.3, 0.8), (w, h), interpolation=cv2.INTER_LINEAR)
    seen = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] >= 26
    return clip8(image + delta * seen)


def paste_polyps(rng, image, mask, other, other_mask):
    """Feathered copy of another frame's polyps, its colour moved halfway to the new surroundings."""
    k = int(rng.integers(3, 9)) * 2 + 1
    grown = cv2.dilate(other_mask, np.ones((k, k), np.uint8))
    area = grown.astype(bool)
    if not area.any() or area.mean() > 0.35:
        return image, mask
    inside = image[area]
    if (inside.max(1) < 30).mean() > 0.15:
        return image, mask
    ring = area & (other_mask == 0)
    shift = np.zeros(3, np.float32)
    if ring.any():
        shift = (image[ring].mean(0) - other[ring].mean(0)) * rng.uniform(0.4, 1.0)
    alpha = cv2.GaussianBlur(grown.astype(np.float32), (0, 0), k / 4)[..., None]
    mixed = image * (1 - alpha) + (other + shift) * alpha
    # a polyp of the old picture that the patch partly hides would be mislabelled: hide it fully or not at all
    both = mask.astype(bool) & area
    if both.any() and both.sum() < 0.9 * mask.sum():
        return image, mask
    new = np.where(area, other_mask, mask).astype(np.uint8)
    return clip8(mixed), new


def cut_mix(rng, image, mask, other, other_mask):
    h, w = mask.shape
    cw, ch = int(w * rng.uniform(0.25, 0.6)), int(h * rng.uniform(0.25, 0.6))
    x, y = int(rng.random() * (w - cw)), int(rng.random() * (h - ch))
    image[y:y + ch, x:x + cw] = other[y:y + ch, x:x + cw]
    mask[y:y + ch, x:x + cw] = other_mask[y:y + ch, x:x + cw]
    return image, mask


# ---------------------------------------------------------------- the picture's frame

def fov_shape(rng, image, mask):
    """Octagon, circle or rounded rectangle, as the scope's stop shows on the screen."""
    h, w = mask.shape
    keep = np.zeros((h, w), np.uint8)
    cx, cy = w / 2 + rng.normal(0, 0.04) * w, h / 2 + rng.normal(0, 0.04) * h
    rx, ry = w * rng.uniform(0.36, 0.52), h * rng.uniform(0.38, 0.54)
    kind = rng.integers(3)
    if kind == 0:
        c = rng.uniform(0.12, 0.42)
        pts = [(-1, -1 + c), (-1 + c, -1), (1 - c, -1), (1, -1 + c), (1, 1 - c), (1 - c, 1), (-1 + c, 1), (-1, 1 - c)]
        pts = np.array([(cx + px * rx, cy + py * ry) for px, py in pts], np.int32)
        cv2.fillPoly(keep, [pts], 1)
    elif kind == 1:
        cv2.ellipse(keep, (int(cx), int(cy)), (int(max(rx, ry) * 1.05), int(max(rx, ry) * rng.uniform(0.9, 1.05))), 0, 0, 360, 1, -1)
    else:
        r = int(min(rx, ry) * rng.uniform(0.1, 0.4))
        cv2.rectangle(keep, (int(cx - rx) + r, int(cy - ry) + r), (int(cx + rx) - r, int(cy + ry) - r), 1, -1)
        keep = cv2.dilate(keep, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)))
    level = int(rng.integers(0, 26)) if chance(rng, 0.4) else 0
    image[keep == 0] = level
    return image, mask * keep


GLYPHS = "0123456789:/.-ABCDEFGHIKLMNOPRSTUVXYZabcdehimnorstuvy"


def console(rng, image, mask):
    """Text, time stamps, position panels and thumbnails drawn by the console."""
    h, w = mask.shape
    kind = rng.random()
    if kind < 0.6:
        x, y = int(rng.random() * w * (0.25 if chance(rng, 0.6) else 0.8)), int(rng.uniform(0.05, 0.9) * h)
        size = rng.uniform(0.22, 0.5)
        colour = (int(rng.integers(170, 256)),) * 3
        for line in range(int(rng.integers(1, 7))):
            text = "".join(rng.choice(list(GLYPHS), int(rng.integers(3, 13))))
            cv2.putText(image, text, (x, y + int(line * size * 32)), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
    elif kind < 0.85:
        pw, ph = int(w * rng.uniform(0.12, 0.3)), int(h * rng.uniform(0.15, 0.4))
        x = 0 if chance(rng, 0.7) else w - pw
        y = h - ph if chance(rng, 0.7) else 0
        colour = [(45, 180, 140), (60, 90, 200), (30, 30, 30), (90, 90, 90)][int(rng.integers(4))]
        cv2.rectangle(image, (x, y), (x + pw, y + ph), colour, -1)
        pts = np.cumsum(rng.normal(0, pw * 0.12, (8, 2)), 0) + (x + pw / 2, y + ph / 2)
        cv2.polylines(image, [np.clip(pts, (x, y), (x + pw, y + ph)).astype(np.int32)], False, (20, 40, 40), 1, cv2.LINE_AA)
        mask[y:y + ph + 1, x:x + pw + 1] = 0
    else:
        k = rng.uniform(0.1, 0.2)
        pw, ph = int(w * k), int(h * k)
        x, y = (0 if chance(rng, 0.6) else w - pw), int(rng.random() * (h - ph))
        image[y:y + ph, x:x + pw] = cv2.resize(image, (pw, ph), interpolation=cv2.INTER_AREA)
        mask[y:y + ph, x:x + pw] = 0
    return image, mask


def cut_out(rng, image, mask):
    h, w = mask.shape
    for _ in range(int(rng.integers(1, 4))):
        cw, ch = int(w * rng.uniform(0.06, 0.25)), int(h * rng.uniform(0.06, 0.25))
        x, y = int(rng.random() * (w - cw)), int(rng.random() * (h - ch))
        fill = image.reshape(-1, 3)[rng.integers(h * w)] if chance(rng, 0.5) else rng.integers(0, 256, 3)
        image[y:y + ch, x:x + cw] = fill
        mask[y:y + ch, x:x + cw] = 0
    return image, mask


# ---------------------------------------------------------------- optics and light

def highlights(rng, image):
    """Specular reflections: small bright spots with a soft edge, in clusters along a line."""
    h, w = image.shape[:2]
    glow = np.zeros((h, w), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        p = rng.random(2) * (w, h)
        step = rng.normal(0, 0.03, 2) * (w, h)
        for _ in range(int(rng.integers(2, 12))):
            p = p + step * rng.uniform(0.3, 1.2) + rng.normal(0, 2, 2)
            axes = (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
            cv2.ellipse(glow, (int(p[0]), int(p[1])), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    glow = cv2.GaussianBlur(glow, (0, 0), rng.uniform(0.6, 1.6))
    seen = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) > 30
    return np.maximum(image, (glow * seen)[..., None])


def bubbles(rng, image):
    h, w = image.shape[:2]
    ring = np.zeros((h, w), np.float32)
    shade = np.zeros((h, w), np.float32)
    x0, y0 = rng.random(2) * (w, h)
    for _ in range(int(rng.integers(3, 16))):
        x, y = int(x0 + rng.normal(0, 0.12) * w), int(y0 + rng.normal(0, 0.12) * h)
        r = int(rng.integers(3, 15))
        cv2.circle(shade, (x, y), r, -rng.uniform(5, 25), -1)
        cv2.circle(ring, (x, y), r, rng.uniform(20, 70), 1, cv2.LINE_AA)
        cv2.circle(ring, (x - r // 3, y - r // 3), max(1, r // 5), rng.uniform(60, 140), -1)
    ring = cv2.GaussianBlur(ring, (0, 0), 0.7)
    return clip8(image + (ring + shade)[..., None])


def light(rng, image):
    """A brighter side and a darker side, or vignetting."""
    h, w = image.shape[:2]
    field = cv2.resize(np.exp(rng.normal(0, 0.3, (3, 3))).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    return clip8(image * field[..., None])


def colour(rng, image):
    """Brightness, contrast, gamma and white balance as one table per channel; then saturation and hue."""
    x = np.linspace(0, 1, 256, dtype=np.float32)
    gamma = np.exp(rng.normal(0, 0.22))
    gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.07, 3))
    lift = rng.normal(0, 0.025)
    table = np.stack([clip8(255 * (np.power(x, gamma) * g + lift)) for g in gain], 1)
    image = cv2.LUT(image, table[None])
    if chance(rng, 0.5):
        s = np.exp(rng.normal(0, 0.28))
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, s, grey, 1 - s, 0)
    if chance(rng, 0.35):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        turn = int(np.clip(rng.normal(0, 5), -14, 14))
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + turn) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if chance(rng, 0.03):
        image = image[..., rng.permutation(3)]
    return image


def optics(rng, image):
    u = rng.random()
    if u < 0.14:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.2))
    elif u < 0.22:
        n = int(rng.integers(3, 12))
        kernel = np.zeros((n, n), np.float32)
        a = rng.uniform(0, np.pi)
        c = (n - 1) / 2
        d = np.array([np.cos(a), np.sin(a)]) * c
        cv2.line(kernel, tuple(np.round(c - d).astype(int).tolist()), tuple(np.round(c + d).astype(int).tolist()), 1.0)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    elif u < 0.32:
        h, w = image.shape[:2]
        k = rng.uniform(0.35, 0.8)
        small = cv2.resize(image, (int(w * k), int(h * k)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    elif u < 0.40:
        soft = cv2.GaussianBlur(image, (0, 0), 1.5)
        k = rng.uniform(0.4, 1.5)
        image = cv2.addWeighted(image, 1 + k, soft, -k, 0)
    if chance(rng, 0.2):
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(noise, 0, float(rng.uniform(2, 14)))
        image = clip8(image + noise)
    if chance(rng, 0.3):
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 85))])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


# ---------------------------------------------------------------- all of it

def augment(rng, frames, i, width, height, others):
    """`others(rng, i)` names a frame of another hospital. Returns RGB uint8, the mask and its edge weights."""
    frame = frames[i]
    positive = bool(frame.mask.any())
    image, mask = warp(rng, frame, width, height, clean=positive and chance(rng, 0.13))
    image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)

    u = rng.random()
    if u < 0.26:
        j = others(rng, i)
        second, second_mask = warp(rng, frames[j], width, height)
        if u < 0.12:
            image, mask = paste_polyps(rng, image, mask, second, second_mask)
        elif u < 0.18:
            image, mask = cut_mix(rng, image, mask, second, second_mask)
        else:
            image = low_frequencies(rng, image, second)
    if chance(rng, 0.4):
        image = colour_statistics(rng, image, frame.lab, frames[others(rng, i)].lab)
    if chance(rng, 0.2):
        image = light(rng, image)
    if chance(rng, 0.2):
        image = highlights(rng, image)
    if chance(rng, 0.06):
        image = bubbles(rng, image)
    if chance(rng, 0.8):
        image = colour(rng, image)
    image = np.ascontiguousarray(image)
    if chance(rng, 0.2):
        image, mask = fov_shape(rng, image, mask)
    if chance(rng, 0.15):
        image, mask = console(rng, image, mask)
    if chance(rng, 0.12):
        image, mask = cut_out(rng, image, mask)
    image = optics(rng, image)

    soft = cv2.blur(mask.astype(np.float32), (31, 31), borderType=cv2.BORDER_REFLECT)
    edge = clip8(np.abs(soft - mask) * 255)
    return np.ascontiguousarray(image), mask, edge

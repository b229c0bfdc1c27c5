"""Frames on disk, and the letterbox that the product applies."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fov import find_fov

CENTRES = ("C1", "C2", "C3", "C4", "C5")


@dataclass
class Frame:
    name: str
    centre: str
    image: np.ndarray  # RGB, uint8
    mask: np.ndarray  # 0 or 1, uint8
    fov: tuple  # x0, y0, x1, y1
    lab: np.ndarray  # 2 x 3: mean and deviation of the field of view in CIE Lab


def read_rgb(path):
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"cannot read {path}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_mask(path):
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise ValueError(f"cannot read {path}")
    return (mask > 127).astype(np.uint8)


def letterbox(rgb, width, height):
    """Scale to fit, centre, pad with black. Returns the picture and (x, y, w, h) of its content."""
    h, w = rgb.shape[:2]
    s = min(width / w, height / h)
    nw, nh = max(1, round(w * s)), max(1, round(h * s))
    how = cv2.INTER_AREA if s < 1 else cv2.INTER_LINEAR
    out = np.zeros((height, width, 3), np.uint8)
    x, y = (width - nw) // 2, (height - nh) // 2
    out[y:y + nh, x:x + nw] = cv2.resize(rgb, (nw, nh), interpolation=how)
    return out, (x, y, nw, nh)


def lab_statistics(rgb, fov):
    x0, y0, x1, y1 = fov
    lab = cv2.cvtColor(rgb[y0:y1:4, x0:x1:4], cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)
    lab = lab[lab[:, 0] > 30]
    if len(lab) < 16:
        return np.array([[120, 140, 140], [50, 12, 12]], np.float32)
    return np.stack([lab.mean(0), lab.std(0) + 1e-3])


def pairs(folder):
    """Images of a folder with images/ and masks/, each with its mask: the file of the same stem."""
    folder = Path(folder)
    masks = {p.stem: p for p in (folder / "masks").iterdir() if not p.name.startswith(".")}
    images = sorted(p for p in (folder / "images").iterdir() if not p.name.startswith("."))
    if bare := [p.name for p in images if p.stem not in masks]:
        raise SystemExit(f"{folder / 'masks'}: {len(bare)} of {len(images)} images have no mask, {bare[0]} for one")
    return [(p, masks[p.stem]) for p in images]


def load_frame(image, mask, centre, side):
    stem, image, mask = image.stem, read_rgb(image), read_mask(mask)
    fov = find_fov(image)
    s = min(1.0, side / max(fov[2] - fov[0], fov[3] - fov[1]))
    if s < 1:
        h, w = image.shape[:2]
        size = (round(w * s), round(h * s))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask * 255, size, interpolation=cv2.INTER_AREA)
        mask = (mask > 127).astype(np.uint8)
        fx, fy = size[0] / w, size[1] / h
        fov = (int(fov[0] * fx), int(fov[1] * fy), int(np.ceil(fov[2] * fx)), int(np.ceil(fov[3] * fy)))
        fov = (fov[0], fov[1], min(fov[2], size[0]), min(fov[3], size[1]))
    return Frame(stem, centre, image, mask, fov, lab_statistics(image, fov))


def load_folder(folder, centre, side=448):
    """One folder with images/ and masks/, decoded once; the field of view is at most `side` pixels long."""
    return [load_frame(image, mask, centre, side) for image, mask in pairs(folder)]


def load_polypgen(root, centres=CENTRES, side=448):
    frames = []
    for centre in centres:
        frames += load_folder(Path(root) / "polypgen" / centre, centre, side)
    return frames

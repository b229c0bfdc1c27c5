"""Measure a package on a folder with images/ and masks/, the way the product uses it.

Rules. Dice and IoU: per frame at source resolution, after the manifest's thresholds, mean over
the frames that contain a polyp. Sensitivity: share of polyp frames with at least one finding that
shares a pixel with the ground truth. False-positive frames: share of frames without polyp that
report any finding. Intervals: 95 %, percentile bootstrap over frames, 2000 draws, seed 0.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from data import letterbox, pairs, read_mask, read_rgb
from fov import find_fov


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


class Package:
    def __init__(self, folder, threads=1):
        folder = Path(folder)
        self.manifest = json.loads((folder / "model.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(folder / self.manifest["artifact"]), options, providers=["CPUExecutionProvider"]
        )
        self.thresholds = dict(self.manifest["thresholds"])
        i = self.manifest["input"]
        self.width, self.height = i["width"], i["height"]
        self.mean = np.array(i["mean"], np.float32) * 255
        self.scale = 1 / (np.array(i["std"], np.float32) * 255)

    def probabilities(self, rgb, box):
        """Probability plane at the source's size (0 outside the box), and the frame score."""
        x0, y0, x1, y1 = box
        picture, (ox, oy, nw, nh) = letterbox(rgb[y0:y1, x0:x1], self.width, self.height)
        tensor = ((picture - self.mean) * self.scale).transpose(2, 0, 1)[None].astype(np.float32)
        logits, polyp = self.session.run(["mask", "polyp"], {"image": np.ascontiguousarray(tensor)})
        logits = logits[0, 0]
        w, h = x1 - x0, y1 - y0
        # pixel centres of the crop, in the logits' own coordinates
        gx = ((np.arange(w, dtype=np.float32) + 0.5) * (nw / w) + ox) * (logits.shape[1] / self.width) - 0.5
        gy = ((np.arange(h, dtype=np.float32) + 0.5) * (nh / h) + oy) * (logits.shape[0] / self.height) - 0.5
        mx, my = np.meshgrid(gx, gy)
        full = cv2.remap(logits, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        plane = np.zeros(rgb.shape[:2], np.float32)
        plane[y0:y1, x0:x1] = sigmoid(full)
        return plane, float(sigmoid(polyp.ravel()[0]))


def components(plane, box, threshold):
    """Connected components above the threshold: (label plane, [(label, score, share of the field of view)])."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats((plane > threshold).astype(np.uint8), connectivity=8)
    area = max(1, (box[2] - box[0]) * (box[3] - box[1]))
    found = []
    for k in range(1, n):
        x, y, w, h, size = stats[k]
        part = labels[y:y + h, x:x + w] == k
        found.append((k, float(plane[y:y + h, x:x + w][part].mean()), size / area))
    return labels, found


def measure(plane, score, box, truth, t):
    labels, found = components(plane, box, t["mask"])
    kept = [k for k, s, a in found if s >= t["score"] and a >= t["min_area"]] if score >= t["frame"] else []
    mask = np.isin(labels, kept) if kept else np.zeros(truth.shape, bool)
    truth = truth.astype(bool)
    both, total = int((mask & truth).sum()), int(mask.sum() + truth.sum())
    return {
        "polyp": bool(truth.any()), "frame_score": score, "findings": len(kept), "hit": both > 0,
        "dice": 2 * both / total if total else 1.0, "iou": both / (total - both) if total else 1.0,
        "truth_share": float(truth.mean()),
    }


def interval(values, seed=0, draws=2000):
    values = np.asarray(values, float)
    if len(values) == 0:
        return None
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return [round(float(values.mean()), 4), round(float(low), 4), round(float(high), 4)]


def summary(rows):
    polyps = [r for r in rows if r["polyp"]]
    clean = [r for r in rows if not r["polyp"]]
    return {
        "frames": len(rows), "polyp_frames": len(polyps), "clean_frames": len(clean),
        "dice": interval([r["dice"] for r in polyps]), "iou": interval([r["iou"] for r in polyps]),
        "sensitivity": interval([r["hit"] for r in polyps]),
        "false_positive_frames": interval([r["findings"] > 0 for r in clean]),
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="package folder with model.json")
    p.add_argument("--data", required=True, help="folder with images/ and masks/")
    p.add_argument("--crop", choices=["fov", "none", "both"], default="both")
    p.add_argument("--out", default="", help="write one JSON object per frame into this file")
    p.add_argument("--limit", type=int, default=0, help="only the first N frames")
    p.add_argument("--threads", type=int, default=1)
    for key in ("mask", "frame", "score", "min_area"):
        p.add_argument("--" + key.replace("_", "-"), type=float, help="instead of the manifest's threshold")
    args = p.parse_args()

    cv2.setNumThreads(1)
    package = Package(args.model, args.threads)
    for key in package.thresholds:
        if getattr(args, key, None) is not None:
            package.thresholds[key] = getattr(args, key)
    measured = pairs(args.data)[: args.limit or None]
    ways = ["fov", "none"] if args.crop == "both" else [args.crop]
    rows = {way: [] for way in ways}
    for path, annotation in measured:
        rgb, truth = read_rgb(path), read_mask(annotation)
        for way in ways:
            box = find_fov(rgb) if way == "fov" else (0, 0, rgb.shape[1], rgb.shape[0])
            plane, score = package.probabilities(rgb, box)
            rows[way].append({"name": path.stem, "crop": way, **measure(plane, score, box, truth, package.thresholds)})
    if args.out:
        Path(args.out).write_text("".join(json.dumps(r) + "\n" for way in ways for r in rows[way]))
    print(json.dumps({"thresholds": package.thresholds, **{way: summary(rows[way]) for way in ways}}, indent=2))


if __name__ == "__main__":
    main()

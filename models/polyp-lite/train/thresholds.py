"""What the thresholds `mask`, `frame` and `score` give on frames that the model has not seen.

    python thresholds.py --model FOLDER --data DATA/polypgen/C4 [--model … --data …] …

Each --model is followed by the --data folder of the centre that was held out when it was trained (see
`train.py --held-out`). Prints the mean over the folders of their Dice, then sensitivity over all frames with a polyp
and the share of all polyp-free frames that report anything, and names those of the best Dice that keep to
--false-positives; on the frames of --limit-model and --limit-data, in pairs as well, where those are given.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from data import pairs, read_mask, read_rgb
from evaluate import Package, components
from fov import find_fov

MASKS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SCORES = (0.5, 0.75, 0.8, 0.82, 0.84, 0.86, 0.88, 0.9)
FRAMES = tuple(i / 20 for i in range(20))


def rows(package, folder):
    """Per frame: its score, and per `mask` and `score` (Dice, touches the polyp, any finding), whatever `frame` is."""
    for path, annotation in pairs(folder):
        rgb, truth = read_rgb(path), read_mask(annotation).astype(bool)
        box = find_fov(rgb)
        plane, score = package.probabilities(rgb, box)
        found = []
        for threshold in MASKS:
            labels, parts = components(plane, box, threshold)
            for least in SCORES:
                kept = [k for k, s, a in parts if s >= least and a >= package.thresholds["min_area"]]
                mask = np.isin(labels, kept) if kept else np.zeros(truth.shape, bool)
                both, total = int((mask & truth).sum()), int(mask.sum() + truth.sum())
                found.append((2 * both / total if total else 1.0, both > 0, bool(kept)))
        yield bool(truth.any()), score, found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, action="append", type=Path)
    p.add_argument("--data", required=True, action="append", type=Path)
    p.add_argument("--false-positives", type=float, default=0.05, help="largest share of polyp-free frames that may report")
    p.add_argument("--limit-model", action="append", type=Path, default=[])
    p.add_argument("--limit-data", action="append", type=Path, default=[])
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    if len(args.model) != len(args.data) or len(args.limit_model) != len(args.limit_data):
        p.error("one --data for each --model, and one --limit-data for each --limit-model")
    cv2.setNumThreads(1)
    folders = [list(rows(Package(m, args.threads), d)) for m, d in zip(args.model, args.data)]
    polyps = [r for folder in folders for r in folder if r[0]]
    clean = [r for folder in folders for r in folder if not r[0]]
    limited = [r for m, d in zip(args.limit_model, args.limit_data) for r in rows(Package(m, args.threads), d) if not r[0]]
    print(f"{len(polyps)} frames with a polyp, {len(clean)} without")
    print("mask  score  frame    Dice  sensitivity  false-positive frames")
    best = None
    for i, (mask, least) in enumerate((mask, least) for mask in MASKS for least in SCORES):
        for frame in FRAMES:
            of = [[f[i][0] if s >= frame else 0.0 for polyp, s, f in folder if polyp] for folder in folders]
            dice = np.mean([np.mean(d) for d in of if d])
            hit = np.mean([f[i][1] and s >= frame for _, s, f in polyps])
            false, bound = (
                np.mean([f[i][2] and s >= frame for _, s, f in c]) if c else 0.0 for c in (clean, limited or clean)
            )
            print(f"{mask:.2f}  {least:5.2f}  {frame:5.2f}  {dice:.4f}  {hit:11.4f}  {false:21.4f}")
            if bound <= args.false_positives and (best is None or dice > best[0]):
                best = (dice, mask, least, frame)
    print("best within the limit:", "none" if best is None else f"mask {best[1]}, score {best[2]}, frame {best[3]}, Dice {best[0]:.4f}")


if __name__ == "__main__":
    main()

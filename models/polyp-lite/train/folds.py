"""Leave one centre out: train on four hospitals, measure on the fifth, for each of the five.

    python folds.py --data DATA --out RUN [--centres C4,C2] [-- flags of train.py, for instance --epochs 20]

Each fold has a folder RUN/CENTRE with its checkpoints, its exported package and `result.json`; a fold that has a
result is not run again, and one that was interrupted goes on after its last whole epoch. Other flags need another RUN.
Then thresholds are listed over all folds (see thresholds.py): the place to choose them, since no model has seen its frames.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from data import CENTRES

HERE = Path(__file__).parent


def python(script, *args, read=False):
    """Runs a script of this folder; with `read`, returns what it prints instead of showing it."""
    command = [sys.executable, str(HERE / script), *map(str, args)]
    print("+", *command[1:], flush=True)
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE if read else None).stdout


def same_flags(folder, flags):
    """Stops where the fold was begun with other flags than these."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "flags.json"
    if kept.exists() and (then := json.loads(kept.read_text())) != flags:
        raise SystemExit(f"{folder} was begun with {' '.join(then) or 'no flags'}: repeat them, or give another --out")
    kept.write_text(json.dumps(flags) + "\n")


def fold(centre, args, flags):
    folder = args.out / centre
    result = folder / "result.json"
    same_flags(folder, flags)
    if result.exists():
        return json.loads(result.read_text())
    if not (folder / "final.pt").exists():
        resume = ["--resume"] if (folder / "last.pt").exists() else []
        python("train.py", "--data", args.data, "--out", folder, "--held-out", centre, *resume, *flags)
    python("export.py", "--checkpoint", folder / "final.pt", "--out", folder / "package")
    data = args.data / "polypgen" / centre
    shown = python("evaluate.py", "--model", folder / "package", "--data", data, "--crop", "fov", read=True)
    measured = json.loads(shown)["fov"]
    result.write_text(json.dumps(measured, indent=2) + "\n")
    return measured


def main():
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, type=Path, help="folder with polypgen/C1 ... C5")
    p.add_argument("--out", required=True, type=Path, help="folder for the folds")
    p.add_argument("--centres", default=",".join(CENTRES), help="which folds, in this order")
    args = p.parse_args(own)
    centres = args.centres.split(",")
    print("centre  frames  Dice [95 %]                  sensitivity  false-positive frames", flush=True)
    results = {}
    for centre in centres:
        m = results[centre] = fold(centre, args, flags)
        low_high = "[%.3f, %.3f]" % tuple(m["dice"][1:])
        false = "-" if m["false_positive_frames"] is None else f"{m['false_positive_frames'][0]:.3f} of {m['clean_frames']}"
        print(f"{centre:6}  {m['frames']:6}  {m['dice'][0]:.4f} {low_high:21}  {m['sensitivity'][0]:11.4f}  {false}", flush=True)
    print(f"mean Dice over {len(results)} centres: {sum(m['dice'][0] for m in results.values()) / len(results):.4f}")
    pairs = []
    for centre in centres:
        pairs += ["--model", args.out / centre / "package", "--data", args.data / "polypgen" / centre]
    python("thresholds.py", *pairs)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""endort's engine beside ONNX Runtime: same model, same input, same threads, one run, taken in turns.

    cargo build --release --example engine_probe
    python tests/peers/ort_engine.py MODEL.onnx [--threads 2] [--rounds 60] [--probe PATH] [--check 1.5]

Prints median and P99 of both, the ratio, and how far the outputs differ. With --check, exits with 3 where
endort's median exceeds that many times ONNX Runtime's. Needs numpy and onnxruntime (tests/requirements.txt).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime as ort

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Probe:
    """endort's engine in a process of its own, obeying one command per line."""

    def __init__(self, path, model, runtime, threads):
        self.process = subprocess.Popen(
            [path, model, runtime, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = self.read().split()[1]

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the probe ended with {self.process.wait()}")
        return line.strip()

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="an .onnx file")
    parser.add_argument("--package", help="what endort opens, if not the same file")
    parser.add_argument("--runtime", default="candle-cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--frames", type=int, default=5, help="frames per turn")
    parser.add_argument("--warmup", type=int, default=10)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--probe", default=os.path.join(target, "release", "examples", "engine_probe"))
    parser.add_argument("--check", type=float, help="largest allowed ratio of medians")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    # Spinning between turns would take the cores from the other engine.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    spec = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in spec.shape]
    x = np.random.default_rng(7).standard_normal(shape, dtype=np.float32)
    feed = {spec.name: x.astype(np.float16) if "16" in spec.type else x}

    probe = Probe(args.probe, args.package or args.model, args.runtime, args.threads)
    with tempfile.TemporaryDirectory() as folder:
        source, result = os.path.join(folder, "in.raw"), os.path.join(folder, "out.raw")
        x.tofile(source)
        probe.ask(f"input {source}")
        probe.ask(f"output {result}")
        ours = np.fromfile(result, np.float32)
    theirs = np.concatenate([np.asarray(o, np.float32).ravel() for o in session.run(None, feed)])
    difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())

    def theirs_once():
        start = time.perf_counter()
        session.run(None, feed)
        return (time.perf_counter() - start) * 1e3

    probe.ask(f"run {args.warmup}")
    for _ in range(args.warmup):
        theirs_once()
    times = {"endort": [], "onnxruntime": []}
    for _ in range(args.rounds):
        times["endort"] += [float(t) / 1e3 for t in probe.ask(f"run {args.frames}").split()]
        times["onnxruntime"] += [theirs_once() for _ in range(args.frames)]

    report = {"model": args.model, "runtime": probe.name, "threads": args.threads, "frames": len(times["endort"])}
    for name, t in times.items():
        t = np.sort(t)
        p99 = t[int(np.ceil(0.99 * len(t))) - 1]
        report[name] = {"median_ms": round(float(np.median(t)), 3), "p99_ms": round(float(p99), 3)}
    report["ratio"] = round(report["endort"]["median_ms"] / report["onnxruntime"]["median_ms"], 3)
    report["max_relative_difference"] = difference
    if args.json:
        print(json.dumps(report))
    else:
        print(f"{args.model}: {report['frames']} frames each, {args.threads} threads, in turns of {args.frames}")
        for name in times:
            print(f"  {name:12} median {report[name]['median_ms']:8.2f} ms   p99 {report[name]['p99_ms']:8.2f} ms")
        print(f"  ratio {report['ratio']:.2f}, outputs differ by {difference:.1e} of the largest")
    if args.check and report["ratio"] > args.check:
        sys.exit(3)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""endort stream beside a Python loop that does the same work, interleaved in one run.

The peer is what one would write without endort: cv2.VideoCapture decodes, cv2.resize scales, ONNX Runtime
infers, one frame after the other. Both read the same file with the same model on the same cores.

    pip install opencv-python-headless onnxruntime numpy
    python3 tests/peers/stream_opencv.py target/release/endort models/polyp-lite VIDEO [--rounds 5] [--threads 2]

Prints frames per second of both per round, the medians, and their ratio (above 1: endort is faster).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import cv2
import numpy as np
import onnxruntime as ort


class Peer:
    """The Python loop."""

    def __init__(self, package: pathlib.Path, threads: int):
        manifest = json.loads((package / "model.json").read_text())
        self.spec = manifest["input"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(str(package / manifest["artifact"]), options, ["CPUExecutionProvider"])
        self.mean = np.array(self.spec["mean"], np.float32) * 255
        self.scale = 1 / (np.array(self.spec["std"], np.float32) * 255)

    def frames_per_second(self, video: str) -> tuple[float, int]:
        width, height = self.spec["width"], self.spec["height"]
        start = time.perf_counter()
        capture = cv2.VideoCapture(video)
        frames = 0
        while True:
            there, frame = capture.read()
            if not there:
                break
            small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
            rgb = cv2.cvtColor(small, cv2.COLOR_BGR2RGB).astype(np.float32)
            tensor = ((rgb - self.mean) * self.scale).transpose(2, 0, 1)[None]
            outputs = self.session.run(None, {self.spec["name"]: np.ascontiguousarray(tensor)})
            (outputs[0] > 0).any()
            frames += 1
        return frames / (time.perf_counter() - start), frames


def endort(binary: str, package: pathlib.Path, video: str, threads: int) -> tuple[float, int]:
    """The whole process, its start included, as the peer's time includes opening the file."""
    with tempfile.TemporaryDirectory() as folder:
        results = os.path.join(folder, "results.jsonl")
        command = [binary, "stream", video, "--model", str(package), "--results", results, "--pace", "max"]
        start = time.perf_counter()
        subprocess.run([*command, "--threads", str(threads), "-q"], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        with open(results, encoding="utf-8") as lines:
            frames = sum(1 for _ in lines)
    return frames / seconds, frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endort")
    parser.add_argument("package", type=pathlib.Path)
    parser.add_argument("video")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()

    peer = Peer(args.package, args.threads)
    ours, theirs = [], []
    for round_number in range(args.rounds):
        fps, frames = endort(args.endort, args.package, args.video, args.threads)
        peer_fps, peer_frames = peer.frames_per_second(args.video)
        if frames != peer_frames:
            raise SystemExit(f"endort saw {frames} frames, OpenCV {peer_frames}")
        ours.append(fps)
        theirs.append(peer_fps)
        print(f"round {round_number + 1}: endort {fps:6.1f} fps   OpenCV + ONNX Runtime {peer_fps:6.1f} fps")
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    print(f"median:  endort {statistics.median(ours):6.1f} fps   OpenCV + ONNX Runtime {statistics.median(theirs):6.1f} fps")
    print(f"ratio:   {ratio:.2f} (median of the rounds' ratios; above 1, endort is faster)")


if __name__ == "__main__":
    main()

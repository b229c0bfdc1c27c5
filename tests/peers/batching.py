#!/usr/bin/env python3
"""Would frames of several rooms be faster as one batch? Time per frame of one network for 1, 2 and 4 frames at once.

    python tests/peers/batching.py MODEL.onnx [--threads 2] [--rounds 40]

The same weights with another first dimension, by ONNX Runtime, in turns. Above 1 a batch is faster per frame; but its
first frame waits for the others. Needs numpy, onnx and onnxruntime (tests/requirements.txt).
"""

import argparse
import statistics
import time

import numpy as np
import onnx
import onnxruntime as ort

SIZES = (1, 2, 4)


def batched(path, size):
    model = onnx.load(path)
    graph = model.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    return model.SerializeToString()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()

    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    # Spinning between turns would take the cores from the next in turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    work = {}
    for size in SIZES:
        session = ort.InferenceSession(batched(args.model, size), options, providers=["CPUExecutionProvider"])
        spec = session.get_inputs()[0]
        work[size] = session, {spec.name: np.random.default_rng(7).standard_normal(spec.shape, dtype=np.float32)}
    # Equal answers, or the batch is not the same work.
    first = work[1][0].run(None, {k: v[:1] for k, v in work[4][1].items()})
    for a, b in zip(first, work[4][0].run(None, work[4][1])):
        assert np.allclose(a[0], b[0], atol=1e-3), "a batch gives other answers"

    times = {size: [] for size in SIZES}
    for number in range(args.rounds + 2):
        for size in SIZES if number % 2 else SIZES[::-1]:
            session, feed = work[size]
            for _ in range(4):
                begin = time.perf_counter()
                session.run(None, feed)
                if number >= 2:
                    times[size].append((time.perf_counter() - begin) * 1e3)
    one = statistics.median(times[1])
    print("| frames at once | ms each call | ms per frame | faster per frame by |\n|---|---|---|---|")
    for size in SIZES:
        call = statistics.median(times[size])
        print(f"| {size} | {call:.2f} | {call / size:.2f} | {one / (call / size):.2f} |")


if __name__ == "__main__":
    main()

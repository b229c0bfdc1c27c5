#!/usr/bin/env python3
"""endort optimize --target coral beside onnx2tf: the time both take for the same calibration frames, and what is lost.

    python3 -m venv peers && peers/bin/pip install onnx2tf==1.28.8 tf_keras tensorflow onnxruntime onnxsim psutil \\
        simple_onnx_processing_tools ai-edge-litert opencv-python-headless
    cargo build --release
    peers/bin/python tests/peers/coral_onnx2tf.py --endort target/release/endort \\
        --calibration DATA/polypgen/C1/images … --ground-truth DATA/kvasir-seg-200

onnx2tf runs as its users run it (-oiqt, with the frames as -cind), once; it is timed up to its full_integer_quant file and,
with --to-the-end, to its end, after it has also written the variants with 16-bit activations. Its frames are fitted into
the input as endort does it, but not cropped to the field of view. The Dice of both files is measured the same way, by
LiteRT under `endort bench`. Everything is written below --work (a temporary folder, unless named).
"""

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "polyp-lite")
# onnx2tf compares its steps on a sample that it would download; it takes one that is there.
SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
DONE = "polyp-lite_full_integer_quant.tflite"


def cpu_seconds(pid):
    """User and system time of a process and of its children that have ended."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(int(t) for t in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def timed(command, cwd, env, until=None):
    """Runs a command: seconds and CPU seconds to its end, and to the moment at which a file is complete."""
    begin, mark, used = time.time(), None, 0.0
    with open(os.path.join(cwd, "log.txt"), "w") as log:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=log, stderr=subprocess.STDOUT)
    while process.poll() is None:
        try:
            used = cpu_seconds(process.pid)
        except (OSError, IndexError):
            pass
        if until and mark is None and os.path.exists(until[0]) and os.path.getsize(until[0]) > 0:
            mark = (time.time() - begin, used)
            if not until[1]:
                process.kill()
                process.wait()
                return mark, mark
        time.sleep(0.2)
    if process.returncode:
        with open(os.path.join(cwd, "log.txt")) as log:
            sys.exit(f"{command[0]} ended with {process.returncode}: …{log.read()[-2000:]}")
    return (time.time() - begin, used), mark


def frames(folders, count, width, height):
    """Frames spread evenly over the folders, fitted into the input between black borders, 0 to 1."""
    files = [f for folder in folders for f in sorted(glob.glob(os.path.join(folder, "*")))]
    step = max(len(files) / count, 1.0)
    chosen = [files[int(i * step)] for i in range(min(count, len(files)))]
    out = np.zeros((len(chosen), height, width, 3), np.float32)
    for into, file in zip(out, chosen):
        picture = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
        h, w = picture.shape[:2]
        scale = min(width / w, height / h)
        size = (round(w * scale), round(h * scale))
        x, y = (width - size[0]) // 2, (height - size[1]) // 2
        into[y : y + size[1], x : x + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) / 255.0
    return out


def operators(file):
    """Operators of a TFLite file, and those of them with a tensor that is no integer."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Without a delegate, which would take the operators' place in the list.
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(file, experimental_op_resolver_type=plain)
    kinds = {t["index"]: t["dtype"] for t in interpreter.get_tensor_details()}
    ops = interpreter._get_ops_details()
    floats = [o for o in ops if any(kinds.get(i) == np.float32 for i in [*o["inputs"], *o["outputs"]] if i >= 0)]
    return len(ops), len(floats)


def package(folder, file):
    """A package of a bare TFLite file, whose outputs bear the converter's own names."""
    from ai_edge_litert.interpreter import Interpreter

    with open(os.path.join(MODEL, "model.json")) as source:
        manifest = json.load(source)
    interpreter = Interpreter(file)
    (image,) = interpreter.get_input_details()
    manifest["input"].update(name=image["name"], layout="nhwc")
    found = {("mask" if np.prod(o["shape"]) > 1 else "polyp"): o["name"] for o in interpreter.get_output_details()}
    for output in manifest["outputs"]:
        output["name"] = found[output["name"]]
    manifest.update(artifact="model.tflite", files={})
    os.makedirs(folder, exist_ok=True)
    shutil.copy(file, os.path.join(folder, "model.tflite"))
    with open(os.path.join(folder, "model.json"), "w") as out:
        json.dump(manifest, out)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endort", default=os.path.join(ROOT, "target", "release", "endort"))
    parser.add_argument("--calibration", nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--ground-truth", required=True, help="folder with images/ and masks/")
    parser.add_argument("--to-the-end", action="store_true", help="let onnx2tf write its other variants, too")
    parser.add_argument("--work", help="folder to work in")
    args = parser.parse_args()
    work = os.path.abspath(args.work or tempfile.mkdtemp(prefix="coral-"))
    os.makedirs(work, exist_ok=True)
    endort, truth = os.path.abspath(args.endort), os.path.abspath(args.ground_truth)
    calibration = [os.path.abspath(folder) for folder in args.calibration]
    import ai_edge_litert

    libraries = os.path.dirname(os.path.dirname(ai_edge_litert.__file__))
    env = {**os.environ, "REALTIME_RUNTIME_PATH": libraries, "XDG_CACHE_HOME": os.path.join(work, "cache")}

    with open(os.path.join(MODEL, "model.json")) as source:
        spec = json.load(source)["input"]
    begin = time.process_time()
    data = frames(calibration, args.frames, spec["width"], spec["height"])
    np.save(os.path.join(work, "frames.npy"), data)
    np.save(os.path.join(work, SAMPLE), np.stack([cv2.resize(f, (128, 128)) for f in data[:20]]))
    prepared = time.process_time() - begin
    # onnx2tf writes what onnxsim makes of it into the file that it is given.
    shutil.copy(os.path.join(MODEL, "polyp-lite.onnx"), work)
    program = os.path.join(os.path.dirname(sys.executable), "onnx2tf")
    command = [program, "-i", "polyp-lite.onnx", "-o", "out", "-n", "-oiqt"]
    command += ["-cind", "image", "frames.npy", str(spec["mean"]), str(spec["std"])]
    made = os.path.join(work, "out", DONE)
    end, theirs = timed(command, work, env, (made, args.to_the_end))

    sources = [flag for folder in calibration for flag in ("--calibration", folder)]
    command = [endort, "optimize", "polyp-lite", "--target", "coral", "--precision", "int8", "-o", "coral", "-q", "--json"]
    command += ["--calibration-frames", str(args.frames), *sources]
    ours, _ = timed(command, work, env)

    for name, (wall, cpu) in [("onnx2tf", theirs), ("endort", ours)]:
        print(f"{name} took {wall:.1f} s, {cpu:.1f} CPU s", flush=True)
    rows = []
    for name, model, file, (wall, cpu) in [
        ("original", "polyp-lite", None, (0.0, 0.0)),
        ("endort", os.path.join(work, "coral"), os.path.join(work, "coral", "model.tflite"), ours),
        ("onnx2tf", package(os.path.join(work, "theirs"), made), made, theirs),
    ]:
        command = [endort, "bench", "synthetic:640x512@30", "--duration", "3", "--pace", "camera", "--model", model]
        command += ["--runtime", "tflite", "--ground-truth", truth, "--json", "-"]
        run = json.loads(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)["runs"][0]
        ops, floats = operators(file) if file else (0, 0)
        inference = run["stages_ms"]["inference"]["p50"]
        rows.append((name, wall, cpu, ops, floats, run["accuracy"]["dice"], inference))
    print(f"{len(data)} frames for calibration, Dice on {run['accuracy']['images']} by {run['runtime']} {run['runtime_version']}")
    print(f"{'':10}{'seconds':>9}{'CPU s':>8}{'operators':>11}{'in floats':>11}{'Dice':>9}{'drop':>9}{'inference ms':>14}")
    for name, wall, cpu, ops, floats, dice, inference in rows:
        cost = f"{wall:9.1f}{cpu:8.1f}{ops:11}{floats:11}" if ops else " " * 39
        print(f"{name:10}{cost}{dice:9.4f}{rows[0][5] - dice:9.4f}{inference:14.2f}")
    print(f"onnx2tf's frames were prepared in {prepared:.1f} CPU s, which is not counted")
    if args.to_the_end:
        print(f"with its other variants onnx2tf took {end[0]:.1f} s, {end[1]:.1f} CPU s")


if __name__ == "__main__":
    main()

"""Write polyp-lite.onnx and model.json from a checkpoint.

The graph is written node by node with the `onnx` package: batch normalisation folded into the
convolutions, static shapes, no exporter leftovers. Convolution and Gemm weights are stored as
fp16 initializers, each followed by a Cast to float32, so that any runtime loads the file.
The few biases stay float32. Both files are replaced atomically, the manifest last.
"""

import argparse
import datetime
import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from net import MEAN, STD, MBConv, SepBlock, averaged, count

# of weights that are not released; what ships is exported with --version
VERSION = "0.0.0"
THRESHOLDS = {"mask": 0.7, "frame": 0.35, "score": 0.86, "min_area": 0.001}


class Graph:
    def __init__(self):
        self.nodes, self.inits, self.n = [], [], 0

    def name(self, kind):
        self.n += 1
        return f"{kind}_{self.n}"

    def add(self, op, inputs, output=None, **attributes):
        output = output or self.name(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}:{output}", **attributes))
        return output

    def constant(self, array, label):
        self.inits.append(numpy_helper.from_array(np.ascontiguousarray(array), label))
        return label

    def half(self, array, label):
        """fp16 in the file, float32 in the graph."""
        array = array.astype(np.float32)
        if np.abs(array).max() > 6e4:
            raise ValueError(f"{label} does not fit fp16")
        stored = self.constant(array.astype(np.float16), label + ".h")
        return self.add("Cast", [stored], label, to=TensorProto.FLOAT)

    def shared(self, array, label):
        if all(i.name != label for i in self.inits):
            self.constant(array, label)
        return label

    def conv(self, x, conv, bn, label, output=None):
        w = conv.weight.detach().double()
        b = torch.zeros(w.shape[0], dtype=torch.double) if conv.bias is None else conv.bias.detach().double()
        if bn is not None:
            g = bn.weight.detach().double() / (bn.running_var.double() + bn.eps).sqrt()
            w = w * g[:, None, None, None]
            b = (b - bn.running_mean.double()) * g + bn.bias.detach().double()
        pad, k = conv.padding[0], conv.kernel_size[0]
        return self.add(
            "Conv",
            [x, self.half(w.numpy(), label + ".weight"), self.constant(b.float().numpy(), label + ".bias")],
            output, kernel_shape=[k, k], strides=[conv.stride[0]] * 2, pads=[pad] * 4, group=conv.groups,
        )

    def relu6(self, x):
        lo = self.shared(np.float32(0), "zero")
        hi = self.shared(np.float32(6), "six")
        return self.add("Clip", [x, lo, hi])

    def up2(self, x):
        scales = self.shared(np.array([1, 1, 2, 2], np.float32), "twice")
        return self.add("Resize", [x, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")

    def unit(self, x, seq, label):
        """Conv, BatchNorm and the activation that follows, if any."""
        x = self.conv(x, seq[0], seq[1], label)
        if len(seq) > 2:
            x = self.relu6(x) if isinstance(seq[2], nn.ReLU6) else self.add("Relu", [x])
        return x

    def chain(self, x, seq, label):
        for i, part in enumerate(seq):
            if isinstance(part, SepBlock):
                x = self.add("Add", [x, self.chain(x, part.body, f"{label}.{i}")])
            else:
                x = self.unit(x, part, f"{label}.{i}")
        return x


def build(model, width, height):
    g, e = Graph(), model.encoder
    x = g.unit("image", e.stem, "stem")
    taps = []
    for i, block in enumerate(e.blocks):
        assert isinstance(block, MBConv)
        y = g.chain(x, block.body, f"block{i}")
        x = g.add("Add", [x, y]) if block.skip else y
        if i in e.taps:
            taps.append(x)
    c2, c3, c4, c5 = taps
    p5 = g.chain(g.unit(c5, model.lat5, "lat5"), model.ctx5, "ctx5")
    p4 = g.chain(g.add("Add", [g.unit(c4, model.lat4, "lat4"), g.up2(p5)]), model.ctx4, "ctx4")
    p3 = g.chain(g.add("Add", [g.unit(c3, model.lat3, "lat3"), g.up2(p4)]), model.ctx3, "ctx3")
    p2 = g.add("Add", [g.unit(c2, model.lat2, "lat2"), g.up2(g.unit(p3, model.red3, "red3"))])
    g.conv(g.chain(p2, model.ctx2, "ctx2"), model.mask, None, "mask", "mask")
    pooled = g.add("Concat", [g.add("GlobalAveragePool", [c5]), g.add("GlobalAveragePool", [p5])], axis=1)
    flat = g.add("Flatten", [pooled], axis=1)
    weight = g.half(model.frame.weight.detach().numpy(), "frame.weight")
    bias = g.constant(model.frame.bias.detach().numpy(), "frame.bias")
    g.add("Gemm", [flat, weight, bias], "polyp", transB=1)

    graph = helper.make_graph(
        g.nodes, "polyp-lite",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])],
        [
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, height // 4, width // 4]),
            helper.make_tensor_value_info("polyp", TensorProto.FLOAT, [1, 1]),
        ],
        g.inits,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="endort", ir_version=8)
    proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def agreement(model, proto, width, height):
    """Largest difference of the logits: as stored, and against PyTorch with the unrounded weights."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng, worst = np.random.default_rng(0), [0.0, 0.0]
    for _ in range(4):
        # smooth random pictures: closer to frames than white noise
        coarse = torch.from_numpy(rng.normal(0, 1, (1, 3, 9, 11)).astype(np.float32))
        image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
        with torch.no_grad():
            want = [t.numpy() for t in model(image)]
        have = session.run(["mask", "polyp"], {"image": image.numpy()})
        worst = [max(w, float(np.abs(a - b).max())) for w, a, b in zip(worst, want, have)]
    return worst


def pretty(manifest):
    """One line per key; the provenance one level deeper."""
    def block(table, indent, deeper=()):
        lines = []
        for key, value in table.items():
            text = block(value, indent + "  ", ()) if key in deeper else json.dumps(value)
            lines.append(f"{indent}  {json.dumps(key)}: {text}")
        return "{\n" + ",\n".join(lines) + "\n" + indent + "}"

    return block(manifest, "", ("provenance",)) + "\n"


def replace(path, data):
    tmp = path.with_name("." + path.name + ".tmp")
    tmp.write_bytes(data)
    os.replace(tmp, path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True, help="last.pt, final.pt or ema-*.pt; the averaged weights are taken")
    p.add_argument("--out", required=True, help="package folder")
    p.add_argument("--version", default=VERSION, help="of the package")
    p.add_argument("--history", default="", help="provenance.epochs in words, of weights that went on from others")
    p.add_argument("--width", type=int, default=352)
    p.add_argument("--height", type=int, default=288)
    p.add_argument("--figures", default="", help="JSON file whose content becomes provenance.figures")
    for key, value in THRESHOLDS.items():
        p.add_argument("--" + key.replace("_", "-"), type=float, default=value)
    args = p.parse_args()

    torch.set_num_threads(1)
    model, state = averaged(args.checkpoint)
    parameters, macs = count(model, args.width, args.height)
    proto = build(model, args.width, args.height)
    mask, polyp = agreement(model, proto, args.width, args.height)
    data = proto.SerializeToString()
    print(dict(Counter(n.op_type for n in proto.graph.node)))
    print(f"{len(data)} bytes, {parameters / 1e6:.3f} M parameters, {macs / 1e9:.3f} GMAC")
    print(f"ONNX Runtime against PyTorch: mask logits within {mask:.4f}, polyp logit within {polyp:.4f}")
    if max(mask, polyp) > 0.1:
        raise SystemExit("the exported graph disagrees with the checkpoint")

    out = Path(args.out)
    held = state.get("held_out") or []
    manifest = {
        "schema": 1, "name": "polyp-lite", "version": args.version, "task": "segmentation",
        "artifact": "polyp-lite.onnx",
        "files": {"polyp-lite.onnx": {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}},
        "input": {
            "name": "image", "width": args.width, "height": args.height, "layout": "nchw", "color": "rgb",
            "mean": [round(v, 6) for v in MEAN], "std": [round(v, 6) for v in STD], "fit": "letterbox", "pad": [0, 0, 0],
        },
        "outputs": [
            {"name": "mask", "kind": "mask", "activation": "logits"},
            {"name": "polyp", "kind": "frame_score", "activation": "logits"},
        ],
        "labels": ["polyp"],
        "thresholds": {k: getattr(args, k) for k in THRESHOLDS},
        "provenance": {
            "created": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "recipe": "models/polyp-lite/train",
            "epochs": args.history or state["epoch"],
            "parameters": parameters,
            "macs": macs,
            "data": [
                "PolypGen single frames, centres " + ", ".join(c for c in ("C1", "C2", "C3", "C4", "C5") if c not in held)
                + " (Ali et al., Scientific Data 10:75, 2023; CC BY)",
                f"ImageNet weights of EfficientNet-{model.encoder.name.capitalize()} (Apache-2.0)",
                *(["rendered frames (endort render --stills)"] if state.get("args", {}).get("extra") else []),
            ],
            "license": "MIT OR Apache-2.0; credit the data sources above",
            "figures": json.loads(Path(args.figures).read_text()) if args.figures else {},
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    replace(out / "polyp-lite.onnx", data)
    replace(out / "model.json", pretty(manifest).encode())


if __name__ == "__main__":
    main()

"""Writes small networks with an input and ONNX Runtime's outputs, for tests/it/engine.rs and tests/it/onnx_out.rs.

    python tests/networks.py FOLDER
    python tests/networks.py --check FOLDER

Each case is NAME.onnx, NAME.in (raw 32-bit floats) and NAME.out (all outputs, one after the other). Besides those
built here there are tests/networks/*.onnx, which PyTorch exported (tests/peers/torch_networks.py).

With --check, FOLDER also holds NAME@VARIANT.onnx, which endort wrote: each must pass ONNX's checker and give what
NAME.out (or NAME@VARIANT.out, where there is one) holds, as closely as the variant says.
Needs numpy, onnx and onnxruntime (tests/requirements.txt).
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(20)


class Net:
    """A network under construction; every call adds a node and gives its output's name."""

    def __init__(self, shape, opset=17):
        self.shape, self.opset = shape, opset
        self.nodes, self.weights, self.count = [], [], 0

    def value(self, array, dtype=np.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def ints(self, *values):
        return self.value(values, np.int64)

    def random(self, *shape, scale=None):
        fan_in = max(1, int(np.prod(shape[1:])))
        return self.value(RNG.standard_normal(shape) * (scale or fan_in**-0.5))

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"v{self.count + i}" for i in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, cin, cout, k=1, bias=True, groups=1, **attributes):
        kh, kw = (k, k) if isinstance(k, int) else k
        inputs = [x, self.random(cout, cin // groups, kh, kw)] + ([self.random(cout, scale=0.5)] if bias else [])
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [kh // 2, kw // 2, kh // 2, kw // 2])
        return self.op("Conv", *inputs, group=groups, **attributes)

    def norm(self, x, c):
        parts = [RNG.uniform(0.5, 1.5, c), RNG.normal(size=c), RNG.normal(size=c), RNG.uniform(0.5, 1.5, c)]
        return self.op("BatchNormalization", x, *[self.value(p) for p in parts])

    def clip(self, x, low, high):
        return self.op("Clip", x, self.value(low), self.value(high))

    def model(self, *outputs):
        info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(
            self.nodes, "g", [info("x", self.shape)], [info(o, None) for o in outputs], self.weights
        )
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)


CASES = {}


def case(f):
    CASES[f.__name__] = f
    return f


@case
def convolutions():
    n = Net([1, 5, 13, 17])
    y = n.conv("x", 5, 37, 3, strides=[2, 1])
    y = n.conv(y, 37, 48, (1, 5), dilations=[1, 2], pads=[0, 3, 0, 1])
    y = n.conv(y, 48, 20, 3, groups=4, bias=False)
    y = n.conv(y, 20, 40, 3, groups=20)
    y = n.conv(y, 40, 40, 5, groups=40, strides=[2, 2], pads=[0, 3, 2, 1])
    return n.model(y, n.conv(y, 40, 1, 1))


@case
def automatic_padding():
    n = Net([1, 3, 15, 18])
    upper = n.conv("x", 3, 8, 3, strides=[2, 2], auto_pad="SAME_UPPER")
    lower = n.conv("x", 3, 8, 4, strides=[2, 2], auto_pad="SAME_LOWER")
    return n.model(upper, lower, n.conv("x", 3, 8, 3, auto_pad="VALID"))


@case
def transposed_convolutions():
    n = Net([1, 6, 7, 9])
    a = n.op("ConvTranspose", "x", n.random(6, 10, 2, 2), n.random(10), strides=[2, 2])
    b = n.op("ConvTranspose", "x", n.random(6, 10, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    c = n.op("ConvTranspose", "x", n.random(6, 5, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1], group=2)
    d = n.op("ConvTranspose", "x", n.random(6, 4, 3, 3), strides=[1, 1], dilations=[2, 2], pads=[0, 1, 2, 1])
    e = n.op("ConvTranspose", "x", n.random(6, 4, 2, 2), strides=[3, 3])
    return n.model(a, b, n.op("Relu", n.norm(c, 10)), d, e)


@case
def activations():
    n = Net([1, 4, 6, 7])
    x = n.op("Mul", "x", n.value(3.0))
    names = ["Relu", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Softplus", "Tanh", "Erf", "Exp", "Abs"]
    outs = [n.op(name, x) for name in names]
    outs += [n.clip(x, -1.5, 2.0), n.op("Clip", x, "", n.value(1.0)), n.op("Mul", x, n.op("Sigmoid", x))]
    outs += [n.op("PRelu", x, n.value(RNG.uniform(0, 1, (4, 1, 1)))), n.op("Sqrt", n.op("Abs", x))]
    outs += [n.op("Pow", x, n.value(2.0)), n.op("Softmax", x, axis=1), n.op("Softmax", x, axis=-1)]
    outs += [n.op(a, n.conv(x, 4, 6)) for a in ["Sigmoid", "HardSwish", "Tanh", "LeakyRelu"]]
    return n.model(*outs)


@case
def arithmetic():
    n = Net([1, 6, 5, 4])
    per_channel, same = n.value(RNG.uniform(1, 2, (6, 1, 1))), n.value(RNG.uniform(1, 2, (1, 6, 5, 4)))
    gate = n.op("Sigmoid", n.op("GlobalAveragePool", "x"))
    outs = [n.op(k, "x", per_channel) for k in ["Add", "Sub", "Mul", "Div"]]
    outs += [n.op("Sub", per_channel, "x"), n.op("Div", n.value(2.0), n.op("Exp", "x")), n.op("Max", "x", same)]
    outs += [n.op("Mul", "x", gate), n.op("Mul", gate, "x"), n.op("Add", "x", "x"), n.op("Sub", same, "x")]
    outs += [n.op("Add", "x", n.value(RNG.normal(size=4))), n.op("Mul", "x", n.op("ReduceMean", "x", axes=[3]))]
    return n.model(*outs)


@case
def resizes():
    n = Net([1, 5, 6, 7])
    none, two = "", n.value([1, 1, 2, 2])
    odd, sizes = n.value([1, 1, 1.7, 0.6]), n.ints(1, 5, 9, 5)
    outs = []
    for mode in ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]:
        for scale in [two, odd]:
            outs.append(n.op("Resize", "x", none, scale, mode="linear", coordinate_transformation_mode=mode))
        outs.append(n.op("Resize", "x", none, none, sizes, mode="linear", coordinate_transformation_mode=mode))
    for rounding in ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]:
        outs.append(
            n.op("Resize", "x", none, two, nearest_mode=rounding, coordinate_transformation_mode="asymmetric")
        )
        outs.append(n.op("Resize", "x", none, odd, nearest_mode=rounding))
    return n.model(*outs)


@case
def upsample_of_opset_9():
    n = Net([1, 3, 4, 5], opset=9)
    two = n.value([1, 1, 2, 2])
    return n.model(n.op("Upsample", "x", two, mode="linear"), n.op("Upsample", "x", two, mode="nearest"))


@case
def pooling():
    n = Net([1, 5, 11, 14])
    window = dict(kernel_shape=[3, 3], strides=[2, 2])
    outs = [n.op("MaxPool", "x", pads=[1, 1, 1, 1], **window), n.op("MaxPool", "x", ceil_mode=1, **window)]
    outs += [n.op("AveragePool", "x", pads=[1, 1, 1, 1], count_include_pad=i, **window) for i in (0, 1)]
    outs += [n.op("AveragePool", "x", kernel_shape=[2, 3], auto_pad="SAME_UPPER"), n.op("GlobalMaxPool", "x")]
    outs += [n.op("MaxPool", "x", kernel_shape=[5, 5], pads=[2, 2, 2, 2])]
    outs += [n.op("ReduceMean", "x", axes=[2, 3], keepdims=0), n.op("ReduceMax", "x", axes=[1])]
    return n.model(*outs)


@case
def shapes_computed_in_the_graph():
    n = Net([1, 6, 4, 10])
    shape = n.op("Shape", "x")
    height = n.op("Gather", shape, n.value(2, np.int64))
    twice = n.op("Mul", height, n.value(2, np.int64))
    target = n.op("Concat", n.ints(1), n.op("Unsqueeze", twice, n.ints(0)), n.ints(-1), axis=0)
    y = n.op("Reshape", "x", target)
    y = n.op("Transpose", y, perm=[0, 2, 1])
    a, b = n.op("Split", y, n.ints(10, 20), outputs=2, axis=1)
    c = n.op("Slice", "x", n.ints(-1, 1), n.ints(-100, 9), n.ints(2, 3), n.ints(-1, 3))
    d = n.op("Slice", "x", n.ints(2), n.ints(5), n.ints(1))
    padded = n.op("Pad", "x", n.ints(0, 0, 1, 2, 0, 1, 0, 3), n.value(0.5))
    gathered = n.op("Gather", "x", n.value([[3, 0], [1, 1]], np.int64), axis=2)
    wide = n.op("Expand", n.op("ReduceMean", "x", axes=[2]), n.op("Shape", "x"))
    flat = n.op("Flatten", n.op("Squeeze", n.op("GlobalAveragePool", "x"), n.ints(2, 3)))
    product = n.op("MatMul", y, n.random(8, 3))
    gemm = n.op("Gemm", flat, n.random(7, 6), n.random(7), transB=1, alpha=0.5, beta=2.0)
    reflected = n.op("Pad", n.conv("x", 6, 4), n.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="edge")
    return n.model(a, b, c, d, padded, gathered, wide, product, gemm, reflected)


@case
def unet():
    n = Net([1, 3, 32, 48])
    block = lambda x, cin, cout: n.op("Relu", n.norm(n.conv(x, cin, cout, 3, bias=False), cout))
    one = block(block("x", 3, 16), 16, 16)
    two = block(n.op("MaxPool", one, kernel_shape=[2, 2], strides=[2, 2]), 16, 32)
    three = block(n.op("MaxPool", two, kernel_shape=[2, 2], strides=[2, 2]), 32, 64)
    up = n.op("ConvTranspose", three, n.random(64, 32, 2, 2), n.random(32), strides=[2, 2])
    two = block(n.op("Concat", up, two, axis=1), 64, 32)
    up = n.op("ConvTranspose", two, n.random(32, 16, 2, 2), n.random(16), strides=[2, 2])
    one = block(n.op("Concat", up, one, axis=1), 32, 16)
    return n.model(n.conv(one, 16, 1))


@case
def mobilenet_v3():
    n = Net([1, 3, 48, 40])
    y = n.op("HardSwish", n.norm(n.conv("x", 3, 16, 3, strides=[2, 2], bias=False), 16))
    for expand in (64, 72):
        z = n.op("HardSwish", n.norm(n.conv(y, 16, expand, bias=False), expand))
        z = n.op("HardSwish", n.norm(n.conv(z, expand, expand, 5, groups=expand, bias=False), expand))
        gate = n.op("Relu", n.conv(n.op("GlobalAveragePool", z), expand, 24))
        gate = n.op("HardSigmoid", n.conv(gate, 24, expand), alpha=1 / 6, beta=0.5)
        y = n.op("Add", n.norm(n.conv(n.op("Mul", z, gate), expand, 16, bias=False), 16), y)
    # Hard-swish as older exporters write it.
    shifted = n.clip(n.op("Add", y, n.value(3.0)), 0.0, 6.0)
    return n.model(n.op("Div", n.op("Mul", y, shifted), n.value(6.0)))


@case
def resnet_and_efficientnet_lite():
    n = Net([1, 3, 24, 20])
    six = lambda x: n.clip(x, 0.0, 6.0)
    y = six(n.norm(n.conv("x", 3, 32, 3, strides=[2, 2], bias=False), 32))
    for stride in (1, 1):
        z = six(n.norm(n.conv(y, 32, 96, bias=False), 96))
        z = six(n.norm(n.conv(z, 96, 96, 3, groups=96, strides=[stride] * 2, bias=False), 96))
        y = n.op("Add", n.norm(n.conv(z, 96, 32, bias=False), 32), y)
    z = n.op("Relu", n.norm(n.conv(y, 32, 32, 3, bias=False), 32))
    y = n.op("Relu", n.op("Add", n.norm(n.conv(z, 32, 32, 3, bias=False), 32), y))
    return n.model(n.op("Add", y, n.op("Relu", n.conv(y, 32, 32))), n.op("Identity", y))


@case
def yolo_head():
    n = Net([1, 3, 64, 96])
    silu = lambda x: n.op("Mul", x, n.op("Sigmoid", x))
    y = silu(n.conv("x", 3, 16, 3, strides=[2, 2]))
    a, b = n.op("Split", silu(n.conv(y, 16, 32)), n.ints(16, 16), outputs=2, axis=1)
    y = silu(n.conv(n.op("Concat", a, b, n.op("Add", b, silu(n.conv(b, 16, 16, 3))), axis=1), 48, 32, 3, strides=[2, 2]))
    pools = [y]
    for _ in range(3):
        pools.append(n.op("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2, 2, 2, 2]))
    deep = silu(n.conv(n.op("Concat", *pools, axis=1), 128, 32, 3, strides=[2, 2]))
    up = n.op("Resize", deep, "", n.value([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    fine = silu(n.conv(n.op("Concat", up, y, axis=1), 64, 32))
    heads, anchors, strides = [], [], []
    for level, (h, w) in ((fine, (16, 24)), (deep, (8, 12))):
        heads.append(n.op("Reshape", n.conv(level, 32, 34), n.ints(1, 34, -1)))
        ys, xs = np.mgrid[:h, :w] + 0.5
        anchors.append(np.stack([xs.ravel(), ys.ravel()]))
        strides.append(np.full((1, h * w), 64 / h))
    both = n.op("Concat", *heads, axis=2)
    box, score = n.op("Split", both, n.ints(32, 2), outputs=2, axis=1)
    # Distribution focal loss: the expectation of a softmax over 8 bins per side.
    bins = n.op("Transpose", n.op("Reshape", box, n.ints(1, 4, 8, -1)), perm=[0, 2, 1, 3])
    side = n.op("Conv", n.op("Softmax", bins, axis=1), n.value(np.arange(8).reshape(1, 8, 1, 1)))
    side = n.op("Reshape", side, n.ints(1, 4, -1))
    near = n.op("Slice", side, n.ints(0), n.ints(2), n.ints(1))
    far = n.op("Slice", side, n.ints(2), n.ints(4), n.ints(1))
    centre = n.value(np.concatenate(anchors, 1)[None])
    low, high = n.op("Sub", centre, near), n.op("Add", centre, far)
    middle = n.op("Div", n.op("Add", low, high), n.value(2.0))
    boxes = n.op("Concat", middle, n.op("Sub", high, low), axis=1)
    boxes = n.op("Mul", boxes, n.value(np.concatenate(strides, 1)))
    return n.model(n.op("Concat", boxes, n.op("Sigmoid", score), axis=1))


@case
def one_channel_to_several():
    n = Net([1, 3, 5, 4])
    outs = []
    for kind in ["Mul", "Add"]:
        one = n.op("Conv", "x", n.value(RNG.normal(size=(1, 3, 1, 1))))
        several = n.op(kind, one, n.value(RNG.uniform(1, 2, (1, 4, 1, 1))))
        outs.append(n.op("Conv", several, n.value(RNG.normal(size=(2, 4, 1, 1)))))
    return n.model(*outs)


@case
def resizes_that_are_whole_in_single_precision():
    n = Net([1, 2, 10, 20])
    scales = n.value([1, 1, 0.7, 0.9])  # 7 and 18; in double precision 6 and 17
    modes = ["half_pixel", "asymmetric"]
    return n.model(*[n.op("Resize", "x", "", scales, mode="linear", coordinate_transformation_mode=m) for m in modes])


@case
def long_sums():
    """More values to a sum than a block holds: the bottleneck of a U-Net has 3 x 3 x 1024."""
    n = Net([1, 64, 4, 5])
    wide = n.conv("x", 64, 1024)
    up = n.op("ConvTranspose", n.conv("x", 64, 2304), n.random(2304, 4, 2, 2, scale=0.01), strides=[1, 1])
    return n.model(n.conv(wide, 1024, 8, 3), n.conv(n.conv("x", 64, 8200), 8200, 8), up)


@case
def computed_weights():
    """Weights that depend on the picture, and a sum behind them."""
    n = Net([1, 4, 6, 6])
    flat = n.conv(n.op("GlobalAveragePool", "x"), 4, 16)
    weights = n.op("Reshape", flat, n.ints(4, 4, 1, 1))
    return n.model(n.op("Add", n.op("Conv", "x", weights), "x"))


@case
def single_rows():
    """Reductions over what has one row or one channel, where dropping an axis must not change the order."""
    n = Net([1, 3, 1, 64])
    mean = n.op("ReduceMean", "x", axes=[3], keepdims=0)
    table = n.value(np.arange(1, 10).reshape(1, 3, 3))
    one = n.conv("x", 3, 1)
    return n.model(n.op("Mul", mean, table), n.op("ReduceMax", one, axes=[3], keepdims=0))


def half_precision(model):
    """Weights as half-precision numbers, cast when used, as size-saving exporters write them."""
    for t in list(model.graph.initializer):
        if t.data_type == TensorProto.FLOAT:
            half = numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float16), t.name + ".half")
            model.graph.initializer.remove(t)
            model.graph.initializer.append(half)
            model.graph.node.insert(0, helper.make_node("Cast", [half.name], [t.name], to=TensorProto.FLOAT))
    return model


def runtime(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def write(folder, name, model, **save):
    path = os.path.join(folder, name)
    onnx.save(model, path + ".onnx", **save)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(5).standard_normal(shape, dtype=np.float32)
    x.tofile(path + ".in")
    outputs = runtime(path + ".onnx").run(None, {model.graph.input[0].name: x})
    np.concatenate([np.asarray(y, np.float32).ravel() for y in outputs]).tofile(path + ".out")


def qdq():
    """A quantized network as other tools write it: unsigned activations, per-channel weights, a shared grid."""
    n = Net([1, 3, 20, 24])

    def grid(x, scale, zero=128, dtype=np.uint8):
        parts = n.value(scale), n.value(zero, dtype)
        return n.op("DequantizeLinear", n.op("QuantizeLinear", x, *parts), *parts)

    def weights(cout, cin, k):
        scale = RNG.uniform(0.002, 0.01, cout)
        stored = n.value(RNG.integers(-127, 128, (cout, cin, k, k)), np.int8)
        return n.op("DequantizeLinear", stored, n.value(scale), n.value(np.zeros(cout), np.int8), axis=0), scale

    # Signed, with a zero point whose type is known by way of other nodes only.
    x = grid("x", 0.03)
    signed = n.op("Cast", n.value(0, np.int64), to=TensorProto.INT8)
    for zero in [signed, n.op("Identity", signed)]:
        parts = n.value(0.03), zero
        x = n.op("DequantizeLinear", n.op("QuantizeLinear", x, *parts), *parts)
    w, scale = weights(16, 3, 3)
    stored = n.value(RNG.integers(-3000, 3000, 16), np.int32)
    b = n.op("DequantizeLinear", stored, n.value(scale * 0.03), axis=0)
    y = grid(n.op("Relu", n.op("Conv", x, w, b, pads=[1] * 4)), 0.02, 0)
    y = grid(n.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.02, 0)
    w, _ = weights(4, 16, 1)
    return n.model(n.op("DequantizeLinear", n.op("QuantizeLinear", n.op("Conv", y, w), n.value(0.05), n.value(3, np.int8)),
                        n.value(0.05), n.value(3, np.int8)))


# What a variant may differ by: the largest difference as a share of the largest value, and the root of the mean
# square as a share of that of the values. Integer arithmetic may round a sum the other way, which is one step.
LIMITS = {"half": (1e-2, 1e-2), "int8": (0.08, 0.03)}
# A quantized network rewritten to floats on the same grid rounds ties its own way: one step here and there.
REWRITTEN_GRID = (0.03, 0.01)


def check(folder):
    """What is wrong with each file that endort wrote."""
    wrong = []
    for name in sorted(os.listdir(folder)):
        if "@" not in name or not name.endswith(".onnx"):
            continue
        path = os.path.join(folder, name)
        stem, variant = name.removesuffix(".onnx").split("@")
        try:
            onnx.checker.check_model(path, full_check=True)
            session = runtime(path)
            first = session.get_inputs()[0]
            x = np.fromfile(os.path.join(folder, stem + ".in"), np.float32).reshape(first.shape)
            outputs = session.run(None, {first.name: x})
        except Exception as e:  # whatever it is, the file is wrong
            wrong.append(f"{name}: {type(e).__name__}: {str(e)[:400]}")
            continue
        own = path.replace(".onnx", ".out")
        expected = np.fromfile(own if os.path.exists(own) else os.path.join(folder, stem + ".out"), np.float32)
        largest, mean = LIMITS.get(variant.split("-")[0], (1e-4, 1e-4))
        if (stem, variant) == ("quantized", "fused"):
            largest, mean = REWRITTEN_GRID
        for i, y in enumerate(outputs):
            y = np.asarray(y, np.float32).ravel()
            e, expected = expected[: y.size], expected[y.size :]
            d = np.abs(y - e)
            if d.size and d.max() > largest * max(1e-3, np.abs(e).max()):
                wrong.append(f"{name}: output {i} differs by {d.max() / max(1e-3, np.abs(e).max()):.2e}")
            elif d.size and np.sqrt((d**2).mean()) > mean * max(1e-3, np.sqrt((e**2).mean())):
                wrong.append(f"{name}: output {i} differs by {np.sqrt((d**2).mean() / (e**2).mean()):.2e} on average")
    print("\n".join(wrong))
    return 1 if wrong else 0


def main():
    if sys.argv[1] == "--check":
        sys.exit(check(sys.argv[2]))
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, build in CASES.items():
        write(folder, name, build())
    write(folder, "quantized", qdq())
    exported = os.path.join(os.path.dirname(os.path.abspath(__file__)), "networks")
    for name in sorted(os.listdir(exported)):
        write(folder, name.removesuffix(".onnx"), onnx.load(os.path.join(exported, name)))
    write(folder, "half_precision_weights", half_precision(CASES["unet"]()))
    write(folder, "external_data", CASES["unet"](), save_as_external_data=True, location="weights.bin", size_threshold=64)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Exports three small networks by PyTorch's own exporter, for tests/it/engine.rs: tests/networks/*.onnx.

    python tests/peers/torch_networks.py tests/networks

The files are committed, so that the tests need no PyTorch. Weights are random (seeded), batch norms have moved
away from their start, and widths are a few channels. Made with torch 2.15 and onnxscript; where onnxscript is
absent, the older, TorchScript-based exporter is taken.
"""

import importlib.util
import os
import sys

import onnx
import torch
from torch import nn
from torch.nn import functional as F


def conv(cin, cout, k=3, s=1, g=1, act=None):
    layers = [nn.Conv2d(cin, cout, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(cout)]
    return nn.Sequential(*layers, *([act()] if act else []))


class UNet(nn.Module):
    """Ronneberger's U-Net with transposed convolutions."""

    def __init__(self, w=6):
        super().__init__()
        double = lambda a, b: nn.Sequential(conv(a, b, act=nn.ReLU), conv(b, b, act=nn.ReLU))
        self.down = nn.ModuleList([double(3, w), double(w, 2 * w), double(2 * w, 4 * w)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(4 * w, 2 * w, 2, 2), nn.ConvTranspose2d(2 * w, w, 2, 2)])
        self.join = nn.ModuleList([double(4 * w, 2 * w), double(2 * w, w)])
        self.head = nn.Conv2d(w, 1, 1)

    def forward(self, x):
        a = self.down[0](x)
        b = self.down[1](F.max_pool2d(a, 2))
        y = self.down[2](F.max_pool2d(b, 2))
        y = self.join[0](torch.cat([self.up[0](y), b], 1))
        y = self.join[1](torch.cat([self.up[1](y), a], 1))
        return self.head(y)


class Excite(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b = nn.Conv2d(c, c // 4, 1), nn.Conv2d(c // 4, c, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.b(F.relu(self.a(F.adaptive_avg_pool2d(x, 1)))))


class Bneck(nn.Module):
    def __init__(self, c, e, out, k, s, act, se):
        super().__init__()
        self.body = nn.Sequential(
            conv(c, e, 1, act=act), conv(e, e, k, s, g=e, act=act), *([Excite(e)] if se else []), conv(e, out, 1)
        )
        self.same = s == 1 and c == out

    def forward(self, x):
        return x + self.body(x) if self.same else self.body(x)


class MobileNetV3(nn.Module):
    """MobileNetV3's blocks (hard-swish, squeeze-and-excite) under an LR-ASPP head that segments."""

    def __init__(self):
        super().__init__()
        self.low = nn.Sequential(
            conv(3, 8, 3, 2, act=nn.Hardswish),
            Bneck(8, 16, 8, 3, 1, nn.ReLU, True),
            Bneck(8, 24, 12, 3, 2, nn.ReLU, False),
        )
        self.high = nn.Sequential(
            Bneck(12, 48, 20, 5, 2, nn.Hardswish, True), Bneck(20, 60, 20, 5, 1, nn.Hardswish, True)
        )
        self.head = conv(20, 16, 1, act=nn.ReLU)
        self.gate = nn.Conv2d(20, 16, 1, bias=False)
        self.low_out, self.high_out = nn.Conv2d(12, 1, 1), nn.Conv2d(16, 1, 1)

    def forward(self, x):
        low = self.low(x)
        high = self.high(low)
        y = self.head(high) * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(high, 1)))
        y = F.interpolate(y, size=low.shape[2:], mode="bilinear", align_corners=False)
        y = self.high_out(y) + self.low_out(low)
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)


class C2f(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b = conv(c, c, 1, act=nn.SiLU), conv(c + c // 2, c, 1, act=nn.SiLU)
        self.m = nn.Sequential(conv(c // 2, c // 2, act=nn.SiLU), conv(c // 2, c // 2, act=nn.SiLU))

    def forward(self, x):
        a, b = self.a(x).chunk(2, 1)
        return self.b(torch.cat([a, b, b + self.m(b)], 1))


class Yolo(nn.Module):
    """A YOLOv8-style detector: C2f, SPPF, two levels, distribution focal loss, decoded boxes."""

    def __init__(self, classes=1, bins=8):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 8, 3, 2, act=nn.SiLU), conv(8, 12, 3, 2, act=nn.SiLU), C2f(12))
        self.four = nn.Sequential(conv(12, 16, 3, 2, act=nn.SiLU), C2f(16))
        self.five = nn.Sequential(conv(16, 20, 3, 2, act=nn.SiLU), C2f(20), conv(20, 10, 1, act=nn.SiLU))
        self.spp = conv(40, 16, 1, act=nn.SiLU)
        self.merge = nn.Sequential(conv(32, 16, 1, act=nn.SiLU), C2f(16))
        self.heads = nn.ModuleList([nn.Conv2d(16, 4 * bins + classes, 1) for _ in range(2)])
        self.bins, self.classes, self.strides = bins, classes, (8, 16)

    def forward(self, x):
        four = self.four(self.stem(x))
        y = self.five(four)
        pools = [y]
        for _ in range(3):
            pools.append(F.max_pool2d(pools[-1], 5, 1, 2))
        five = self.spp(torch.cat(pools, 1))
        four = self.merge(torch.cat([F.interpolate(five, scale_factor=2.0, mode="nearest"), four], 1))
        outs, anchors, strides = [], [], []
        for level, head, stride in zip((four, five), self.heads, self.strides):
            h, w = level.shape[2:]
            outs.append(head(level).flatten(2))
            ys, xs = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
            anchors.append(torch.stack([xs.flatten(), ys.flatten()]))
            strides.append(torch.full((1, h * w), float(stride)))
        boxes, scores = torch.cat(outs, 2).split([4 * self.bins, self.classes], 1)
        boxes = boxes.view(1, 4, self.bins, -1).softmax(2)
        sides = (boxes * torch.arange(self.bins, dtype=torch.float32).view(1, 1, -1, 1)).sum(2)
        near, far = sides.chunk(2, 1)
        anchors, strides = torch.cat(anchors, 1), torch.cat(strides, 1)
        low, high = anchors - near, anchors + far
        boxes = torch.cat([(low + high) / 2, high - low], 1) * strides
        return torch.cat([boxes, scores.sigmoid()], 1)


def shake(net):
    """Batch norms as training would leave them."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.6, 1.4)
            nn.init.normal_(m.bias, 0, 0.2)
            nn.init.normal_(m.running_mean, 0, 0.2)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    return net.eval()


def strip(path):
    """Leaves the network and takes the notes: where in which file each node came from."""
    model = onnx.load(path)
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        thing.ClearField("metadata_props")
        thing.ClearField("doc_string")
    graph.ClearField("value_info")
    onnx.save(model, path)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    modern = importlib.util.find_spec("onnxscript") is not None
    for name, build, size in (("unet", UNet, 48), ("mobilenet_v3", MobileNetV3, 64), ("yolo", Yolo, 64)):
        torch.manual_seed(3)
        path = os.path.join(folder, f"torch_{name}.onnx")
        x = torch.zeros(1, 3, size, size + 16)
        torch.onnx.export(
            shake(build()), (x,), path, input_names=["x"], output_names=["y"], opset_version=18 if modern else 17,
            dynamo=modern, **({"external_data": False} if modern else {}),
        )
        strip(path)
        print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()

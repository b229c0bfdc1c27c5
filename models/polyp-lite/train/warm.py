"""Start training from an exported polyp-lite.onnx.

Export folds batch normalisation into the convolutions, so the statistics are gone. They are measured
again: with an identity normalisation in each place the network computes what the file computes; the mean
m and variance v seen there become the running statistics, gain sqrt(v + eps) and offset b + m, which
leaves the function unchanged and lets training go on as before the fold.
"""

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from net import SepBlock


def units(part, label):
    """(label, convolution, normalisation) in the order in which export.py names them."""
    if isinstance(part[0], nn.Conv2d):
        yield label, part[0], part[1]
        return
    for i, inner in enumerate(part):
        yield from units(inner.body if isinstance(inner, SepBlock) else inner, f"{label}.{i}")


def places(model):
    yield from units(model.encoder.stem, "stem")
    for i, block in enumerate(model.encoder.blocks):
        yield from units(block.body, f"block{i}")
    for label in ("lat5", "ctx5", "lat4", "ctx4", "lat3", "ctx3", "lat2", "red3", "ctx2"):
        yield from units(getattr(model, label), label)


@torch.no_grad()
def warm_start(model, path, pictures):
    """Fill `model` from the file at `path`; `pictures` are normalised batches to measure statistics on.

    The two auxiliary heads, which no file holds, keep their initial weights."""
    stored = {t.name: numpy_helper.to_array(t).astype(np.float32) for t in onnx.load(path).graph.initializer}

    def copy(parameter, name):
        value = torch.from_numpy(stored[name])
        if value.shape != parameter.shape:
            raise ValueError(f"{name}: {tuple(value.shape)} in {path}, {tuple(parameter.shape)} in the network")
        parameter.copy_(value)

    found = list(places(model))
    for label, conv, norm in found:
        copy(conv.weight, label + ".weight.h")
        copy(norm.bias, label + ".bias")
        norm.weight.fill_((1 + norm.eps) ** 0.5)
        norm.running_mean.zero_()
        norm.running_var.fill_(1)
    copy(model.mask.weight, "mask.weight.h")
    copy(model.mask.bias, "mask.bias")
    copy(model.frame.weight, "frame.weight.h")
    copy(model.frame.bias, "frame.bias")

    sums = {}

    def look(norm, inputs):
        x = inputs[0].double()
        total = sums.setdefault(norm, [0, 0, 0])
        total[0] += x.numel() / x.shape[1]
        total[1] = total[1] + x.sum((0, 2, 3))
        total[2] = total[2] + x.square().sum((0, 2, 3))

    hooks = [norm.register_forward_pre_hook(look) for _, _, norm in found]
    was = model.training
    model.eval()
    before = [model(x)[0] for x in pictures]
    for hook in hooks:
        hook.remove()
    for _, _, norm in found:
        n, total, squares = sums[norm]
        mean = total / n
        # a channel that hardly varies would get a vanishing gain and never learn again
        variance = (squares / n - mean.square()).clamp(min=1e-4)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean.float())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    worst = max(float((model(x)[0] - y).abs().max()) for x, y in zip(pictures, before))
    model.train(was)
    if worst > 0.05:
        raise ValueError(f"the warm start differs from {path} by {worst:.3f} in a mask logit")

"""Train polyp-lite. See README.md."""

import argparse
import json
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from augment import augment
from data import CENTRES, load_folder, load_polypgen
from net import ENCODERS, MEAN, STD, PolypLite, averaged, count
from warm import warm_start

# from this share of the schedule on, train at this size
SIZES = [(0.0, 256, 224), (0.36, 320, 256), (0.80, 352, 288)]
NEGATIVE_WEIGHT = 1.6
EXTRA_SHARE = 0.08


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", required=True, help="folder with polypgen/C1 ... C5")
    p.add_argument("--out", required=True, help="folder for checkpoints and the log")
    p.add_argument("--held-out", default="", help="centres left out, for instance C3 or C1,C4")
    p.add_argument("--extra", default="", help="folder with images/ and masks/ of rendered frames (a small share)")
    p.add_argument("--epochs", type=int, default=44)
    p.add_argument("--hours", type=float, default=0.0, help="compress the schedule into this wall-clock time (0: off)")
    p.add_argument("--steps", type=int, default=90, help="steps per epoch")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=1.0e-3, help="decoder; the encoder takes 0.35 of it")
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--ema", type=float, default=0.998)
    p.add_argument("--freeze", type=int, default=2, help="frozen encoder blocks after the stem (0: none, stem included)")
    p.add_argument("--drop-path", type=float, default=0.15)
    p.add_argument("--mixstyle", type=float, default=0.3)
    p.add_argument("--dropout", type=float, default=0.1)
    p.add_argument("--seed", type=int, default=17)
    p.add_argument("--encoder", choices=list(ENCODERS), default="lite0", help="lite2: a larger network, as a teacher")
    p.add_argument("--device", default="cpu", help="cpu, or cuda: there in bfloat16, as far as autocast goes")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--resume", action="store_true", help="go on from OUT/last.pt")
    p.add_argument("--tversky", type=float, default=0.5, help="weight of false against missed pixels (0.5: Dice)")
    p.add_argument("--teacher", default="", help="checkpoints whose mean mask is learned too, for instance A/final.pt,B/final.pt")
    p.add_argument("--teacher-share", type=float, default=0.5, help="of the mask's target that is the teacher's")
    p.add_argument("--init", default="", help="start from a checkpoint, or an exported polyp-lite.onnx, instead of the ImageNet weights")
    p.add_argument("--overfit", type=int, default=0, help="check: train on this many frames alone")
    return p.parse_args()


class Batches(torch.utils.data.Dataset):
    """One item is one batch, so that the worker does the collating too."""

    def __init__(self, frames, args, epoch, width, height):
        self.frames, self.args, self.epoch = frames, args, epoch
        self.width, self.height = width, height
        centres = [f.centre for f in frames]
        names = sorted(set(centres) - {"extra"})
        size = {c: centres.count(c) for c in names}
        weight = np.zeros(len(frames))
        for i, f in enumerate(frames):
            if f.centre != "extra":
                # between uniform over frames and uniform over hospitals
                weight[i] = size[f.centre] ** -0.5 * (1.0 if f.mask.any() else NEGATIVE_WEIGHT)
        weight /= weight.sum()
        if "extra" in centres:
            extra = np.array([c == "extra" for c in centres])
            weight[~extra] *= 1 - EXTRA_SHARE
            weight[extra] = EXTRA_SHARE / extra.sum()
        rng = np.random.default_rng((args.seed, epoch))
        n = args.steps * args.batch
        # systematic sampling: each frame appears as often as its weight says, give or take one
        order = np.searchsorted(np.cumsum(weight), (rng.random() + np.arange(n)) / n)
        self.order = rng.permutation(np.minimum(order, len(frames) - 1))
        self.by_centre = {c: [i for i, f in enumerate(frames) if f.centre == c] for c in set(centres)}

    def others(self, rng, i):
        """A frame of another hospital; never a rendered one."""
        names = [c for c in self.by_centre if c not in (self.frames[i].centre, "extra")] or list(self.by_centre)
        pool = self.by_centre[names[int(rng.integers(len(names)))]]
        return pool[int(rng.integers(len(pool)))]

    def __len__(self):
        return self.args.steps

    def __getitem__(self, step):
        cv2.setNumThreads(0)
        b = self.args.batch
        images = np.empty((b, self.height, self.width, 3), np.uint8)
        masks = np.empty((b, 1, self.height, self.width), np.uint8)
        edges = np.empty_like(masks)
        for k in range(b):
            i = int(self.order[step * b + k])
            rng = np.random.default_rng((self.args.seed, self.epoch, step * b + k))
            images[k], masks[k, 0], edges[k, 0] = augment(rng, self.frames, i, self.width, self.height, self.others)
        return torch.from_numpy(images), torch.from_numpy(masks), torch.from_numpy(edges)


def mask_loss(logits, target, weight, has, tversky=0.5):
    """Edge-weighted cross-entropy plus edge-weighted Tversky loss, each per frame; the latter only where there is a polyp.

    `has` is 1 for frames with a polyp and 0 for others: a teacher's target is above 0 everywhere, and the index of a
    target that is nearly empty rewards whatever little the teacher suspects. Tversky index (Salehi et al. 2017) with
    the weights `tversky` of false and 1 - `tversky` of missed pixels, which is Dice at 0.5. Targets may lie between
    0 and 1.
    """
    logits = F.interpolate(logits, target.shape[2:], mode="bilinear", align_corners=False)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    bce = (bce * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    p = torch.sigmoid(logits)
    both = (p * target * weight).sum((1, 2, 3))
    false = (p * weight).sum((1, 2, 3)) - both
    missed = (target * weight).sum((1, 2, 3)) - both
    dice = 1 - (both + 0.5) / (both + tversky * false + (1 - tversky) * missed + 0.5)
    return bce.mean() + (dice * has).sum() / has.sum().clamp(min=1)


class Teacher:
    """Networks that were trained before; their mean probability, where a student should learn it."""

    def __init__(self, paths, device):
        models = [averaged(path)[0].requires_grad_(False) for path in paths]
        self.models = [model.to(device, memory_format=torch.channels_last) for model in models]

    @torch.no_grad()
    def __call__(self, x):
        return sum(torch.sigmoid(model(x)[0].float()) for model in self.models) / len(self.models)


def total_loss(outputs, mask, edge, tversky=0.5, taught=None, share=0.0):
    """The loss of a batch, its mask part and its frame part; `taught` is a teacher's mask for the `share` of it."""
    logits, polyp, aux3, aux4 = outputs
    target = mask.float()
    weight = 1 + edge.float() * (4 / 255)
    extent = target.mean((1, 2, 3))
    label = (extent > 0).float()
    t4, w4 = F.avg_pool2d(target, 4), F.avg_pool2d(weight, 4)
    main = mask_loss(logits, target, weight, label, tversky)
    if taught is not None:
        main = (1 - share) * main + share * mask_loss(logits, taught, w4, label, tversky)
    aux = mask_loss(aux3, t4, w4, label, tversky) + mask_loss(aux4, t4, w4, label, tversky)
    sure = ((extent == 0) | (extent > 0.0008)).float()
    frame = F.binary_cross_entropy_with_logits(polyp[:, 0], label * 0.94 + 0.03, reduction="none")
    frame = (frame * sure).sum() / sure.sum().clamp(min=1)
    return main + 0.2 * aux + 0.25 * frame, main, frame


def normalise(image):
    """RGB bytes, NHWC, to the network's input."""
    mean = torch.tensor(MEAN, device=image.device).view(1, 3, 1, 1) * 255
    scale = 1 / (torch.tensor(STD, device=image.device).view(1, 3, 1, 1) * 255)
    return (image.permute(0, 3, 1, 2).float() - mean) * scale


def calibration(frames, args, batches=12):
    """Augmented pictures as training will show them, for the statistics that an exported file no longer has."""
    shown = Batches(frames, args, 1 << 20, *SIZES[0][1:])
    return [normalise(shown[step][0]) for step in range(min(batches, args.steps))]


class Ema:
    def __init__(self, model, decay):
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.decay, self.steps = decay, 0

    def update(self, model):
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for k, v in model.state_dict().items():
                if v.dtype.is_floating_point:
                    self.state[k].lerp_(v, 1 - d)
                else:
                    self.state[k].copy_(v)


def save(path, what):
    tmp = path.with_suffix(".tmp")
    torch.save(what, tmp)
    tmp.replace(path)


def groups(model, args):
    """Encoder and decoder rates; no decay on normalisation and biases; frozen layers left out."""
    frozen = []
    if args.freeze:
        frozen = [model.encoder.stem, *model.encoder.blocks[: args.freeze]]
        for m in frozen:
            m.requires_grad_(False)
    found = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            rate = 0.35 if name.startswith("encoder") else 1.0
            found.setdefault((rate, args.weight_decay if p.ndim > 1 else 0.0), []).append(p)
    # few groups: the optimizer walks over each group's parameters in one call
    out = [{"params": ps, "rate": rate, "weight_decay": decay} for (rate, decay), ps in found.items()]
    return out, frozen


def check_never_saw(held, path):
    """Stops where weights to begin with, or a teacher's, have learned from a centre that is to be left out."""
    without = torch.load(path, map_location="cpu", weights_only=False)["held_out"] if path.endswith(".pt") else []
    if seen := [c for c in held if c not in without]:
        raise SystemExit(f"--held-out: {path} has learned from {', '.join(seen)}; begin from what has not")


# what may differ between the command that began a run and the one that resumes it
ELSEWHERE = {"data", "out", "resume", "hours", "device", "threads", "workers"}


def resumed(out, args, device):
    """The state that OUT/last.pt holds, where it is of the run that `args` describes; None for a new run."""
    path = out / "last.pt"
    if not args.resume:
        if path.exists():
            raise SystemExit(f"{path} exists: give --resume to go on, or another --out")
        return None
    if not path.exists():
        raise SystemExit(f"--resume: there is no {path}")
    state = torch.load(path, map_location=device, weights_only=False)
    now, then = vars(args), state["args"]
    if differ := [k for k in now if k not in ELSEWHERE and k in then and now[k] != then[k]]:
        was = ", ".join(f"--{k.replace('_', '-')} {then[k]}" for k in differ)
        raise SystemExit(f"--resume: the run began with {was}; go on with that, or begin another --out")
    return state


def main():
    args = parse()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    held = [c.strip() for c in args.held_out.split(",") if c.strip()]
    if unknown := [c for c in held if c not in CENTRES]:
        raise SystemExit(f"--held-out: there is no {', '.join(unknown)}; there are {', '.join(CENTRES)}")
    teachers = [path for path in args.teacher.split(",") if path]
    for path in held and [*teachers, *([args.init] if args.init else [])]:
        check_never_saw(held, path)
    device = torch.device(args.device)
    state = resumed(out, args, device)
    frames = load_polypgen(args.data, [c for c in CENTRES if c not in held])
    if args.extra:
        frames += load_folder(args.extra, "extra")
    if args.overfit:
        frames = frames[:: max(1, len(frames) // args.overfit)][: args.overfit]

    model = PolypLite(args.drop_path, args.mixstyle, args.dropout, encoder=args.encoder)
    if args.init.endswith(".pt"):
        start = averaged(args.init)[0]
        if start.encoder.name != args.encoder:
            raise SystemExit(f"{args.init} holds {start.encoder.name}: give --encoder {start.encoder.name}")
        model.load_state_dict(start.state_dict())
    elif args.init:
        warm_start(model, args.init, calibration(frames, args))
    else:
        with torch.no_grad():
            model.encoder.load_imagenet()
    used, macs = count(model, *SIZES[-1][1:])
    print(f"{len(frames)} frames, {used / 1e6:.3f} M parameters, {macs / 1e9:.3f} GMAC at {SIZES[-1][1]}x{SIZES[-1][2]}", flush=True)
    model = model.to(device, memory_format=torch.channels_last)
    params, frozen = groups(model, args)
    optimizer = torch.optim.AdamW(params, lr=args.lr, fused=True)
    ema = Ema(model, args.ema)
    first, elapsed = 0, 0.0
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.state, ema.steps = state["ema"], state["ema_steps"]
        first, elapsed = state["epoch"], state["elapsed"]
    teacher = Teacher(teachers, device) if teachers else None
    began = time.time() - elapsed

    def progress(epoch, step):
        p = (epoch + step / args.steps) / args.epochs
        if args.hours:
            p = max(p, (time.time() - began) / (3600 * args.hours))
        return min(1.0, p)

    done_epochs = first
    for epoch in range(first, args.epochs):
        p0 = progress(epoch, 0)
        if args.hours and p0 >= 0.995:
            break
        # drop-path, MixStyle and dropout draw from this; a run that is resumed draws as one that was not interrupted
        torch.manual_seed(args.seed * 10007 + epoch)
        width, height = [s[1:] for s in SIZES if p0 >= s[0]][-1]
        loader = torch.utils.data.DataLoader(
            Batches(frames, args, epoch, width, height), batch_size=None,
            num_workers=args.workers, prefetch_factor=4 if args.workers else None,
        )
        model.train()
        for m in frozen:
            m.eval()
        sums, start, waited = np.zeros(4), time.time(), 0.0
        ready = time.time()
        for step, (image, mask, edge) in enumerate(loader):
            waited += time.time() - ready
            x, mask, edge = normalise(image.to(device)), mask.to(device), edge.to(device)
            p = progress(epoch, step)
            done = epoch * args.steps + step
            rate = args.lr * min(1.0, (done + 1) / 150) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * p)))
            for g in optimizer.param_groups:
                g["lr"] = rate * g["rate"]
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                taught = teacher(x) if teacher else None
                outputs = model(x)
            outputs = [o.float() for o in outputs]
            loss, seg, frame = total_loss(outputs, mask, edge, args.tversky, taught, args.teacher_share)
            if not torch.isfinite(loss):
                raise SystemExit(f"loss is {loss.item()} at epoch {epoch} step {step}")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            ema.update(model)
            sums += (loss.item(), seg.item(), frame.item(), float(norm))
            if step % 10 == 9:
                print(f"epoch {epoch} step {step + 1} loss {sums[0] / (step + 1):.3f} {(time.time() - start) / (step + 1):.2f} s/step", flush=True)
            ready = time.time()
        n = len(loader)
        line = {
            "epoch": epoch + 1, "size": f"{width}x{height}", "progress": round(progress(epoch + 1, 0), 4), "lr": round(rate, 7),
            "loss": round(sums[0] / n, 4), "mask_loss": round(sums[1] / n, 4), "frame_loss": round(sums[2] / n, 4),
            "grad_norm": round(sums[3] / n, 3), "seconds": round(time.time() - start, 1), "waited": round(waited, 1),
        }
        with open(out / "log.jsonl", "a") as f:
            f.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        state = {
            "model": model.state_dict(), "ema": ema.state, "ema_steps": ema.steps, "optimizer": optimizer.state_dict(),
            "epoch": epoch + 1, "elapsed": time.time() - began, "args": vars(args), "held_out": held,
        }
        save(out / "last.pt", state)
        done_epochs = epoch + 1
        if (epoch + 1) % 5 == 0:
            save(out / f"ema-{epoch + 1:03d}.pt", {"ema": ema.state, "epoch": epoch + 1, "held_out": held, "args": vars(args)})
    save(out / "final.pt", {"ema": ema.state, "epoch": done_epochs, "held_out": held, "args": vars(args)})


if __name__ == "__main__":
    main()

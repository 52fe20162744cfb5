#!/usr/bin/env python3
"""Trains a bundled model on the stories of `stories.py` and writes its directory.

    python3 models/train.py --objective plain      models/stories
    python3 models/train.py --objective matryoshka models/stories-nested

`plain` minimizes the cross-entropy of the next byte. `matryoshka` minimizes the sum of that loss at 8, 4
and 2 bits, all sliced from the same 8-bit codes (arXiv 2502.06786, sections 3.1 and 3.2), with
straight-through rounding. Stories, steps, seed and learning rates are the same for both.
"""

import argparse
import json
import math
import os
import time

import torch
from torch.nn import functional as F

import golden
import stories
from network import Network, description

ROWS, LENGTH = 2, 1024  # one step: rows of so many bytes
LEARNING_RATE = {"matrices": 0.01, "tables": 0.01, "rest": 3e-3}
BALANCE = 0.01  # weight of the loss that keeps all experts in use
OBJECTIVES = {"plain": [None], "matryoshka": [8, 4, 2]}
WIDTHS = {"f32": None, "int8": 8, "int4": 4, "int2": 2}


def batches(seed):
    """Endless batches of bytes [ROWS, LENGTH + 1], every story told once.

    A row starts where a story starts, every second one with the newline before it, so that a prompt
    needs no special first byte.
    """
    story = seed << 20
    while True:
        rows = []
        for row in range(ROWS):
            text = "\n" * (row % 2)
            while len(text) <= LENGTH:
                text += stories.story(story)[0] + "\n"
                story += 1
            rows.append(list(text[: LENGTH + 1].encode("ascii")))
        yield torch.tensor(rows)


class Muon(torch.optim.Optimizer):
    """Momentum whose update of a matrix is made orthogonal by Newton-Schulz steps.

    Keller Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024); the polynomial is his.
    """

    def __init__(self, matrices, lr):
        super().__init__(matrices, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for setting in self.param_groups:
            for weight in setting["params"]:
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 0.05)
                update = weight.grad.lerp(momentum, 0.95)
                update = update / (update.norm(dim=(-2, -1), keepdim=True) + 1e-7)
                tall = update.shape[-2] > update.shape[-1]
                update = update.mT if tall else update
                for _ in range(5):
                    square = update @ update.mT
                    update = 3.4445 * update + (2.0315 * square @ square - 4.7750 * square) @ update
                update = update.mT if tall else update
                gain = max(1.0, weight.shape[-2] / weight.shape[-1]) ** 0.5
                weight.add_(update, alpha=-setting["lr"] * gain)


def backward(network, rows, widths):
    """Adds up the gradients of the losses at all `widths`; gives the mean of these losses in nats per byte."""
    mean = 0.0
    for bits in widths:
        out = network(rows[:, :-1], bits)
        loss = F.cross_entropy(out.logits.flatten(0, 1), rows[:, 1:].flatten())
        (loss + BALANCE * out.balance).backward()
        mean += loss.item() / len(widths)
    return mean


@torch.no_grad()
def heldout_loss(network, bits):
    """Nats per byte of the held-out text, each story told after a newline and nothing else."""
    with open(os.path.join(os.path.dirname(__file__), "heldout.txt"), encoding="ascii") as file:
        lines = file.read().splitlines()
    total, size = 0.0, 0
    for start in range(0, len(lines), 16):
        batch = [list(("\n" + line + "\n").encode()) for line in lines[start : start + 16]]
        length = max(map(len, batch))
        padded = torch.tensor([row + [0] * (length - len(row)) for row in batch])
        loss = F.cross_entropy(
            network(padded[:, :-1], bits).logits.flatten(0, 1), padded[:, 1:].flatten(), ignore_index=0, reduction="sum"
        )
        total += loss.item()
        size += sum(len(row) - 1 for row in batch)
    return total / size


def train(network, objective, steps, seed):
    """Trains in place; the learning rate rises for 2 % of the steps and falls linearly over the last half."""
    kinds = {"matrices": [], "tables": [network.embedding, network.head], "rest": []}
    for name, weight in network.blocks.named_parameters():
        kinds["matrices" if weight.ndim > 1 and "router" not in name else "rest"].append(weight)
    kinds["rest"].append(network.final_norm)
    adam = [{"params": kinds[kind], "lr": LEARNING_RATE[kind]} for kind in ("tables", "rest")]
    optimizers = [Muon(kinds["matrices"], LEARNING_RATE["matrices"]), torch.optim.Adam(adam, betas=(0.9, 0.95))]
    schedule = lambda step: min(1.0, (step + 1) / (0.02 * steps), 2 * (1 - step / steps))
    schedulers = [torch.optim.lr_scheduler.LambdaLR(optimizer, schedule) for optimizer in optimizers]
    started = time.time()
    for step, rows in zip(range(steps), batches(seed)):
        loss = backward(network, rows, OBJECTIVES[objective])
        for optimizer, scheduler in zip(optimizers, schedulers):
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5} loss {loss:.4f} after {time.time() - started:.0f} s", flush=True)
    return time.time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory")
    parser.add_argument("--objective", choices=OBJECTIVES, required=True)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)

    config = description(os.path.basename(os.path.normpath(arguments.directory)))
    network = Network(config)
    seconds = train(network, arguments.objective, arguments.steps, arguments.seed)
    network.round_to_f16()

    losses = {name: round(heldout_loss(network, bits), 4) for name, bits in WIDTHS.items()}
    print(losses)
    text, log_prob = stories.heldout()
    facts = {
        "description": f"Small stories, one to a line, byte-level; trained with the {arguments.objective} objective.",
        "objective": arguments.objective,
        "seed": arguments.seed,
        "steps": arguments.steps,
        "training_bytes": arguments.steps * ROWS * LENGTH,
        "training_seconds": round(seconds),
        "heldout_nats_per_byte": losses,
        "heldout_entropy_nats_per_byte": round(-log_prob / len(text), 4),
        "samples": {name: golden.sample(network, bits) for name, bits in WIDTHS.items()},
    }
    golden.write(arguments.directory, config, network, facts)


if __name__ == "__main__":
    main()

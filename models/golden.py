"""Writes a model directory: weights, description, golden results of a plain f32 forward, and facts.

The golden results are few (two short prompts, and a long one that fills every window three times, without
its hidden states): all bundled files together stay below 4 MB.
"""

import json
import os
import platform

import torch
from safetensors.torch import save_file

import stories

SHORT = 12  # bytes of each of the two short prompts
NEW_TOKENS = 24
TRIES = 64  # prompts looked at, at most, to find those without near ties
NEAR_TIE = {"tokens": 3e-3, "experts": 3e-4}  # smaller leads may turn over in another order of summation


@torch.no_grad()
def greedy(network, ids, count):
    """The `count` likeliest next bytes one after the other [B, count], and the logits of each."""
    chosen, logits = [], []
    for _ in range(count):
        logits.append(network(ids).logits[:, -1])
        chosen.append(logits[-1].argmax(-1, keepdim=True))
        ids = torch.cat([ids, chosen[-1]], 1)
    return torch.cat(chosen, 1), torch.stack(logits, 1)


@torch.no_grad()
def sample(network, bits, count=200):
    """`count` bytes told from a newline on, each drawn from the model's own distribution."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.tensor([[ord("\n")]])
    for _ in range(count):
        probability = network(ids, bits).logits[:, -1].softmax(-1)
        ids = torch.cat([ids, torch.multinomial(probability, 1, generator=generator)], 1)
    return bytes(ids[0, 1:].tolist()).decode("ascii", "backslashreplace")


@torch.no_grad()
def results(network, ids, prefix, hidden):
    """Golden tensors for a prompt `ids` [B, T]; hidden states only where `hidden`."""
    out = network(ids)
    tensors = {"input_ids": ids, "logits": out.logits}
    tensors["greedy_ids"], tensors["greedy_logits"] = greedy(network, ids, NEW_TOKENS)
    if hidden:
        tensors["last_layer_output"] = out.hidden[-1]
        for i, state in enumerate(out.hidden[:-1] + [out.final]):
            tensors[f"hidden_states.{i}"] = state
    for i, route in enumerate(out.routes):
        tensors[f"router_logits.{i}"] = route.logits
        tensors[f"router_topk_idx.{i}"] = route.index
        tensors[f"router_topk_weight.{i}"] = route.weight
    return {prefix + name: tensor.contiguous() for name, tensor in tensors.items()}


def margins(network, ids):
    """The least lead of a greedy byte over the next best, and of a chosen expert over one not chosen."""
    chosen, logits = greedy(network, ids, NEW_TOKENS)
    best = logits.topk(2, -1).values
    routes = network(torch.cat([ids, chosen], 1)).routes
    leads = [route.probability.topk(route.index.shape[-1] + 1, -1).values for route in routes]
    gaps = [(lead[:, -2] - lead[:, -1]).min().item() for lead in leads]
    return {"min_greedy_top1_top2_gap": (best[..., 0] - best[..., 1]).min().item(), "min_router_gap": min(gaps)}


def clearest(network, prompts):
    """The first of these prompts [B, T] that is well away from a near tie, or else the farthest; and how far."""
    best = 0.0, None, None
    for ids in prompts:
        gap = margins(network, ids)
        clear = min(gap["min_greedy_top1_top2_gap"] / NEAR_TIE["tokens"], gap["min_router_gap"] / NEAR_TIE["experts"])
        if clear > best[0]:
            best = clear, ids, gap
        if clear > 2.0:
            break
    return best[1:]


def prompts(count, length):
    """`TRIES` prompts [count, length] from the held-out stories."""
    starts = (list(stories.story(stories.HELDOUT_SEED + i)[0][:length].encode()) for i in range(TRIES * count))
    for _ in range(TRIES):
        yield torch.tensor([next(starts) for _ in range(count)])


def write(directory, config, network, facts):
    """Writes `config.json`, `model.safetensors`, `golden.safetensors` and `golden.json`."""
    os.makedirs(directory, exist_ok=True)
    weights = network.tensors()
    save_file(weights, os.path.join(directory, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(directory, "config.json"), "w") as file:
        file.write(json.dumps(config, indent=2) + "\n")

    window = max(s["op"].get("attention", {}).get("window", 0) for b in config["blocks"] for s in b["sublayers"])
    short, gap = clearest(network, prompts(2, SHORT))
    long, long_gap = clearest(network, prompts(1, 3 * window + 1))
    tensors = results(network, short, "", True) | results(network, long, "long_", False)
    save_file(tensors, os.path.join(directory, "golden.safetensors"), {"format": "pt"})

    facts = {
        "name": config["name"],
        "weights_dtype": "float16",
        "computed_in": "float32 on CPU, weights widened from float16 before any arithmetic, no quantization",
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "parameters": sum(weight.numel() for weight in weights.values()),
        "run": {"B": 2, "T": SHORT, "T_long": long.shape[1], "n_new": NEW_TOKENS},
        "statistics": gap | {f"long_{name}": value for name, value in long_gap.items()},
        "max_abs_logit": max(t.abs().max().item() for n, t in tensors.items() if "logits" in n and "router" not in n),
        "tensors": {n: f"{'i64' if t.dtype == torch.int64 else 'f32'} {list(t.shape)}" for n, t in sorted(tensors.items())},
    } | facts
    with open(os.path.join(directory, "golden.json"), "w") as file:
        file.write(json.dumps(facts, indent=1) + "\n")

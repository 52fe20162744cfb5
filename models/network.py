"""The bundled transformer in PyTorch: the description that `config.json` holds, and what it computes.

The blocks are read from the description, so this is also an independent reading of it; it covers what
the bundled models use (RMS norms, rotary or no positions, gated SiLU, softmax top-k routing).
"""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

QUANT_BLOCK = 32  # inputs that share a scale and a zero point
NORM = {"kind": "rms", "eps": 1e-6}


def description(name):
    """The model as data, in the crate's native format."""

    def attention(window, theta, qk_norm):
        rope = {"theta": theta, "rotary_dim": 32, "layout": "half_split", "scaling": "none"}
        op = {"heads": 4, "kv_heads": 2, "head_dim": 32, "scale": 32**-0.5, "rope": rope}
        op |= {"window": window} if window else {}
        op |= {"qk_norm": NORM} if qk_norm else {}
        return {"norm": NORM, "op": {"attention": op}}

    def feed_forward(hidden):
        return {"hidden": hidden, "activation": "silu", "gated": True}

    dense = {"norm": NORM, "op": {"feed_forward": feed_forward(192)}}
    routing = {"topk": {"score": "softmax", "renormalize": True}}
    experts = {"count": 8, "top_k": 2, "routing": routing, "expert": feed_forward(64)}
    sparse = {"norm": NORM, "op": {"experts": experts}}
    previous, local, overall = attention(2, 1e2, False), attention(48, 1e4, False), attention(None, 1e6, True)
    return {
        "name": name,
        "vocab_size": 256,
        "hidden_size": 128,
        "context_length": 1024,
        "blocks": [{"sublayers": pair} for pair in ([previous, dense], [local, sparse], [overall, sparse], [local, dense])],
        "final_norm": NORM,
        "head": {"tied": False},
    }


def sliced(weight, bits):
    """`weight` [.., out, in] as served at `bits`; the gradient passes as if nothing had been rounded.

    8-bit min-max codes per block of inputs, then the top `bits` of them, rounded and clamped
    (arXiv 2502.06786, section 3; the zero point stays real). `None`: the weight itself.
    """
    if bits is None:
        return weight
    blocks = weight.detach().unflatten(-1, (-1, QUANT_BLOCK))
    low, high = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    scale = torch.where(high > low, (high - low) / 255, torch.ones_like(low))
    zero = -low / scale
    code = (blocks / scale + zero + 0.5).floor().clamp(0, 255)
    step = 2 ** (8 - bits)
    code = (code / step + 0.5).floor().clamp(0, 2**bits - 1)
    served = ((code * step - zero) * scale).flatten(-2)
    return weight + (served - weight).detach()


def rms_norm(x, weight):
    return F.rms_norm(x, weight.shape, weight, NORM["eps"])


def rotate(x, theta):
    """Rotary positions on [.., T, h]; element i turns with element i + h/2."""
    half = x.shape[-1] // 2
    frequency = (theta ** (-torch.arange(half, dtype=torch.float64) / half)).float()
    angle = (torch.arange(x.shape[-2], dtype=torch.float32)[:, None] * frequency).double()
    cos, sin = angle.cos().float(), angle.sin().float()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def windowed_attention(q, k, v, window, scale):
    """Causal attention to the `window` latest positions, own included; q, k, v [B, H, T, h].

    Cut into pieces no shorter than the window: a query sees keys of its own piece and of the one before.
    """
    batch, length, piece = q.shape[0], q.shape[2], max(window, 32)
    pad = -length % piece
    q, k, v = (F.pad(t, (0, 0, 0, pad)).unflatten(2, (-1, piece)).transpose(1, 2) for t in (q, k, v))
    k, v = (torch.cat([F.pad(t, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1], t], 3) for t in (k, v))
    query, key = torch.arange(piece)[:, None] + piece, torch.arange(2 * piece)
    mask = (key > query - window) & (key <= query)
    first = mask & (key >= piece)
    mask = torch.cat([first[None], mask.expand(q.shape[1] - 1, -1, -1)])[None, :, None]
    mask = mask.expand(batch, -1, -1, -1, -1).flatten(0, 1)
    out = F.scaled_dot_product_attention(*(t.flatten(0, 1) for t in (q, k, v)), attn_mask=mask, scale=scale)
    return out.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)[:, :, :length]


class SubLayer(nn.Module):
    """`x + op(norm(x))`."""

    def __init__(self, width, spec):
        super().__init__()
        (self.kind, self.op), = spec["op"].items()
        self.norm = nn.Parameter(torch.ones(width))
        getattr(self, f"make_{self.kind}")(width)

    def matrix(self, *shape):
        return nn.Parameter(torch.randn(*shape) * shape[-1] ** -0.5)

    def make_attention(self, width):
        inner, kv = (self.op[key] * self.op["head_dim"] for key in ("heads", "kv_heads"))
        self.q, self.k, self.v = self.matrix(inner, width), self.matrix(kv, width), self.matrix(kv, width)
        self.out = nn.Parameter(torch.zeros(width, inner))
        if "qk_norm" in self.op:
            self.q_norm = nn.Parameter(torch.ones(self.op["head_dim"]))
            self.k_norm = nn.Parameter(torch.ones(self.op["head_dim"]))

    def make_feed_forward(self, width):
        hidden = self.op["hidden"]
        self.gate, self.up = self.matrix(hidden, width), self.matrix(hidden, width)
        self.down = nn.Parameter(torch.zeros(width, hidden))

    def make_experts(self, width):
        count, hidden = self.op["count"], self.op["expert"]["hidden"]
        self.router = self.matrix(count, width)
        self.gate, self.up = self.matrix(count, hidden, width), self.matrix(count, hidden, width)
        self.down = nn.Parameter(torch.zeros(count, width, hidden))

    def forward(self, x, bits, routes):
        y = rms_norm(x, self.norm)
        return x + getattr(self, self.kind)(y, bits, routes)

    def attention(self, x, bits, _):
        op = self.op
        rows = sliced(torch.cat([self.q, self.k, self.v]), bits)
        heads = F.linear(x, rows).unflatten(-1, (-1, op["head_dim"])).transpose(1, 2)
        q, k, v = heads.split([op["heads"], op["kv_heads"], op["kv_heads"]], 1)
        if "qk_norm" in op:
            q, k = rms_norm(q, self.q_norm), rms_norm(k, self.k_norm)
        q, k = rotate(q, op["rope"]["theta"]), rotate(k, op["rope"]["theta"])
        k, v = (t.repeat_interleave(op["heads"] // op["kv_heads"], 1) for t in (k, v))
        if "window" in op:
            y = windowed_attention(q, k, v, op["window"], op["scale"])
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=op["scale"])
        return F.linear(y.transpose(1, 2).flatten(2), sliced(self.out, bits))

    def feed_forward(self, x, bits, _):
        gate, up = F.linear(x, sliced(torch.cat([self.gate, self.up]), bits)).chunk(2, -1)
        return F.linear(F.silu(gate) * up, sliced(self.down, bits))

    def experts(self, x, bits, routes):
        tokens = x.flatten(0, 1)
        logits = F.linear(tokens, self.router)
        probability = logits.softmax(-1)
        weight, index = probability.topk(self.op["top_k"])
        weight = weight / weight.sum(-1, keepdim=True)
        routes.append(SimpleNamespace(logits=logits, probability=probability, weight=weight, index=index))
        gate_up, down = sliced(torch.cat([self.gate, self.up], 1), bits), sliced(self.down, bits)
        y = torch.zeros_like(tokens)
        for expert in range(self.op["count"]):
            token, choice = (index == expert).nonzero(as_tuple=True)
            gate, up = F.linear(tokens[token], gate_up[expert]).chunk(2, -1)
            answer = F.linear(F.silu(gate) * up, down[expert])
            y = y.index_add(0, token, answer * weight[token, choice, None])
        return y.view_as(x)


class Network(nn.Module):
    """The whole model: bytes [B, T] to logits [B, T, vocab] and what happened on the way."""

    def __init__(self, config):
        super().__init__()
        width, vocab = config["hidden_size"], config["vocab_size"]
        self.embedding = nn.Parameter(torch.zeros(vocab, width))
        self.blocks = nn.ModuleList(
            nn.ModuleList(SubLayer(width, spec) for spec in block["sublayers"]) for block in config["blocks"]
        )
        self.final_norm = nn.Parameter(torch.ones(width))
        self.head = nn.Parameter(torch.zeros(vocab, width))
        self.start_copying()

    @torch.no_grad()
    def start_copying(self):
        """Starts the first and the global attention as an induction head (arXiv 2209.11895).

        To tell who does what, a story's names must be copied, and to find by gradient how to look back takes
        longer than to learn everything else. So bytes start in the lower half of the residual stream; the
        first attention adds the mean of a byte and the one before to the upper half; the global one asks for
        positions whose previous byte is the current one and adds the byte it finds there to the upper half,
        which the head reads. All of it is trained on.
        """
        first, overall = self.blocks[0][0], self.blocks[2][0]
        half = self.embedding.shape[1] // 2
        same = torch.eye(half).unflatten(0, (first.op["kv_heads"], -1))  # [kv_heads, h, half]
        shared = same.repeat_interleave(first.op["heads"] // first.op["kv_heads"], 0).flatten(0, 1)
        self.embedding[:, :half].normal_()
        first.q.mul_(0.1), first.k.mul_(0.1)
        for attention in first, overall:
            attention.v[:, :half], attention.v[:, half:] = torch.eye(half), 0
            attention.out[half:] = shared.T / 2
        overall.q[:, :half], overall.q[:, half:] = shared, 0
        # Half the embedding is empty, so its norm is 1 / sqrt(2) of what the first attention saw.
        overall.k[:, :half], overall.k[:, half:] = -(0.5**0.5) * torch.eye(half), torch.eye(half)
        overall.q_norm.fill_(1.7), overall.k_norm.fill_(1.7)
        self.head[:, half:] = self.embedding[:, :half] / 10

    def forward(self, ids, bits=None):
        """Weights served at `bits`: all projections, the experts and the head; `None` leaves them as they are.

        Gives `logits`, `hidden` (the embedding, then each block's result), `routes` (one for each experts
        sub-layer) and `balance` (Switch transformers, arXiv 2101.03961, eq. 4: 1 when all experts are
        used alike).
        """
        x = self.embedding[ids]
        hidden, routes = [x], []
        for block in self.blocks:
            for sublayer in block:
                x = sublayer(x, bits, routes)
            hidden.append(x)
        x = rms_norm(x, self.final_norm)
        balance = 0.0
        for route in routes:
            count = route.logits.shape[-1]
            share = F.one_hot(route.index, count).float().mean((0, 1))
            balance = balance + count * (share * route.probability.mean(0)).sum() / len(routes)
        return SimpleNamespace(
            logits=F.linear(x, sliced(self.head, bits)), final=x, hidden=hidden, routes=routes, balance=balance
        )

    @torch.no_grad()
    def round_to_f16(self):
        """Rounds every weight to the nearest f16, kept as f32."""
        for weight in self.parameters():
            weight.copy_(weight.half().float())

    def tensors(self):
        """Every weight by its name in the crate's native format, f16."""
        named = {}
        for name, weight in self.named_parameters():
            parts = name.split(".")
            if parts[0] == "blocks":
                name = ".".join(["blocks", parts[1], "sublayers", parts[2], parts[3]])
            if weight.ndim == 3:  # stacked experts
                for expert, matrix in enumerate(weight):
                    stem, leaf = name.rsplit(".", 1)
                    named[f"{stem}.experts.{expert}.{leaf}.weight"] = matrix
            else:
                named[f"{name}.weight"] = weight
        return {name: weight.detach().half().contiguous() for name, weight in named.items()}

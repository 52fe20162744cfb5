#!/usr/bin/env python3
"""Small stories from a grammar, with the exact information each of them carries.

A story is one line of ASCII text. Its grammar is in `grammar.py`; this file is the engine:

    [a|b|c]    one of the alternatives, all equally likely; alternatives may nest
    {hero}     the entity of that name; drawn from its table at the first mention and remembered
    {hero.he}  an attribute of it; {hero.He} the same with a capital; a list draws one member

Nothing is drawn that the text does not show: an entity is drawn where the text first needs it and is
always written out, and the alternatives of a bracket read differently. So a text has one derivation,
and the sum of the logarithms of its choices is its exact log-probability under the grammar. (Were some
text reachable in two ways, the sum would be the smaller number: an upper bound on the information.)
The mean over many stories, divided by their bytes, is the generator's entropy in nats per byte: no
model can have a lower loss on fresh stories, except by luck.

    python3 models/stories.py                      three stories
    python3 models/stories.py --heldout FILE       the held-out text
    python3 models/stories.py --entropy            entropy in nats per byte, with its standard error
    python3 models/stories.py --check              nothing is drawn that the text does not show
"""

import argparse
import functools
import math
import random
import re

from grammar import PLOTS, TABLES

# Stories of the held-out text have the seeds HELDOUT_SEED, HELDOUT_SEED + 1, ...; training stays below.
HELDOUT_SEED = 1 << 40
HELDOUT_BYTES = 64 * 1024


@functools.lru_cache(maxsize=None)
def parse(text):
    """Text as a tuple of parts: ('text', s), ('choice', [parts, ...]) or ('mention', name, attribute)."""
    tokens = re.findall(r"[\[\]|]|\{[^}]*\}|[^\[\]|{}]+", text)
    position = 0

    def sequence(nested):
        nonlocal position
        parts = []
        while position < len(tokens) and not (nested and tokens[position] in "|]"):
            token = tokens[position]
            position += 1
            if token == "[":
                alternatives = []
                while tokens[position - 1] != "]":
                    alternatives.append(sequence(True))
                    position += 1
                parts.append(("choice", alternatives))
            elif token[0] == "{":
                name, _, attribute = token[1:-1].partition(".")
                parts.append(("mention", name, attribute))
            else:
                parts.append(("text", token))
        return parts

    return sequence(False)


class Teller:
    """One telling: the random stream, what has been mentioned, and the log-probability so far."""

    def __init__(self, seed):
        self.random = random.Random(seed).random
        self.entities = {}
        self.drawn = {}
        self.log_prob = 0.0

    def choose(self, options):
        """One of `options`, all equally likely."""
        self.log_prob -= math.log(len(options))
        return options[int(self.random() * len(options))]

    def draw(self, source, options):
        """One of `options` that this story has not drawn from `source` yet."""
        used = self.drawn.setdefault(source, [])
        used.append(self.choose([option for option in options if option not in used]))
        return used[-1]

    def entity(self, name):
        """The entity of that name, drawn from its table if this is its first mention."""
        if name not in self.entities:
            source = name.rstrip("0123456789")
            table = TABLES[source]
            if isinstance(table, str):  # another table, or a list among another entity's attributes
                source, _, attribute = table.partition(".")
                table = self.entity(source)[attribute] if attribute else TABLES[source]
                source = f"{source}.{attribute}" if attribute else source
            self.entities[name] = self.draw(source, table)
        return self.entities[name]

    def mention(self, name, attribute):
        """What the text says for `{name}` or `{name.attribute}`."""
        value = self.entity(name)
        if not attribute:
            return value["name"] if isinstance(value, dict) else value
        key = attribute.lower()
        value = value[key]
        if isinstance(value, list):
            value = self.draw(f"{name}.{key}", value)
        return value if key == attribute else value[0].upper() + value[1:]

    def tell(self, parts):
        """`parts` with every choice made and every mention written out."""
        written = []
        for kind, *part in parts:
            if kind == "text":
                written.append(part[0])
            elif kind == "choice":
                written.append(self.tell(self.choose(part[0])))
            else:
                written.append(self.mention(*part))
        return "".join(written)


def told(seed):
    """The story of a seed, one line without its newline, its log-probability in nats, and its entities."""
    teller = Teller(seed)
    text = " ".join(teller.tell(parse(sentence)) for sentence in teller.choose(PLOTS))
    return text, teller.log_prob, teller.entities


def story(seed):
    """The text and the log-probability alone."""
    return told(seed)[:2]


def heldout():
    """The held-out text, whole stories, and its log-probability in nats."""
    lines, size, log_prob = [], 0, 0.0
    while size < HELDOUT_BYTES:
        text, nats = story(HELDOUT_SEED + len(lines))
        lines.append(text + "\n")
        size += len(text) + 1
        log_prob += nats
    return "".join(lines), log_prob


def entropy(count):
    """Mean entropy in nats per byte over `count` fresh stories, and its standard error."""
    pairs = [(-nats, len(text) + 1) for text, nats in (story(HELDOUT_SEED * 2 + i) for i in range(count))]
    size = sum(length for _, length in pairs)
    rate = sum(nats for nats, _ in pairs) / size
    variance = sum((nats - rate * length) ** 2 for nats, length in pairs) / count
    return rate, math.sqrt(variance / count) * count / size


def check(count):
    """Fails if a story draws an entity that it never writes, or if two seeds tell the same story."""
    texts = set()
    for seed in range(count):
        text, _, entities = told(seed)
        for name, value in entities.items():
            value = value["name"] if isinstance(value, dict) else value
            assert value in text, f"seed {seed}: {name} = {value!r} is not in the text"
        assert text not in texts, f"seed {seed}: told before"
        assert text.isascii()
        texts.add(text)
    print(f"{count} stories, all different, every draw visible; {min(map(len, texts))} to {max(map(len, texts))} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--heldout", metavar="FILE", help="write the held-out text")
    parser.add_argument("--entropy", action="store_true", help="measure the entropy over 20000 stories")
    parser.add_argument("--check", action="store_true", help="check 20000 stories")
    arguments = parser.parse_args()
    if arguments.check:
        check(20000)
    elif arguments.heldout:
        text, log_prob = heldout()
        with open(arguments.heldout, "w", encoding="ascii", newline="\n") as file:
            file.write(text)
        print(f"{len(text)} bytes, {-log_prob / len(text):.4f} nats/byte")
    elif arguments.entropy:
        print("%.4f +- %.5f nats/byte" % entropy(20000))
    else:
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            text, log_prob = story(seed)
            print(f"{text}\n    ({len(text) + 1} bytes, {-log_prob:.1f} nats)\n")


if __name__ == "__main__":
    main()

"""The baseline of a language model: n-grams, interpolated as Witten and Bell do, which leaves
nothing to tune.

    p(w | h) = (c(h w) + n(h) p(w | h')) / (c(h) + n(h))
    c: count in the text learned from; n(h): different words seen after h; h': h without its first
    word; below the 1-gram stands 1 / V, V: different ids in all the texts

Witten and Bell 1991, method C; Chen and Goodman 1998, section 2.5.
"""
import math


def counts(rows, order):
    """Per length of history, per history: how often each id follows it, inside a row."""
    found = [{} for _ in range(order)]
    for row in rows:
        for t in range(1, len(row)):
            for length in range(min(order - 1, t) + 1):
                after = found[length].setdefault(tuple(row[t - length:t]), {})
                after[row[t]] = after.get(row[t], 0) + 1
    return found


def perplexities(learned, held, order):
    """exp(mean -log p) of every id but a row's first, for n = 1, 2, ... order. In 0 < t < n - 1 the
    history is the row's beginning."""
    tables = [{history: (after, sum(after.values())) for history, after in level.items()}
              for level in counts(learned, order)]
    size = len({i for rows in (learned, held) for row in rows for i in row})
    nll, tokens = [0.0] * order, 0
    for row in held:
        tokens += len(row) - 1
        for t in range(1, len(row)):
            p = 1 / size
            for length in range(order):
                after, total = {}, 0
                if length <= t:
                    after, total = tables[length].get(tuple(row[t - length:t]), (after, total))
                if total > 0:
                    p = (after.get(row[t], 0) + len(after) * p) / (total + len(after))
                nll[length] -= math.log(p)
    return [math.exp(one / tokens) for one in nll]

"""The baseline of a language model: n-grams, interpolated as Witten and Bell do, which leaves nothing to tune.

    p(w | h) = (c(h w) + n(h) p(w | h')) / (c(h) + n(h))        Witten & Bell 1991, method C; Chen & Goodman 1998, section 2.5
    c: count in the text learned from; n(h): different words seen after h; h': h without its first word; p(w) of nothing: 1 / V
"""
import math


def vocabulary(*texts):
    """Different ids in all the texts: the V of the uniform distribution at the bottom."""
    return len({i for rows in texts for row in rows for i in row})


def counts(rows, order):
    """Per history, as a tuple of 0 to order - 1 ids: how often each id follows it. Histories do not reach over the BOS of a row."""
    found = [{} for _ in range(order)]
    for row in rows:
        for t in range(1, len(row)):
            for length in range(min(order - 1, t) + 1):
                after = found[length].setdefault(tuple(row[t - length:t]), {})
                after[row[t]] = after.get(row[t], 0) + 1
    return found


def perplexities(learned, held, order, size):
    """exp(mean -log p) of the held-back rows, every id but the first of a row, for n = 1, 2, ... order."""
    tables = [{h: (after, sum(after.values())) for h, after in level.items()} for level in counts(learned, order)]
    nll, tokens = [0.0] * order, 0
    for row in held:
        for t in range(1, len(row)):
            p = 1 / size
            for length in range(order):
                after, total = tables[length].get(tuple(row[t - length:t]), ({}, 0)) if length <= t else ({}, 0)
                if total:
                    p = (after.get(row[t], 0) + len(after) * p) / (total + len(after))
                nll[length] -= math.log(p)
            tokens += 1
    return [math.exp(one / tokens) for one in nll]

"""Pairwise disagreement, divergence and variance of members, one pair at a time."""

import numpy as np

from oracles.logits import kl_divergence, softmax


def ensemble_diversity(members, weights=None):
    size = range(len(members))
    said = [np.argmax(m, axis=-1) for m in members]
    probs = np.stack([softmax(m) for m in members])
    values = {
        "disagreement": [said[i] != said[j] for i in size for j in size if i < j],
        "kl": [
            kl_divergence(members[i], members[j]) for i in size for j in size if i != j
        ],
        "variance": [((probs - probs.mean(axis=0)) ** 2).mean(axis=0).sum(axis=-1)],
    }
    return {
        name: np.average(np.mean(rows, axis=0), weights=weights)
        for name, rows in values.items()
    }

"""InfoNCE in both directions (van den Oord et al. 2018), by loops."""

import numpy as np


def crd(teacher, student, labels=None, temperature=0.07):
    """Mean of the two cross-entropies of each example; -1 is a class of its own."""
    t, s = (np.asarray(x, "float64").reshape(len(x), -1) for x in (teacher, student))
    t, s = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (t, s))
    labels = np.full(len(t), -1) if labels is None else np.asarray(labels)
    values = []
    for i in range(len(t)):
        among = [
            j
            for j in range(len(t))
            if j == i or labels[i] == -1 or labels[i] != labels[j]
        ]
        values.append(
            sum(
                np.log(np.sum(np.exp(scores - s[i] @ t[i] / temperature)))
                for scores in (
                    t[among] @ s[i] / temperature,
                    s[among] @ t[i] / temperature,
                )
            )
            / 2
        )
    return np.array(values)

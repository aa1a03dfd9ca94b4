"""Bidirectional LSTM classifier in float64, one text at a time, without padding."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def last_and_all_states(x, kernel, recurrent_kernel, bias):
    """States h of an LSTM over x of shape `(time, features)`; gates i, f, c, o."""
    h = c = np.zeros(recurrent_kernel.shape[0])
    states = []
    for row in x:
        i, f, g, o = np.split(row @ kernel + h @ recurrent_kernel + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return h, np.array(states)


def bilstm_logits(tokens, embedding, directions, kernel, bias):
    """Logits of one text.

    `directions` holds, for each layer, the weights of both directions, forward first.
    """
    x = embedding[tokens]
    for forward, backward in directions:
        last_forward, forward_states = last_and_all_states(x, *forward)
        last_backward, backward_states = last_and_all_states(x[::-1], *backward)
        x = np.concatenate([forward_states, backward_states[::-1]], axis=1)
    return np.concatenate([last_forward, last_backward]) @ kernel + bias

"""Divergences between categorical distributions given as logits, exact in float32.

Everything is `keras.ops`: losses and metrics share it on every Keras backend.
"""

import keras
from keras import ops


def at_least_float32(*tensors):
    """Cast to a common dtype: float64 if one of them is, float32 otherwise."""
    tensors = [ops.convert_to_tensor(t) for t in tensors]
    names = [keras.backend.standardize_dtype(t.dtype) for t in tensors]
    dtype = "float64" if "float64" in names else "float32"
    return tuple(ops.cast(t, dtype) for t in tensors)


def below_largest(logits):
    """Logits less the largest of each row: the same distribution, the same gradient."""
    return logits - ops.stop_gradient(largest(logits))


def largest(logits):
    """The largest of each row, `(..., 1)`; unlike `ops.max` alone, of no rows as well.

    A replica may get none of the last batch.
    """
    return ops.max(logits, axis=-1, keepdims=True, initial=-float("inf"))


def kl_divergence(p_logits, q_logits):
    """KL(softmax(p) || softmax(q)) over the last axis, in nats, never negative.

    Written as sum p log(p / q) - p + q: both distributions sum to 1, every term is
    >= 0, and nothing cancels. The textbook sum p log(p / q) loses every digit when both
    sides are close (high temperature), but its gradient is exact: the value comes from
    the first form, the derivatives (of any order) from the second.
    """
    log_p = ops.log_softmax(p_logits, axis=-1)
    log_q = ops.log_softmax(q_logits, axis=-1)
    p = ops.exp(log_p)
    # A class of teacher probability 0 adds nothing, even where its logit is -inf.
    log_ratio = ops.where(p > 0, log_p - log_q, ops.zeros_like(p))
    textbook = ops.sum(p * log_ratio, axis=-1)
    value = _sum_of_nonnegative_terms(p, ops.exp(log_q), log_ratio)
    correction = ops.where(ops.isfinite(textbook), value - textbook, 0.0)
    return textbook + ops.stop_gradient(correction)


def cross_entropy(p_logits, q_logits):
    """-sum softmax(p) log softmax(q) over the last axis, in nats."""
    p = ops.softmax(p_logits, axis=-1)
    log_q = _log_softmax(q_logits)
    return -ops.sum(p * ops.where(p > 0, log_q, ops.zeros_like(p)), axis=-1)


def _log_softmax(logits):
    """log softmax, exact where a probability is close to 1.

    There log(1 + others) rounds to a multiple of 1e-7, which a factor T^2 makes 1e-5;
    log1p(others) does not. As above, derivatives come from the common form.
    """
    log_probs = ops.log_softmax(logits, axis=-1)
    below = ops.stop_gradient(below_largest(logits))
    is_largest = ops.cast(below == 0, below.dtype)
    smaller = ops.sum(ops.exp(below) * (1.0 - is_largest), axis=-1, keepdims=True)
    ties = ops.sum(is_largest, axis=-1, keepdims=True) - 1.0
    correction = below - ops.log1p(smaller + ties) - log_probs
    correction = ops.where(ops.isfinite(correction), correction, 0.0)
    return log_probs + ops.stop_gradient(correction)


def _sum_of_nonnegative_terms(p, q, log_ratio):
    close = ops.abs(log_ratio) < 1.0
    ratio = ops.where(close, log_ratio, ops.zeros_like(p))
    # q - p = p expm1(-log_ratio), without the cancellation where p and q are close.
    terms = ops.where(
        ops.logical_and(close, p > 0),
        p * (ops.expm1(-ratio) + ratio),
        q - p + p * log_ratio,
    )
    return ops.maximum(ops.sum(terms, axis=-1), 0.0)

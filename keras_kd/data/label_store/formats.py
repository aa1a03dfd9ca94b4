"""How a store keeps the logits of one view: records of one size, exact or smaller."""

import math

import numpy as np

FORMATS = ("float32", "float16", "8bit", "6bit", "5bit", "top_k")
RATES = (0.001, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
_LEAST_SCALE, _STEPS = -4.0, 16  # a byte of scale: exp(-4) to exp(12)


class Dense:
    """All logits, as floats of 4 or 2 bytes."""

    def __init__(self, name, num_classes):
        self.name = name
        self.record = np.dtype(({"float32": "<f4", "float16": "<f2"}[name],
                                (num_classes,)))  # fmt: skip

    def encode(self, logits):
        with np.errstate(over="ignore"):  # what becomes infinite shows in the KL
            return logits.astype(self.record.base)

    def decode(self, records):
        return records.astype("float32")

    def get_config(self):
        return {"name": self.name}


class Quantized:
    """The distance of each logit from the largest one, as a code of 8, 6 or 5 bits.

    A record has a scale, the largest distance in it, on a logarithmic scale of one
    byte. Codes stand for the levels -log(1 - c (1 - exp(-rate scale))) / rate, c from 0
    to 1 at even distances: dense near the largest logit, sparser by exp(rate distance)
    where p is small. Code 0 is of the largest alone, so the top class stays. Logits
    come back up to a constant a row, which no softmax sees.
    """

    def __init__(self, name, num_classes, rate):
        self.name = name
        self.rate = rate
        self._bits = int(name[0])
        self._classes = num_classes
        size = math.ceil(num_classes * self._bits / 8)
        self.record = np.dtype([("scale", "u1"), ("codes", "u1", (size,))])

    @classmethod
    def fitted(cls, name, logits, temperature):
        """The format with the rate that costs least at this temperature."""

        def cost(rate):
            form = cls(name, logits.shape[-1], rate)
            stored = form.decode(form.encode(logits))
            return divergences(logits, stored, temperature).mean()

        return cls(name, logits.shape[-1], min(RATES, key=cost))

    def encode(self, logits):
        distance = logits.max(-1, keepdims=True).astype("float64") - logits
        scale = np.log(np.maximum(distance.max(-1), 1e-30))
        scale = np.clip(np.ceil((scale - _LEAST_SCALE) * _STEPS), 0, 255)
        records = np.zeros(len(logits), self.record)
        records["scale"] = scale
        share = self._compressed(distance) / self._compressed(_range(scale))[:, None]
        codes = np.round(np.minimum(share, 1.0) * self._largest())
        codes = np.where(distance == 0, 0, np.maximum(codes, 1)).astype("u1")
        bits = np.unpackbits(codes[..., None], axis=-1)[..., 8 - self._bits :]
        records["codes"] = np.packbits(bits.reshape(len(codes), -1), axis=-1)
        return records

    def decode(self, records):
        size = self._classes * self._bits
        bits = np.unpackbits(records["codes"], axis=-1, count=size)
        bits = bits.reshape(len(records), self._classes, self._bits)
        codes = np.packbits(bits, axis=-1)[..., 0] >> (8 - self._bits)
        reach = self._compressed(_range(records["scale"].astype("float64")))
        table = np.arange(2**self._bits) / self._largest() * reach[:, None]
        levels = np.log1p(-np.minimum(table, 1 - 1e-15)) / self.rate
        return np.take_along_axis(levels, codes.astype(int), -1).astype("float32")

    def get_config(self):
        return {"name": self.name, "rate": self.rate}

    def _largest(self):
        return 2**self._bits - 1

    def _compressed(self, distance):
        return -np.expm1(-self.rate * distance)


class TopK:
    """log p of the k most likely classes; the others share the rest alike."""

    name = "top_k"

    def __init__(self, num_classes, k):
        self.k = k
        self._classes = num_classes
        kind = "u1" if num_classes <= 2**8 else "<u2" if num_classes <= 2**16 else "<u4"
        self.record = np.dtype(
            [("classes", kind, (k,)), ("log_p", "<f2", (k,)), ("log_rest", "<f2")]
        )

    def encode(self, logits):
        log_p = _log_softmax(logits)
        classes = np.argsort(-log_p, axis=-1, kind="stable")[:, : self.k]
        records = np.zeros(len(logits), self.record)
        records["classes"] = classes
        top = np.take_along_axis(log_p, classes, -1)
        records["log_p"] = top
        rest = np.maximum(1.0 - np.exp(top).sum(-1), 1e-30)
        each = np.log(rest / max(self._classes - self.k, 1))
        records["log_rest"] = np.minimum(each, top[:, -1])
        return records

    def decode(self, records):
        rest = records["log_rest"].astype("float32")
        logits = np.repeat(rest[:, None], self._classes, axis=1)
        classes = records["classes"].astype("int64")
        np.put_along_axis(logits, classes, records["log_p"].astype("float32"), -1)
        return logits

    def get_config(self):
        return {"name": self.name, "k": self.k}


def fitted_format(name, logits, k=10, temperature=1.0):
    """The format of that name, with what it learns from some logits `(n, classes)`."""
    if name == "top_k":
        return TopK(logits.shape[-1], min(k, logits.shape[-1]))
    if name.endswith("bit"):
        return Quantized.fitted(name, logits, temperature)
    return Dense(name, logits.shape[-1])


def smallest_format(logits, max_kl, temperature=1.0, above=0):
    """The smallest format whose mean KL on some logits is at most `max_kl`.

    Args:
        logits: `(n, classes)`.
        max_kl: In nats.
        temperature: Of both softmaxes.
        above: Bytes of a record that was too small; a larger one is wanted.
    """
    candidates = [fitted_format("top_k", logits, k) for k in (4, 10)]
    candidates += [
        fitted_format(name, logits, temperature=temperature)
        for name in FORMATS
        if name != "top_k"
    ]
    candidates.sort(key=lambda found: found.record.itemsize)
    for found in candidates:
        if found.record.itemsize <= above:
            continue
        kl = divergences(logits, found.decode(found.encode(logits)), temperature)
        if kl.mean() <= max_kl:
            return found
    return fitted_format("float32", logits)


def format_from_config(config, num_classes):
    """The format that a manifest describes."""
    name = config["name"]
    if name not in FORMATS:
        raise ValueError(
            f"The store has the format {name!r}; this version of keras_kd knows "
            f"{list(FORMATS)}. Read it with the version that wrote it."
        )
    if name == "top_k":
        return TopK(num_classes, int(config["k"]))
    if name.endswith("bit"):
        return Quantized(name, num_classes, float(config["rate"]))
    return Dense(name, num_classes)


def divergences(exact, stored, temperature=1.0):
    """KL(softmax(exact / T) || softmax(stored / T)) of each row in nats, float64."""
    log_p, log_q = (_log_softmax(side / temperature) for side in (exact, stored))
    p = np.exp(log_p)
    with np.errstate(invalid="ignore"):
        terms = np.where(p > 0, p * (log_p - log_q), 0.0)
    return terms.sum(-1)


def _range(scale):
    return np.exp(scale / _STEPS + _LEAST_SCALE)


def _log_softmax(logits):
    shifted = logits.astype("float64") - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

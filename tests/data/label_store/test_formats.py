"""Records of logits: what comes back, what it costs, and how small they are."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, rel_entr, softmax

from keras_kd.data.label_store.formats import (
    FORMATS,
    RATES,
    Quantized,
    divergences,
    fitted_format,
    format_from_config,
    smallest_format,
)


def logits_of(rows, classes, seed=0, scale=4.0):
    return np.random.default_rng(seed).normal(0, scale, (rows, classes)).astype("f4")


def kl(exact, stored):
    p, q = (softmax(side.astype("float64"), axis=-1) for side in (exact, stored))
    return rel_entr(p, q).sum(-1)


def there_and_back(form, logits):
    records = form.encode(logits)
    assert records.dtype == form.record.base
    assert records.shape == (len(logits), *form.record.shape)
    found = form.decode(records)
    assert found.dtype == "float32"
    assert found.shape == logits.shape
    return found


@pytest.mark.parametrize("classes", [2, 10, 100, 300])
@pytest.mark.parametrize("name", FORMATS)
def test_a_record_gives_the_distribution_back(name, classes):
    logits = logits_of(200, classes)
    bound = {"float32": 0, "float16": 1e-5, "8bit": 1e-3, "6bit": 5e-3, "5bit": 2e-2}
    stored = there_and_back(fitted_format(name, logits, k=classes), logits)
    values = kl(logits, stored)
    assert values.mean() <= bound.get(name, 1e-4) + 1e-12
    assert_array_equal(stored.argmax(-1), logits.argmax(-1))


def test_floats_of_four_bytes_come_back_as_they_were():
    logits = logits_of(5, 7)
    form = fitted_format("float32", logits)
    assert_array_equal(there_and_back(form, logits), logits)


@pytest.mark.parametrize("name", ["8bit", "6bit", "5bit"])
@pytest.mark.parametrize("classes", [3, 8, 100])
def test_codes_are_packed_bit_by_bit(name, classes):
    """Against the formula row by row, and strings of bits."""
    logits, bits = logits_of(40, classes), int(name[0])
    form = fitted_format(name, logits)
    records = form.encode(logits)
    for row, record in zip(logits, records, strict=True):
        distance = row.max().astype("float64") - row
        scale = np.exp(record["scale"] / 16 - 4)
        assert distance.max() <= scale <= distance.max() * np.exp(1 / 16)
        share = (1 - np.exp(-form.rate * distance)) / (1 - np.exp(-form.rate * scale))
        codes = [0 if d == 0 else max(1, round(s * (2**bits - 1)))
                 for d, s in zip(distance, share, strict=True)]  # fmt: skip
        text = "".join(f"{code:0{bits}b}" for code in codes)
        text += "0" * (-len(text) % 8)
        packed = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
        assert record["codes"].tobytes() == packed
        part = np.array(codes) / (2**bits - 1) * (1 - np.exp(-form.rate * scale))
        (found,) = form.decode(np.array([record]))
        assert_allclose(found, np.log(1 - part) / form.rate, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_rate_is_the_best_one_for_the_temperature(temperature):
    logits = logits_of(300, 100)
    form = fitted_format("5bit", logits, temperature=temperature)

    def cost(rate):
        other = Quantized("5bit", 100, rate)
        stored = other.decode(other.encode(logits))
        return kl(logits / temperature, stored / temperature).mean()

    assert cost(form.rate) == min(map(cost, RATES))


def test_any_spread_of_logits_has_a_scale():
    for scale in (1e-6, 1e-3, 1.0, 100.0, 1e4):
        logits = logits_of(50, 20, scale=scale)
        stored = there_and_back(fitted_format("8bit", logits), logits)
        assert kl(logits, stored).mean() < 1e-3


def test_more_bits_cost_less():
    logits = logits_of(500, 100)
    costs = [
        kl(logits, there_and_back(fitted_format(name, logits), logits)).mean()
        for name in ("5bit", "6bit", "8bit", "float16", "float32")
    ]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("name", ["8bit", "6bit", "5bit"])
def test_the_top_class_stays_also_in_close_calls(name):
    logits = logits_of(300, 50, scale=0.05)
    stored = there_and_back(fitted_format(name, logits), logits)
    assert_array_equal(stored.argmax(-1), logits.argmax(-1))
    alike = np.zeros((3, 4), "float32")
    assert_array_equal(there_and_back(fitted_format(name, alike), alike), alike)


@pytest.mark.parametrize("k", [1, 4, 10])
def test_classes_beyond_the_top_share_the_rest(k):
    logits = logits_of(60, 30)
    form = fitted_format("top_k", logits, k)
    stored = softmax(there_and_back(form, logits).astype("float64"), axis=-1)
    exact = softmax(logits.astype("float64"), axis=-1)
    order = np.argsort(-exact, axis=-1)
    for p, q, by_rank in zip(exact, stored, order, strict=True):
        top, rest = by_rank[:k], by_rank[k:]
        assert_allclose(q[top], p[top], rtol=1e-2)
        even = min((1 - p[top].sum()) / len(rest), p[top[-1]])
        assert_allclose(q[rest], even, rtol=2e-2)


def test_top_k_names_any_number_of_classes():
    for classes, kind in ((256, "u1"), (257, "<u2"), (70_000, "<u4")):
        logits = np.zeros((2, classes), "float32")
        logits[:, -1] = 20.0
        form = fitted_format("top_k", logits, 2)
        assert form.record["classes"].base == np.dtype(kind)
        assert_array_equal(form.decode(form.encode(logits)).argmax(-1), classes - 1)


def test_a_record_of_a_hundred_classes_has_at_most_64_bytes():
    logits = logits_of(20, 100)
    sizes = {name: fitted_format(name, logits).record.itemsize for name in FORMATS}
    assert sizes == {
        "float32": 400,
        "float16": 200,
        "8bit": 101,
        "6bit": 76,
        "5bit": 64,
        "top_k": 32,
    }


def test_divergences_are_those_of_scipy():
    exact, stored = logits_of(30, 12), logits_of(30, 12, seed=1)
    assert_allclose(divergences(exact, stored), kl(exact, stored), rtol=1e-10)
    at_four = divergences(exact, stored, 4.0)
    assert_allclose(at_four, kl(exact / 4, stored / 4), rtol=1e-6)
    exact[:, 3] = -np.inf  # a class that is ruled out
    log_p, log_q = (log_softmax(s.astype("float64"), -1) for s in (exact, stored))
    p = np.exp(log_p)
    want = np.where(p > 0, p * np.where(p > 0, log_p - log_q, 0), 0).sum(-1)
    assert_allclose(divergences(exact, stored), want, rtol=1e-10)


@pytest.mark.parametrize("max_kl", [1e-1, 1e-3, 1e-5, 1e-9])
def test_the_smallest_that_keeps_the_bound(max_kl):
    logits = logits_of(300, 100)
    form = smallest_format(logits, max_kl)
    assert divergences(logits, form.decode(form.encode(logits))).mean() <= max_kl
    for name in FORMATS:
        other = fitted_format(name, logits)
        if other.record.itemsize < form.record.itemsize:
            assert (
                divergences(logits, other.decode(other.encode(logits))).mean() > max_kl
            )
    larger = smallest_format(logits, max_kl, above=form.record.itemsize)
    assert larger.record.itemsize > form.record.itemsize or form.name == "float32"


@pytest.mark.parametrize("name", FORMATS)
def test_a_manifest_describes_a_format(name):
    logits = logits_of(50, 20)
    form = fitted_format(name, logits, 5)
    config = json.loads(json.dumps(form.get_config()))
    read = format_from_config(config, 20)
    assert read.record == form.record
    assert_array_equal(
        read.decode(form.encode(logits)), form.decode(form.encode(logits))
    )


def test_an_unknown_format_says_which_are_known():
    with pytest.raises(ValueError, match=r"'3bit'.*'5bit'"):
        format_from_config({"name": "3bit"}, 10)

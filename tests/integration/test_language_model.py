"""Distillation of a small language model, token by token, on real film reviews."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles import logits as oracles

import keras_kd
from keras_kd import data, losses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.data("imdb_reviews"),
    # Layers inside those of keras-hub, which pass the mask on themselves: see below.
    pytest.mark.filterwarnings("ignore:Layer '.+ does not support masking"),
]

VOCABULARY = 2500  # 0 is padding, 1 any other token
LENGTH = 24
TRAIN, TEST = 2400, 100
TEMPERATURE = 2.0


class Sentences(NamedTuple):
    """Tokens, and at each position the next one; 0 in both where there is none."""

    x: np.ndarray
    y: np.ndarray


@pytest.fixture(scope="module")
def sentences():
    """Sentences of IMDB, those to train on and held-out ones."""
    reviews = data.load("imdb_reviews", split="train").dataset.take(400)
    texts = [
        sentence
        for review in reviews.as_numpy_iterator()
        for sentence in review["text"].decode().split(". ")
    ]
    assert len(texts) > TRAIN + TEST
    layer = data.text_vectorization(texts, sequence_length=LENGTH + 1, min_count=2)
    assert layer.vocabulary_size() > VOCABULARY
    tokens = layer(texts[: TRAIN + TEST]).numpy()
    tokens[tokens >= VOCABULARY] = 1  # ids go by frequency
    labels = tokens[:, 1:]
    both = Sentences(np.where(labels > 0, tokens[:, :-1], 0), labels)
    assert 0.2 < np.mean(labels > 0) < 0.9
    return Sentences(*(a[:TRAIN] for a in both)), Sentences(*(a[TRAIN:] for a in both))


def language_model(width, blocks, name, seed):
    """A causal transformer; its logits carry the mask of the padding."""
    import keras_hub

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(
        VOCABULARY, LENGTH, width, mask_zero=True
    )(inputs)
    for _ in range(blocks):
        x = keras_hub.layers.TransformerDecoder(
            2 * width, num_heads=4, normalize_first=True
        )(x)
    x = keras.layers.LayerNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(VOCABULARY)(x), name=name)


def student(seed=2):
    return language_model(32, 1, "student", seed)


def label_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def teacher(sentences):
    model = language_model(64, 1, "teacher", seed=1)
    model.compile(keras.optimizers.Adam(5e-3), label_loss())
    model.fit(*sentences[0], batch_size=16, epochs=2, verbose=0)
    return model


def distiller_of(teacher, model, loss):
    distiller = keras_kd.Distiller(teacher, model, loss, student_loss_weight=0.1)
    distiller.compile(keras.optimizers.Adam(1e-2), label_loss())
    return distiller


def fitted(teacher, train, loss, size, test=None):
    """A student, and what two epochs of training on `size` sentences logged."""
    model = student()
    history = distiller_of(teacher, model, loss).fit(
        train.x[:size],
        train.y[:size],
        batch_size=16,
        epochs=2,
        shuffle=False,
        validation_data=test,
        validation_batch_size=100,
        verbose=0,
    )
    return model, history.history


def in_chunks():
    # Batches have 384 positions: the last chunk is a part of one.
    return losses.ChunkedKnowledgeDistillation(TEMPERATURE, chunk_size=250)


@pytest.fixture(scope="module")
def distilled(teacher, sentences):
    train, test = sentences
    return fitted(teacher, train, in_chunks(), 960, test)


def predictions(model, part):
    """Logits of the positions that have a next token."""
    return model.predict(part.x, verbose=0)[part.y > 0]


def divergence(teacher, model, part, temperature=1.0):
    """Mean KL of real positions, T^2 times, in NumPy."""
    sides = (predictions(m, part) for m in (teacher, model))
    return oracles.knowledge_distillation(*sides, temperature).mean()


def test_logits_carry_the_mask_of_the_padding(sentences, teacher):
    part = sentences[1]
    assert_allclose(teacher(part.x)._keras_mask, part.y > 0)


def test_the_teacher_knows_more_than_how_frequent_tokens_are(sentences, teacher):
    """Else what follows would show nothing of a language model."""
    train, test = sentences
    counts = np.bincount(train.y[train.y > 0], minlength=VOCABULARY) + 1.0
    wanted = test.y[test.y > 0]
    of_frequencies = -np.log(counts / counts.sum())[wanted].mean()
    log_probabilities = oracles.log_softmax(predictions(teacher, test))
    found = -log_probabilities[np.arange(len(wanted)), wanted].mean()
    assert found < of_frequencies - 0.2


def test_the_distillation_loss_falls(distilled):
    for name in ("distillation_loss", "val_distillation_loss"):
        first, last = distilled[1][name]
        assert last < first


def test_on_held_out_text_the_student_comes_closer_to_its_teacher(
    sentences, teacher, distilled
):
    part = sentences[1]
    model, history = distilled
    found = divergence(teacher, model, part)
    assert_allclose(history["val_teacher_student_kl"][-1], found, rtol=1e-4)
    assert found < 0.2 * divergence(teacher, student(), part)
    of_teacher, of_student = (
        predictions(m, part).argmax(axis=-1) for m in (teacher, model)
    )
    agreement = np.mean(of_teacher == of_student)
    assert_allclose(history["val_agreement"][-1], agreement, atol=1e-3)
    always_the_same = np.bincount(of_teacher).max() / len(of_teacher)
    assert agreement > always_the_same + 0.1


def test_the_whole_form_gives_the_same_history(sentences, teacher):
    forms = losses.KnowledgeDistillation(TEMPERATURE), in_chunks()
    whole, chunked = (fitted(teacher, sentences[0], form, 160)[1] for form in forms)
    assert whole.keys() == chunked.keys()
    for name, values in whole.items():
        assert_allclose(chunked[name], values, rtol=1e-4, err_msg=name)


def test_the_loss_is_the_mean_over_real_positions(sentences, teacher):
    """Logged by evaluation and by a training step; and the same for the labels."""
    part = Sentences(*(array[:50] for array in sentences[1]))
    model = student()
    distiller = distiller_of(teacher, model, in_chunks())
    want = divergence(teacher, model, part, TEMPERATURE)
    log_probabilities = oracles.log_softmax(model.predict(part.x, verbose=0))
    of_labels = np.take_along_axis(log_probabilities, part.y[..., None], axis=-1)
    of_labels = -of_labels[part.y > 0].mean()
    for logs in (
        distiller.evaluate(*part, batch_size=50, return_dict=True, verbose=0),
        distiller.train_on_batch(*part, return_dict=True),
    ):
        assert_allclose(logs["distillation_loss"], want, rtol=1e-4)
        assert_allclose(logs["student_loss"], of_labels, rtol=1e-4)
        assert_allclose(logs["loss"], 0.1 * of_labels + 0.9 * want, rtol=1e-4)

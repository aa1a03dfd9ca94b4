"""BiLSTM: size, masking, initial weights, and as teacher and student."""

import itertools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles.lstm import bilstm_logits

import keras_kd
from keras_kd.models import BiLSTM

VOCABULARY = 50
TEXTS = [[7, 3, 9, 1, 30], [4], [8, 8, 2, 5, 11, 6, 49]]  # of unequal length


def padded(texts, length):
    return np.array([text + [0] * (length - len(text)) for text in texts], "int32")


@pytest.fixture
def small():
    return BiLSTM(VOCABULARY, num_classes=3, embedding_dim=6, units=4)


def test_paper_model_has_229882_parameters_besides_the_embedding():
    # papers.md 1.3: 231,002 with PyTorch's two bias vectors a gate, of which Keras has
    # one: 2 layers, 2 directions, 4 gates of 70 units fewer.
    model = BiLSTM(20_000)
    assert model.count_params() - 20_000 * 128 == 231_002 - 2 * 2 * 4 * 70 == 229_882


def test_model_of_the_published_code_has_its_parameters():
    # papers.md 1.3: 184,402 for one layer of 100 units, with two bias vectors a gate.
    model = BiLSTM(20_000, layers=1, units=100)
    assert model.count_params() - 20_000 * 128 == 184_402 - 2 * 4 * 100


def test_logits_are_those_of_each_text_alone_in_float64(small):
    embedding = small.get_layer("embedding").get_weights()[0].astype("float64")
    directions = []
    for name in ("lstm1", "lstm2"):
        layer = small.get_layer(name)
        directions.append(
            [
                [w.astype("float64") for w in side.get_weights()]
                for side in (layer.forward_layer, layer.backward_layer)
            ]
        )
    head = [w.astype("float64") for w in small.get_layer("logits").get_weights()]
    expected = [bilstm_logits(text, embedding, directions, *head) for text in TEXTS]
    assert_allclose(small(padded(TEXTS, 9)), expected, rtol=2e-5, atol=2e-6)


def test_output_does_not_change_with_padding_length(small):
    short = small(padded(TEXTS, 7))
    for length in (8, 20, 60):
        assert_allclose(small(padded(TEXTS, length)), short, rtol=1e-5, atol=1e-6)


def test_gradients_do_not_change_with_padding_length(small):
    def gradients(length):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(small(padded(TEXTS, length)) ** 2)
        found = tape.gradient(loss, small.trainable_weights)
        return [tf.convert_to_tensor(gradient).numpy() for gradient in found]

    for short, long in zip(gradients(7), gradients(25), strict=True):
        assert_allclose(long, short, rtol=1e-4, atol=1e-6)
    assert not gradients(25)[0][0].any(), "the vector of padding is not trained"


def test_unknown_token_is_read_and_padding_is_not(small):
    unknown, text, padding = (small(np.array([t])) for t in ([5, 1], [5], [5, 0]))
    assert_allclose(padding, text, rtol=1e-5, atol=1e-6)
    assert np.abs(np.subtract(unknown, text)).max() > 1e-3


def test_text_without_tokens_gives_finite_logits(small):
    assert np.isfinite(small(np.zeros((1, 5), "int32"))).all()


def test_embeddings_start_standard_normal():
    model = BiLSTM(500)
    drawn = model.get_layer("embedding").get_weights()[0].ravel()
    assert scipy.stats.kstest(drawn, "norm").pvalue > 1e-3


def assert_drawn_from(weights, distribution, bound):
    assert np.abs(weights).max() <= bound
    # Two weights of the last layer are too few to test but for their range.
    assert scipy.stats.kstest(np.ravel(weights), distribution.cdf).pvalue > 1e-3


def test_recurrent_and_last_weights_start_as_in_pytorch():
    model = BiLSTM(10)
    bounds = {"lstm1": 70**-0.5, "lstm2": 70**-0.5, "logits": 140**-0.5}
    biases = []
    for name, bound in bounds.items():
        weights = model.get_layer(name).get_weights()
        if name != "logits":  # kernel, recurrent kernel and bias of each direction
            biases += [weights.pop(5), weights.pop(2)]
        for weight in weights:
            uniform = scipy.stats.uniform(-bound, 2 * bound)
            assert_drawn_from(weight, uniform, bound)
    # PyTorch adds two biases from U(-k, k), whose sum is triangular on [-2k, 2k].
    k = 70**-0.5
    triangular = scipy.stats.triang(0.5, -2 * k, 4 * k)
    assert_drawn_from(np.concatenate(biases), triangular, 2 * k)


def test_biases_of_a_clone_start_with_the_same_variance():
    clone = keras.models.clone_model(BiLSTM(10, layers=1))
    weights = clone.get_layer("lstm1").get_weights()
    bias = np.concatenate([weights[2], weights[5]])
    bound = (2 / 70) ** 0.5
    assert_drawn_from(bias, scipy.stats.uniform(-bound, 2 * bound), bound)


def test_the_start_follows_the_seed_of_keras():
    starts = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        starts.append(BiLSTM(10, layers=1, units=3).get_weights())
    for one, other in zip(*starts, strict=True):
        assert_allclose(one, other, rtol=0)


def test_no_two_weights_start_equal():
    weights = BiLSTM(10).get_layer("lstm2").get_weights()
    pairs = itertools.combinations([w.ravel()[:20] for w in weights], 2)
    assert not any(np.array_equal(a, b) for a, b in pairs)


def test_layer_names_can_be_tapped():
    names = ["tokens", "embedding", "lstm1", "lstm2", "features", "logits"]
    model = BiLSTM(VOCABULARY)
    assert [layer.name for layer in model.layers if layer.name in names] == names
    assert model.get_layer("features").output.shape == (None, 140)
    assert BiLSTM(VOCABULARY, layers=3).get_layer("lstm3").output.shape == (None, 140)


def test_model_saves_and_loads(small, tmp_path):
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    assert_allclose(loaded(padded(TEXTS, 9)), small(padded(TEXTS, 9)), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"vocabulary_size": 1}, ValueError, "at least 2.*vocabulary_size=1"),
        ({"vocabulary_size": 9.5}, TypeError, "whole number.*9.5"),
        ({"num_classes": 1}, ValueError, "at least 2.*num_classes=1"),
        ({"layers": 0}, ValueError, "at least 1.*layers=0"),
        ({"units": 0}, ValueError, "at least 1.*units=0"),
        ({"embedding_dim": 0}, ValueError, "at least 1.*embedding_dim=0"),
    ],
)
def test_bad_sizes_are_errors_at_the_call(arguments, error, words):
    with pytest.raises(error, match=words):
        BiLSTM(**{"vocabulary_size": 10, **arguments})


def test_mask_of_the_embedding_does_not_reach_the_loss(small):
    """All examples count alike, whatever their padding."""
    student = BiLSTM(VOCABULARY, num_classes=3, embedding_dim=6, units=3)
    distiller = keras_kd.Distiller(
        small, student, keras_kd.losses.KnowledgeDistillation(2.0)
    )
    distiller.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    tokens, labels = padded(TEXTS, 12), np.array([0, 2, 1])
    teacher, predicted = (np.float64(m(tokens)) for m in (small, student))
    logs = distiller.evaluate(tokens, labels, verbose=0, return_dict=True)

    def log_softmax(z):
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

    label_loss = -log_softmax(predicted)[np.arange(3), labels].mean()
    teacher_log, student_log = log_softmax(teacher / 2), log_softmax(predicted / 2)
    kl = (np.exp(teacher_log) * (teacher_log - student_log)).sum(axis=-1)
    assert logs["student_loss"] == pytest.approx(label_loss, rel=1e-5)
    assert logs["distillation_loss"] == pytest.approx(4 * kl.mean(), rel=1e-3)


@pytest.mark.slow
def test_student_learns_an_ensemble_of_its_kind():
    members = [
        BiLSTM(VOCABULARY, layers=1, embedding_dim=6, units=4, name=f"teacher_{i}")
        for i in range(2)
    ]
    student = BiLSTM(VOCABULARY, layers=1, embedding_dim=6, units=4)
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, VOCABULARY, (64, 8))
    tokens *= np.arange(8) < rng.integers(1, 9, (64, 1))
    distiller = keras_kd.Distiller(
        members,
        student,
        keras_kd.losses.KnowledgeDistillation(),
        student_loss_weight=0.0,
    )
    distiller.compile(keras.optimizers.Adam(0.05))
    history = distiller.fit(tokens, batch_size=16, epochs=8, verbose=0).history
    assert history["teacher_student_kl"][-1] < history["teacher_student_kl"][0] / 4

"""BertClassifier: size, tokens, training through a Distiller, errors."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

import keras_kd
from keras_kd.models import BertClassifier

pytest.importorskip("keras_hub")

WORDS = ["a", "good", "bad", "film", "##s"]
SMALL = {"layers": 1, "width": 8, "heads": 2, "sequence_length": 6}


@pytest.fixture
def small():
    return BertClassifier(WORDS, **SMALL)


def test_default_sizes_are_those_of_bert_tiny():
    # google/bert_uncased_L-2_H-128_A-2 (Turc et al. 2019, "Tiny", 4.4 million), with
    # its 30,522 word pieces and 512 positions; closed form of its shapes.
    width, inner, pieces, positions, segments = 128, 512, 30_522, 512, 2
    norm = 2 * width
    attention = 4 * (width * width + width)
    feed_forward = 2 * width * inner + inner + width
    expected = (
        (pieces + positions + segments) * width
        + norm
        + 2 * (attention + feed_forward + 2 * norm)
        + width * width
        + width
    )
    words = [f"word{i}" for i in range(pieces - 5)]
    model = BertClassifier(words, sequence_length=positions)
    assert model.backbone.count_params() == expected == 4_385_920
    assert model.count_params() == expected + 2 * width + 2


def test_tokens_are_word_pieces_between_cls_and_sep(small):
    tokens = small.preprocessor(["Good films", "a bad film of a long title"])
    pad, unk, cls, sep, _, a, good, bad, film, s = range(10)
    expected = [[cls, good, film, s, sep, pad], [cls, a, bad, film, unk, sep]]
    assert np.array_equal(tokens["token_ids"], expected)
    assert np.array_equal(tokens["padding_mask"], np.array(expected) != pad)


def test_vocabulary_may_be_a_file_or_that_of_a_vectorization(tmp_path, small):
    (tmp_path / "pieces.txt").write_text("\n".join(WORDS) + "\n")
    layer = keras_kd.data.text_vectorization(["a good bad film"], min_count=1)
    pieces = small.preprocessor.tokenizer.get_vocabulary()
    assert pieces == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    model = BertClassifier(tmp_path / "pieces.txt", **SMALL)
    assert model.preprocessor.tokenizer.get_vocabulary() == pieces
    model = BertClassifier(layer.get_vocabulary(), **SMALL)
    own = model.preprocessor.tokenizer.get_vocabulary()
    assert set(own) == {*pieces} - {"##s"}
    assert own.count("[UNK]") == 1


def test_output_is_logits_and_does_not_change_with_padding(small):
    tokens = {
        name: np.array(value)
        for name, value in small.preprocessor(["good films"]).items()
    }
    short = {name: value[:, :5] for name, value in tokens.items()}
    logits = np.array(small(tokens))
    assert logits.shape == (1, 2)
    assert_allclose(small(short), logits, rtol=1e-4, atol=1e-6)
    assert small.get_layer("logits").activation is keras.activations.linear


def test_layer_names_can_be_tapped(small):
    assert {layer.name for layer in small.layers} >= {"bert_backbone", "logits"}
    inner = {layer.name for layer in small.get_layer("bert_backbone").layers}
    assert {"token_embedding", "transformer_layer_0", "pooled_dense"} <= inner


def pipeline(model):
    texts = tf.data.Dataset.from_tensor_slices(
        (["good film", "bad film", "a good film", "a bad film"], [1, 0, 1, 0])
    )
    return texts.batch(2).map(lambda text, y: (model.preprocessor(text), y))


@pytest.mark.slow
def test_student_is_distilled_and_saved_with_its_tokenizer(small, tmp_path):
    student = BertClassifier(WORDS, **SMALL, dropout=0.0)
    distiller = keras_kd.Distiller(
        small,
        student,
        keras_kd.losses.KnowledgeDistillation(),
        student_loss_weight=0.9,
    )
    distiller.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = distiller.fit(pipeline(small), epochs=20, verbose=0).history
    assert history["student_loss"][-1] < history["student_loss"][0] / 2
    student.save(tmp_path / "student.keras")
    loaded = keras.saving.load_model(tmp_path / "student.keras", compile=False)
    texts = ["good film", "bad films"]
    assert_allclose(
        loaded.predict(texts, verbose=0), student.predict(texts, verbose=0), rtol=1e-5
    )


@pytest.mark.slow
def test_preset_of_a_folder_brings_weights_and_vocabulary(small, tmp_path):
    small.save_to_preset(str(tmp_path / "preset"))
    model = BertClassifier(preset=str(tmp_path / "preset"), sequence_length=6)
    texts = ["good films"]
    assert_allclose(
        model.backbone(model.preprocessor(texts))["pooled_output"],
        small.backbone(small.preprocessor(texts))["pooled_output"],
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ValueError, "either `vocabulary`.*or `preset`.*neither"),
        ({"vocabulary": WORDS, "preset": "x"}, ValueError, "Received: both"),
        ({"vocabulary": WORDS, "heads": 3}, ValueError, "multiple.*width=126"),
        ({"vocabulary": WORDS, "layers": 0}, ValueError, "at least 1.*layers=0"),
        ({"vocabulary": WORDS, "num_classes": 1}, ValueError, "at least 2"),
        ({"vocabulary": WORDS, "sequence_length": 2}, ValueError, "at least 3"),
        ({"vocabulary": WORDS, "dropout": 1.5}, ValueError, "dropout=1.5"),
    ],
)
def test_bad_arguments_are_errors_at_the_call(arguments, error, words):
    with pytest.raises(error, match=words):
        BertClassifier(**arguments)


def test_without_keras_hub_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"keras-kd\[text\]"):
        BertClassifier(WORDS)

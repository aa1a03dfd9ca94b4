"""Text to tokens: torchtext's rules, the vocabulary, and the pipeline."""

import collections
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_kd
from keras_kd import data
from keras_kd.models import BiLSTM

TEXTS = ["Good film. Good!", "A bad film.", "Good?"]


def torchtext_tokens(text):
    """torchtext 0.6 to 0.18, `basic_english`: its substitutions, in its order."""
    text = text.lower()
    for pattern, replacement in (
        (r"\'", " '  "),
        (r"\"", ""),
        (r"\.", " . "),
        (r"<br \/>", " "),
        (r",", " , "),
        (r"\(", " ( "),
        (r"\)", " ) "),
        (r"\!", " ! "),
        (r"\?", " ? "),
        (r"\;", " "),
        (r"\:", " "),
        (r"\s+", " "),
    ):
        text = re.sub(pattern, replacement, text)
    return text.split()


def our_tokens(text):
    return [t.decode() for t in tf.strings.split(data.basic_english(text)).numpy()]


@pytest.mark.parametrize(
    "text",
    [
        'I don\'t "like" it;<br /><br />not AT ALL: (no!) Why?',
        "na\u00efve\u0085caf\u00c9\u00a0\u2003NB\u2028x",  # IMDB has \x85
        "a\tb\nc\x1cd  e",
        'split <"br />tag and <br/> and <BR />',
        "50% off-hand_1 [ok] {x} *** $5 a/b @me",
        "",
        "   ",
    ],
)
def test_tokens_are_those_of_torchtext(text):
    assert our_tokens(text) == torchtext_tokens(text)


PIECES = st.sampled_from(
    [*"aZ1\u00c9\u00df'\".,()!?;:<>/- \t\n\x1f\u0085\u00a0\u3000", "<br />", "Film"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_tokens_of_any_text_are_those_of_torchtext(text):
    assert our_tokens(text) == torchtext_tokens(text)


def expected_vocabulary(texts, min_count):
    counts = collections.Counter(t for text in texts for t in torchtext_tokens(text))
    known = [token for token, count in counts.items() if count >= min_count]
    return ["", "[UNK]", *sorted(known, key=lambda t: (-counts[t], t))]


@pytest.mark.parametrize("min_count", [1, 2, 3])
def test_vocabulary_holds_tokens_that_occur_often_enough(min_count):
    layer = data.text_vectorization(TEXTS, min_count=min_count)
    assert layer.get_vocabulary() == expected_vocabulary(TEXTS, min_count)


def test_ids_are_those_of_the_first_tokens_then_padding():
    layer = data.text_vectorization(TEXTS, sequence_length=4, min_count=2)
    ids = {token: i for i, token in enumerate(layer.get_vocabulary())}
    good, film, dot = ids["good"], ids["film"], ids["."]
    found = layer(["Good FILM. good film", "new film", ""]).numpy().tolist()
    assert found == [[good, film, dot, good], [1, film, 0, 0], [0, 0, 0, 0]]


def test_without_a_length_texts_are_padded_to_the_longest():
    layer = data.text_vectorization(TEXTS, sequence_length=None, min_count=1)
    assert layer(TEXTS).shape == (3, 5)


class HoldsADataset:
    dataset = tf.data.Dataset.from_tensor_slices({"text": TEXTS, "label": [1, 0, 1]})


@pytest.mark.parametrize(
    "source",
    [
        TEXTS,
        np.array(TEXTS),
        tf.data.Dataset.from_tensor_slices(TEXTS),
        tf.data.Dataset.from_tensor_slices(TEXTS).batch(2),
        HoldsADataset.dataset,
        HoldsADataset.dataset.batch(2),
        HoldsADataset(),
    ],
    ids=["list", "array", "strings", "batches", "dicts", "batches of dicts", "source"],
)
def test_texts_come_from_whatever_holds_them(source):
    layer = data.text_vectorization(source, min_count=2)
    assert layer.get_vocabulary() == expected_vocabulary(TEXTS, 2)


def test_layer_saves_with_vocabulary_and_rules(tmp_path):
    layer = data.text_vectorization(TEXTS, sequence_length=5, min_count=1)
    model = keras.Sequential([keras.Input((), dtype="string"), layer])
    model.save(tmp_path / "tokens.keras")
    loaded = keras.saving.load_model(tmp_path / "tokens.keras")
    texts = tf.constant(["A 'bad'<br />FILM"])
    assert np.array_equal(loaded(texts), layer(texts))
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert np.array_equal(again(texts), layer(texts))


def examples():
    rows = {"index": [0, 1, 2], "text": TEXTS, "label": [1, 0, 1]}
    return tf.data.Dataset.from_tensor_slices(rows)


def test_tokenize_replaces_the_text_and_leaves_the_rest():
    layer = data.text_vectorization(TEXTS, sequence_length=5, min_count=1)
    for dataset in (examples(), examples().batch(2)):
        tokenized = dataset.apply(data.tokenize(layer))
        assert sorted(tokenized.element_spec) == ["index", "label", "tokens"]
        assert tokenized.element_spec["tokens"].dtype == tf.int32
        assert tokenized.element_spec["tokens"].shape[-1] == 5
        for before, after in zip(dataset, tokenized, strict=True):
            assert np.array_equal(after["tokens"], layer(before["text"]))
            assert np.array_equal(after["label"], before["label"])
            assert np.array_equal(after["index"], before["index"])


def test_tokens_of_examples_are_those_of_batches():
    layer = data.text_vectorization(TEXTS, sequence_length=None, min_count=1)
    batch = next(iter(examples().batch(3).apply(data.tokenize(layer))))
    for i, example in enumerate(examples().apply(data.tokenize(layer))):
        tokens = batch["tokens"][i]
        assert np.array_equal(example["tokens"], tokens[tokens != 0])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: data.text_vectorization("one text"), TypeError, "list of strings"),
        (lambda: data.text_vectorization([1, 2]), TypeError, "must hold strings"),
        (
            lambda: data.text_vectorization(TEXTS, min_count=9),
            ValueError,
            "No token occurs 9 times.*most frequent of 7 occurs 3",
        ),
        (
            lambda: data.text_vectorization(TEXTS, min_count=0),
            ValueError,
            "at least 1.*min_count=0",
        ),
        (
            lambda: data.text_vectorization(TEXTS, sequence_length=0),
            ValueError,
            "at least 1.*sequence_length=0",
        ),
        (lambda: data.tokenize("imdb"), TypeError, "text_vectorization"),
        (
            lambda: tf.data.Dataset.range(3).apply(data.tokenize(lambda t: t)),
            TypeError,
            'dicts with "text"',
        ),
    ],
)
def test_bad_input_is_an_error_at_the_call(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.slow
@pytest.mark.data("imdb_reviews")
def test_real_reviews_have_torchtexts_vocabulary_and_ids():
    import tensorflow_datasets as tfds

    reviews = tfds.load("imdb_reviews", split="train[:500]")
    texts = [row["text"].decode() for row in tfds.as_numpy(reviews)]
    layer = data.text_vectorization(reviews)
    vocabulary = expected_vocabulary(texts, 10)
    assert layer.get_vocabulary() == vocabulary
    ids = collections.defaultdict(lambda: 1, {t: i for i, t in enumerate(vocabulary)})
    found = layer(texts).numpy()
    for text, row in zip(texts, found, strict=True):
        first = [ids[token] for token in torchtext_tokens(text)[:100]]
        assert row.tolist() == first + [0] * (100 - len(first))


@pytest.mark.slow
@pytest.mark.data("imdb_reviews")
def test_reviews_and_an_ensemble_of_lstms_feed_the_distiller():
    import tensorflow_datasets as tfds

    reviews = tfds.load("imdb_reviews", split="train[:600]")
    layer = data.text_vectorization(reviews, sequence_length=20)
    train = (
        reviews.apply(data.tokenize(layer))
        .batch(50)
        .map(lambda batch: (batch["tokens"], batch["label"]))
        .cache()
    )

    def network(name):
        size = layer.vocabulary_size()
        return BiLSTM(size, layers=1, embedding_dim=16, units=8, name=name)

    members = [network("teacher_1"), network("teacher_2")]
    label_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for member in members:
        member.compile(keras.optimizers.Adam(0.02), label_loss, metrics=["accuracy"])
        learnt = member.fit(train, epochs=4, verbose=0).history
        assert learnt["accuracy"][-1] > 0.7
    distiller = keras_kd.Distiller(
        members,
        network("student"),
        keras_kd.losses.KnowledgeDistillation(),
        student_loss_weight=0.1,
    )
    distiller.compile(keras.optimizers.Adam(0.02), label_loss)
    history = distiller.fit(train, epochs=5, validation_data=train, verbose=0).history
    assert history["val_agreement"][-1] > 0.85
    kl = history["val_teacher_student_kl"]
    assert kl[-1] < kl[0] / 2

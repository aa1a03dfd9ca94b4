"""Text to tokens, as the papers do it for IMDB."""

import collections

import keras
import tensorflow as tf

from keras_kd._common.checks import check_whole_number

# What Python's str.split() takes for white space; RE2's \s knows ASCII alone.
_SPACE = r"[\t-\r\x{1c}-\x{20}\x{85}\p{Z}]"


@keras.saving.register_keras_serializable(package="keras_kd")
def basic_english(text):
    """Lower-case text with a space between any two tokens.

    The rules of torchtext's tokeniser of that name: `'`, `.`, `,`, `(`, `)`, `!`, `?`
    are tokens; `"` goes; `;`, `:`, the HTML tag `<br />` and any white space part
    tokens.

    Args:
        text: String tensor of any shape.

    Returns:
        String tensor of the same shape.

    Example:

    >>> clean = keras_kd.data.basic_english('Well... "Don\\'t" go;<br />I DID!')
    >>> clean.numpy().decode().split()  # doctest: +NORMALIZE_WHITESPACE
    ['well', '.', '.', '.', 'don', "'", 't', 'go', 'i', 'did', '!']

    Reference: Stanton et al. 2021, appendix C.4; torchtext's `basic_english`.
    """
    text = tf.strings.lower(text, encoding="utf-8")
    text = tf.strings.regex_replace(text, '"', "")
    text = tf.strings.regex_replace(text, f"<br />|[;:]|{_SPACE}", " ")
    return tf.strings.regex_replace(text, r"['.,()!?]", r" \0 ")


def text_vectorization(source, sequence_length=100, min_count=10):
    """Layer from texts to tokens, with the vocabulary of a training set.

    Tokens are those of `basic_english`. Known are all that occur at least `min_count`
    times in `source`, the most frequent first (ties in alphabetical order). Id 0 is
    padding, 1 any unknown token. (In the paper both are 0.)

    Args:
        source: `keras_kd.data.Source` of texts, `tf.data.Dataset` of strings or of
            dicts with `"text"`, or a list or array of strings. Use the training set.
        sequence_length: Tokens of a text: the *first* ones of a long text; shorter
            texts are padded with 0 at the end. Defaults to 100. None keeps all of them
            and pads to the longest of a batch.
        min_count: How often a token must occur to be known. Defaults to 10.

    Returns:
        `keras.layers.TextVectorization`: strings of shape `(batch,)` -> ids of shape
        `(batch, sequence_length)`. It saves with its vocabulary.

    Raises:
        TypeError: When `source` has no texts.
        ValueError: When no token occurs `min_count` times.

    Example:

    >>> layer = keras_kd.data.text_vectorization(
    ...     ["Good film. Good!", "A bad film."], sequence_length=5, min_count=2)
    >>> list(map(str, layer.get_vocabulary()))
    ['', '[UNK]', '.', 'film', 'good']
    >>> layer(["good, good film"]).numpy()
    array([[4, 1, 4, 3, 0]])

    Reference: Stanton et al. 2021, appendix C.4.
    """
    if sequence_length is not None:
        check_whole_number("sequence_length", sequence_length, at_least=1)
    min_count = check_whole_number("min_count", min_count, at_least=1)
    counts = collections.Counter()
    for texts in _texts(source).batch(1024):
        counts.update(tf.strings.split(basic_english(texts)).flat_values.numpy())
    known = [token for token, count in counts.items() if count >= min_count]
    if not known:
        most = max(counts.values(), default=0)
        raise ValueError(
            f"No token occurs {min_count} times: the most frequent of {len(counts)} "
            f"occurs {most} times. Lower `min_count`, or give more texts."
        )
    known.sort(key=lambda token: (-counts[token], token))
    return keras.layers.TextVectorization(
        standardize=basic_english,
        output_sequence_length=sequence_length,
        vocabulary=[token.decode() for token in known],
        name="text_vectorization",
    )


def tokenize(layer):
    """Transformation of a dataset of examples, or of batches: text to tokens.

    Args:
        layer: From `text_vectorization`, or any other layer from strings to ids.

    Returns:
        Function of a `tf.data.Dataset`, for `.apply`: of each dict, `"text"` becomes
        `"tokens"`, int32; the rest stays.

    Raises:
        TypeError: When `layer` is not callable, or (at `.apply`) when the elements are
            no dicts with `"text"`.

    Example:

    >>> import tensorflow as tf
    >>> layer = keras_kd.data.text_vectorization(["a b b"], 3, min_count=1)
    >>> examples = tf.data.Dataset.from_tensor_slices({"text": ["b a"], "label": [1]})
    >>> next(iter(examples.apply(keras_kd.data.tokenize(layer))))["tokens"].numpy()
    array([2, 3, 0], dtype=int32)
    """
    if not callable(layer):
        raise TypeError(
            "`layer` must be a layer from strings to token ids, such as "
            "`keras_kd.data.text_vectorization(source)`. Received: "
            f"{layer!r} of type {type(layer).__name__}."
        )

    def to_tokens(example):
        rest = {key: value for key, value in example.items() if key != "text"}
        return {**rest, "tokens": tf.cast(layer(example["text"]), tf.int32)}

    def apply(dataset):
        _check_has_text(dataset.element_spec)
        return dataset.map(to_tokens, num_parallel_calls=tf.data.AUTOTUNE)

    return apply


def _texts(source):
    """Dataset of single strings, from whatever holds them."""
    dataset = getattr(source, "dataset", source)
    if isinstance(dataset, tf.data.Dataset):
        if isinstance(dataset.element_spec, dict):
            _check_has_text(dataset.element_spec)
            dataset = dataset.map(lambda example: example["text"])
    elif isinstance(dataset, str):
        raise TypeError(
            "`source` must hold many texts, not be one. Received: "
            f"{dataset[:40]!r}. Give a list of strings."
        )
    else:
        dataset = tf.data.Dataset.from_tensor_slices(dataset)
    spec = dataset.element_spec
    if getattr(spec, "dtype", None) != tf.string:
        raise TypeError(
            "`source` must hold strings: a source of texts, a dataset of strings or of "
            f'dicts with "text", or a list of strings. Received elements: {spec}.'
        )
    return dataset if spec.shape.rank == 0 else dataset.unbatch()


def _check_has_text(spec):
    text = spec.get("text") if isinstance(spec, dict) else None
    if getattr(text, "dtype", None) != tf.string:
        raise TypeError(
            'Examples must be dicts with "text", a string. Received elements: '
            f'{spec}. Load a set of texts, e.g. `keras_kd.data.load("imdb_reviews")`.'
        )

"""Small BERT classifier, from keras-hub's layers."""

import os

from keras_kd._common.checks import check_number, check_whole_number

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def BertClassifier(
    vocabulary=None,
    num_classes=2,
    layers=2,
    width=128,
    heads=2,
    intermediate_dim=None,
    sequence_length=128,
    dropout=0.1,
    *,
    preset=None,
    name="bert",
):
    """BERT encoder with its tokenizer and a linear layer on the pooled `[CLS]` token.

    The defaults are those of BERT-Tiny (Turc et al. 2019). Weights start from BERT's
    initialisation, or from a preset of keras-hub, which it downloads.

    The model carries its tokenizer: `model.fit(texts, labels)` and
    `model.predict(texts)` take strings, as all of keras-hub's. In a
    `keras_kd.Distiller` teacher and student must see the same tokens, so there the
    dataset brings them: `ds.map(lambda texts, y: (model.preprocessor(texts), y))`.

    Layer names: `bert_backbone` (its own are keras-hub's: `token_embedding`,
    `transformer_layer_0`, ..., `pooled_dense`), `classifier_dropout`, `logits`.

    Args:
        vocabulary: List of word pieces (those inside a word begin with `##`), or path
            of a file with one a line; BERT's special tokens are added in front where
            they are missing. `keras_hub.tokenizers.compute_word_piece_vocabulary`
            learns one from texts. Whole words do as well:
            `keras_kd.data.text_vectorization(source).get_vocabulary()`.
        num_classes: Units of the last layer. Defaults to 2.
        layers: Transformer layers. Defaults to 2.
        width: Size of a token's vector; a multiple of `heads`. Defaults to 128.
        heads: Attention heads. Defaults to 2.
        intermediate_dim: Units of the feed-forward layers. Defaults to 4 * width.
        sequence_length: Tokens of a text, with `[CLS]` and `[SEP]`; longer texts are
            cut. Defaults to 128.
        dropout: Rate of dropout in [0, 1). Defaults to 0.1.
        preset: Name or path of a preset of `keras_hub.models.BertTextClassifier`, such
            as `"bert_tiny_en_uncased"`: it brings vocabulary, sizes and weights, and
            only `num_classes` and `sequence_length` count. Defaults to None.
        name: Name of the model.

    Returns:
        `keras_hub.models.BertTextClassifier`: dict of `token_ids`, `segment_ids` and
        `padding_mask`, each int32 of shape `(batch, sequence_length)` -> logits of
        shape `(batch, num_classes)`.

    Raises:
        ImportError: Without keras-hub.
        ValueError: Unless exactly one of `vocabulary` and `preset` is given; for
            sizes that do not fit.

    Example:

    >>> words = ["a", "good", "bad", "film", "##s"]
    >>> model = keras_kd.models.BertClassifier(
    ...     words, layers=1, width=8, heads=2, sequence_length=6)
    >>> tokens = model.preprocessor(["good films", "a bad film"])
    >>> tokens["token_ids"].numpy()
    array([[2, 6, 8, 9, 3, 0],
           [2, 5, 7, 8, 3, 0]], dtype=int32)
    >>> model(tokens).shape
    TensorShape([2, 2])

    Reference: Devlin et al. 2019; Turc et al. 2019 (sizes).
    """
    if (vocabulary is None) == (preset is None):
        raise ValueError(
            "BertClassifier needs either `vocabulary`, a list of word pieces, or "
            '`preset`, such as "bert_tiny_en_uncased". Received: '
            f"{'neither' if preset is None else 'both'}."
        )
    num_classes = check_whole_number("num_classes", num_classes, at_least=2)
    sequence_length = check_whole_number("sequence_length", sequence_length, at_least=3)
    if preset is not None:
        return _from_preset(preset, num_classes, sequence_length, name)
    sizes = _check_sizes(layers, width, heads, intermediate_dim, dropout)
    pieces = _with_special_tokens(vocabulary)
    keras_hub = _keras_hub()
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        keras_hub.models.BertTokenizer(vocabulary=pieces, lowercase=True),
        sequence_length=sequence_length,
    )
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(pieces),
        max_sequence_length=sequence_length,
        name="bert_backbone",
        **sizes,
    )
    return keras_hub.models.BertTextClassifier(
        backbone, num_classes, preprocessor, dropout=dropout, name=name
    )


def _from_preset(preset, num_classes, sequence_length, name):
    classifier = _keras_hub().models.BertTextClassifier
    model = classifier.from_preset(preset, num_classes=num_classes, name=name)
    model.preprocessor.sequence_length = sequence_length
    return model


def _check_sizes(layers, width, heads, intermediate_dim, dropout):
    width = check_whole_number("width", width, at_least=1)
    heads = check_whole_number("heads", heads, at_least=1)
    if width % heads:
        raise ValueError(
            f"`width` must be a multiple of `heads`. Received: width={width}, "
            f"heads={heads}. Try width={width // heads * heads or heads}."
        )
    check_number("dropout", dropout, at_least=0, at_most=0.99)
    intermediate_dim = 4 * width if intermediate_dim is None else intermediate_dim
    return {
        "num_layers": check_whole_number("layers", layers, at_least=1),
        "hidden_dim": width,
        "num_heads": heads,
        "intermediate_dim": check_whole_number(
            "intermediate_dim", intermediate_dim, at_least=1
        ),
        "dropout": dropout,
    }


def _with_special_tokens(vocabulary):
    """List of distinct pieces, with all that BERT's tokenizer needs."""
    if isinstance(vocabulary, (str, os.PathLike)):
        with open(vocabulary, encoding="utf-8") as file:
            vocabulary = file.read().splitlines()
    pieces = [str(piece) for piece in vocabulary if piece]  # "" pads TextVectorization
    missing = [token for token in SPECIAL_TOKENS if token not in pieces]
    return list(dict.fromkeys([*missing, *pieces]))


def _keras_hub():
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            "BertClassifier is made of keras-hub's layers. Install it: "
            '`pip install "keras-kd[text]"`.'
        ) from error
    return keras_hub

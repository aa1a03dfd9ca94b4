"""Bidirectional LSTM classifier of Stanton et al. 2021 (Table 2, IMDB)."""

import keras

from keras_kd._common.checks import check_whole_number


def BiLSTM(
    vocabulary_size,
    num_classes=2,
    layers=2,
    embedding_dim=128,
    units=70,
    name="bilstm",
):
    """Text classifier: embedding, bidirectional LSTMs, one linear layer.

    Token 0 is padding and never enters the recurrence, so the logits of a text do not
    depend on how far its batch is padded. The classifier reads the last state of each
    direction of the last LSTM: that of the forward one after the last token, that of
    the backward one after the first. The paper gives id 0 to padding and to unknown
    tokens alike, and carries true lengths; here unknown tokens are 1, as
    `keras.layers.TextVectorization` (and `keras_kd.data.text_vectorization`) has it.

    Layer names, to be tapped: `embedding`, `lstm1`, `lstm2`, ..., `features` (the two
    last states, `(batch, 2 * units)`), `logits`.

    Initial weights are those of PyTorch, as in the paper's code: embeddings from
    N(0, 1), kernels of a recurrence from U(-1/sqrt(units), 1/sqrt(units)), forget
    gates too (Keras would set their bias to 1). PyTorch has two bias vectors a gate,
    Keras one, so there are 229,882 parameters besides the embedding and not 231,002.
    A bias starts as the sum of two draws, as PyTorch's two do; those of
    `keras.models.clone_model` start uniform with the same variance.

    Args:
        vocabulary_size: Number of token ids, with padding and unknown:
            `vectorization.vocabulary_size()`.
        num_classes: Units of the last layer. Defaults to 2.
        layers: Number of bidirectional layers. Defaults to 2.
        embedding_dim: Size of a token's vector. Defaults to 128.
        units: Size of the state of each direction. Defaults to 70.
        name: Name of the model.

    Returns:
        Functional `keras.Model`: tokens of shape `(batch, length)`, any length, 0 at
        the end of shorter texts -> logits of shape `(batch, num_classes)`. On a GPU,
        Keras runs it in cuDNN, which takes padding only after the text, and no text
        without any token.

    Raises:
        TypeError, ValueError: For sizes that are no whole numbers, or too small.

    Example:

    >>> model = keras_kd.models.BiLSTM(vocabulary_size=1000)
    >>> model.count_params() - 1000 * 128
    229882
    >>> text = [[7, 8, 9]]
    >>> padded = [[7, 8, 9, 0, 0, 0]]
    >>> logits = [model(np.array(tokens)) for tokens in (text, padded)]
    >>> np.testing.assert_allclose(*logits, rtol=1e-5)

    Reference: Stanton et al. 2021, appendix C.4, and its code.
    """
    vocabulary_size = check_whole_number("vocabulary_size", vocabulary_size, at_least=2)
    num_classes = check_whole_number("num_classes", num_classes, at_least=2)
    layers = check_whole_number("layers", layers, at_least=1)
    embedding_dim = check_whole_number("embedding_dim", embedding_dim, at_least=1)
    units = check_whole_number("units", units, at_least=1)

    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(
        vocabulary_size,
        embedding_dim,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0),
        mask_zero=True,
        name="embedding",
    )(tokens)
    for i in range(1, layers + 1):
        lstm = keras.layers.LSTM(
            units,
            kernel_initializer=_uniform(units),
            recurrent_initializer=_uniform(units),
            # Of the variance of a sum of two; all that a clone or a file can state.
            bias_initializer=_uniform(units, 2**0.5),
            unit_forget_bias=False,
            return_sequences=i < layers,
            name=f"lstm{i}",
        )
        both = keras.layers.Bidirectional(lstm, name=f"lstm{i}")
        x = both(x)
        for direction in (both.forward_layer, both.backward_layer):
            bias = direction.cell.bias
            bias.assign(sum(_uniform(units)(bias.shape) for _ in range(2)))
    x = keras.layers.Identity(name="features")(x)
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=_uniform(2 * units),
        bias_initializer=_uniform(2 * units),
        name="logits",
    )(x)
    return keras.Model(tokens, logits, name=name)


def _uniform(size, scale=1.0):
    """PyTorch's default; one object a weight, as an object always draws the same."""
    bound = scale * size**-0.5
    return keras.initializers.RandomUniform(-bound, bound)

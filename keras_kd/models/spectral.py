"""Layers whose kernel is divided by its largest singular value."""

import keras
from keras import ops

_EPSILON = 1e-12


class _SpectralKernel:
    """Mix-in before a layer with a `kernel`: power iteration and the division."""

    def build(self, input_shape):
        super().build(input_shape)
        matrix = (-1, self.kernel.shape[-1])
        rows = 1
        for size in self.kernel.shape[:-1]:
            rows *= size
        self._matrix_shape = matrix
        self.left_vector = self._unit_vector("left_vector", rows)
        self.right_vector = self._unit_vector("right_vector", self.kernel.shape[-1])

    def _unit_vector(self, name, size):
        return self.add_weight(
            name=name,
            shape=(size,),
            initializer=keras.initializers.RandomNormal(stddev=size**-0.5),
            trainable=False,
            dtype="float32",
        )

    def normalized_kernel(self, training=False):
        """The kernel over its spectral norm; in training, one power iteration first."""
        matrix = ops.cast(ops.reshape(self.kernel, self._matrix_shape), "float32")
        left = ops.convert_to_tensor(self.left_vector)
        right = ops.convert_to_tensor(self.right_vector)
        if training:
            fixed = ops.stop_gradient(matrix)
            left = _unit(ops.matmul(fixed, right))
            right = _unit(ops.matmul(left, fixed))
            self.left_vector.assign(left)
            self.right_vector.assign(right)
        # The gradient passes through the norm too: that is what keeps the kernel from
        # growing along its first singular direction.
        norm = ops.sum(left * ops.matmul(matrix, right))
        return self.kernel / ops.cast(norm, self.kernel.dtype)

    # Conv2D and Dense write kernel and bias alone.

    def save_own_variables(self, store):
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)

    def _with_bias(self, outputs):
        outputs = outputs if self.bias is None else ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="keras_kd")
class SpectralConv2D(_SpectralKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with its kernel divided by the kernel's spectral norm.

    The kernel is read as a matrix of `height * width * channels` rows and `filters`
    columns. `keras.layers.SpectralNormalization` does another thing: it writes the
    divided kernel back into the weights at every training call, so that the optimizer's
    step is undone in part and no gradient passes through the norm.

    Args:
        filters, kernel_size: And all others, as in `keras.layers.Conv2D`.

    Example:

    >>> layer = keras_kd.models.SpectralConv2D(8, 3)
    >>> for _ in range(200):
    ...     y = layer(np.ones((1, 5, 5, 4), "float32"), training=True)
    >>> matrix = np.reshape(layer.normalized_kernel(), (-1, 8))
    >>> round(float(np.linalg.norm(matrix, 2)), 3)
    1.0

    Reference: Miyato et al. 2018, Spectral Normalization for GANs, algorithm 1.
    """

    def call(self, inputs, training=False):
        kernel = ops.cast(self.normalized_kernel(training), self.compute_dtype)
        return self._with_bias(self.convolution_op(inputs, kernel))


@keras.saving.register_keras_serializable(package="keras_kd")
class SpectralDense(_SpectralKernel, keras.layers.Dense):
    """`keras.layers.Dense` with its kernel divided by the kernel's spectral norm.

    Args:
        units: And all others, as in `keras.layers.Dense`.

    Example:

    >>> layer = keras_kd.models.SpectralDense(3)
    >>> layer(np.ones((2, 4), "float32"), training=True).shape
    TensorShape([2, 3])

    Reference: Miyato et al. 2018, Spectral Normalization for GANs, algorithm 1.
    """

    def call(self, inputs, training=False):
        kernel = ops.cast(self.normalized_kernel(training), self.compute_dtype)
        return self._with_bias(ops.matmul(inputs, kernel))


def _unit(vector):
    return vector / (ops.sqrt(ops.sum(ops.square(vector))) + _EPSILON)

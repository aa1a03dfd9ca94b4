"""What losses share whose values depend on the other examples of the batch."""

from keras_kd._common.checks import check_choice


class BatchCoupled:
    """Mix-in before `DistillationLoss`: a loss that compares examples of a batch.

    `call` then gets the batch that `batch` says, and gives one value for each of its
    examples. `batch="global"`: the examples of all replicas, so that any number of
    replicas gives the numbers of one. `batch="replica"`: those of its own replica
    alone, which costs no communication and is what such losses see in
    `keras.distillation.Distiller`.

    Args:
        batch: `"global"` or `"replica"`. Defaults to `"global"`.
        *args: Those of the class that it stands before, such as `DistillationLoss`.
        **kwargs: Likewise.

    Raises:
        ValueError: If `batch` is neither.

    Example:

    >>> class SpreadGap(keras_kd.losses.BatchCoupled, keras_kd.losses.DistillationLoss):
    ...     '''How far an example is from the mean of its batch, on both sides.'''
    ...     def call(self, teacher_logits, student_logits):
    ...         spreads = [
    ...             keras.ops.norm(z - keras.ops.mean(z, axis=0), axis=-1)
    ...             for z in (teacher_logits, student_logits)
    ...         ]
    ...         return keras.ops.abs(spreads[0] - spreads[1])
    >>> loss = SpreadGap(batch="replica", name="spread_gap")
    >>> float(loss(np.array([[1.0], [3.0]]), np.array([[0.0], [4.0]])))
    1.0
    """

    couples_batch = True

    def __init__(self, *args, batch="global", **kwargs):
        super().__init__(*args, **kwargs)
        self._batch = check_choice("batch", batch, ["global", "replica"])

    @property
    def batch(self):
        """`"global"` or `"replica"`."""
        return self._batch

    def get_config(self):
        return {**super().get_config(), "batch": self.batch}


def check_several(what, tensor):
    """Raise where the batch is known to hold one example alone.

    Of a batch whose size only the run tells (a last one of one), the value is 0.
    """
    if tensor.shape[0] == 1:
        raise ValueError(
            f"{what} compares the examples of a batch with one another, so it needs at "
            f"least 2. Received a batch of 1: shape {tuple(tensor.shape)}. Raise the "
            "batch size, or batch with `drop_remainder=True`."
        )

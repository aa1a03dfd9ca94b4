"""What losses share whose values depend on the other examples of the batch."""

from keras_kd._common.checks import check_choice


class BatchCoupled:
    """Mix-in before `DistillationLoss`: which examples the loss compares.

    `batch="global"`: those of all replicas, so that any number of replicas gives the
    numbers of one. `batch="replica"`: those of its own replica alone, which costs no
    communication and is what such losses see in `keras.distillation.Distiller`.
    """

    couples_batch = True

    @property
    def batch(self):
        """`"global"` or `"replica"`."""
        return self._batch

    def _set_batch(self, batch):
        self._batch = check_choice("batch", batch, ["global", "replica"])

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

"""Trainings one after the other, each from the model of the one before."""

import json
import os
import pathlib

import keras

from keras_kd._common.files import replacing
from keras_kd.distiller import Distiller
from keras_kd.losses import KnowledgeDistillation


class Stages:
    """Base of procedures in which each model is distilled from the one before it.

    A subclass gives `_models()`, all models in order, the first of which is the
    teacher; stage i distils model i into model i + 1.
    """

    def __init__(self, distillation_losses, student_loss_weight, directory):
        if distillation_losses is None:
            distillation_losses = KnowledgeDistillation(temperature=4.0)
        self.distillation_losses = distillation_losses
        self.student_loss_weight = student_loss_weight
        self.directory = None if directory is None else pathlib.Path(directory)
        self._compile_arguments = None

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """Configure every stage alike; each gets copies, so that none shares a state.

        Args:
            optimizer, loss, metrics, **kwargs: See `keras_kd.Distiller.compile`.
        """
        self._compile_arguments = {
            "optimizer": optimizer,
            "loss": loss,
            "metrics": metrics,
            **kwargs,
        }

    def fit(self, *args, callbacks=None, verbose="auto", **kwargs):
        """Run all stages, or those that are not yet in `directory`.

        Args:
            *args, callbacks, verbose, **kwargs: See `keras.Model.fit`; the same for
                each stage.

        Returns:
            A list of the `History.history` of each stage.

        Raises:
            RuntimeError: Before `compile`.
        """
        if self._compile_arguments is None:
            raise RuntimeError(
                f"Call `compile(...)` of {type(self).__name__} before `fit`, with what "
                "keras_kd.Distiller.compile takes."
            )
        models = self._models()
        stages = [(self._first, models[0], f"{models[0].name} on labels")]
        for teacher, student in zip(models, models[1:], strict=False):
            stage = self._distillation(teacher, student)
            stages.append((stage, student, f"{teacher.name} to {student.name}"))
        histories = []
        for i, (train, model, title) in enumerate(stages):
            history = self._finished(i, model)
            if history is None:
                if verbose and i:
                    print(f"Stage {i} of {len(stages) - 1}: {title}")
                history = train(
                    *args,
                    callbacks=[*(callbacks or []), *self._backup(i)],
                    verbose=verbose,
                    **kwargs,
                )
                self._keep(i, model, history)
            histories.append(history)
        return [history for history in histories if history is not None]

    def _first(self, *args, **kwargs):
        """What comes before the first distillation: nothing; the teacher is trained."""

    def _distillation(self, teacher, student):
        def train(*args, **kwargs):
            distiller = Distiller(
                teacher,
                student,
                copy_of(self.distillation_losses),
                student_loss_weight=self.student_loss_weight,
            )
            distiller.compile(**copy_of(self._compile_arguments))
            return distiller.fit(*args, **kwargs).history

        return train

    def _finished(self, i, model):
        """History of a stage that an earlier run finished; its weights are loaded."""
        if self.directory is None or not self._path(i, "json").exists():
            return None
        model.load_weights(self._path(i, "weights.h5"))
        return json.loads(self._path(i, "json").read_text())

    def _keep(self, i, model, history):
        if self.directory is None or history is None:
            return
        with replacing(self._path(i, "weights.h5")) as temporary:
            model.save_weights(temporary)
        numbers = {k: [float(v) for v in values] for k, values in history.items()}
        with replacing(self._path(i, "json")) as temporary:  # last: now it is finished
            pathlib.Path(temporary).write_text(json.dumps(numbers))

    def _backup(self, i):
        """A callback that goes on with a stage that was interrupted."""
        if self.directory is None:
            return []
        self.directory.mkdir(parents=True, exist_ok=True)
        backup = os.fspath(self.directory / f"stage_{i}_backup")
        return [keras.callbacks.BackupAndRestore(backup)]

    def _path(self, i, suffix):
        return self.directory / f"stage_{i}.{suffix}"


def copy_of(thing):
    """An equal object without the state: of a loss, an optimizer, a list of metrics."""
    config = keras.saving.serialize_keras_object(thing)
    return keras.saving.deserialize_keras_object(config)


def check_all_unlike(models):
    """Raise where one model stands in two places: it would chase itself."""
    if len({id(model) for model in models}) < len(models):
        names = [getattr(model, "name", model) for model in models]
        raise ValueError(
            "Each model of the procedure must be an object of its own. Received the "
            f"same one twice in {names}. Build a new one, e.g. with "
            "`keras.models.clone_model(model)`."
        )

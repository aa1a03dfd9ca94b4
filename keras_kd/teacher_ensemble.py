"""One or more trained classifiers as one frozen teacher."""

import collections.abc
import os

import keras
from keras import ops

from keras_kd._common.checks import check_choice
from keras_kd._common.inputs import inputs_for
from keras_kd._common.numerics import at_least_float32
from keras_kd._common.output_kind import output_kind
from keras_kd._common.outputs import without_gradient
from keras_kd._common.saving import architecture
from keras_kd._common.unchanged import unchanged
from keras_kd._common.weights import shares


@keras.saving.register_keras_serializable(package="keras_kd")
class TeacherEnsemble(keras.Model):
    """Frozen ensemble of classifiers: members in, predictive logits out.

    `combine="probabilities"` gives log(sum_i w_i softmax(z_i)), the log of the mean
    predictive distribution, on which a temperature is applied afterwards;
    `combine="logits"` gives sum_i w_i z_i. A single member gives its raw logits
    unchanged. Members may differ in architecture and in dtype.

    Members are always called with `training=False` and never changed: no weight,
    statistic, seed or `trainable` flag of theirs differs after a call. (A member that
    draws random numbers even at inference therefore draws the same ones each time.)
    For the same reason their weights are no part of a training checkpoint, only of
    `.keras` files.

    Args:
        members: A `keras.Model` or a list of them, built, with outputs of shape
            `(batch, ..., classes)` and the same number of classes.
        combine: `"probabilities"` (default, as Stanton et al.) or `"logits"`.
        weights: One weight >= 0 a member; they are divided by their sum. Defaults to
            equal weights.
        from_logits: Whether members give logits; False where they end in a softmax.
            One bool for all, or a list. Defaults to True.
        name: Name of the model.

    Returns:
        Called on inputs: logits of shape `(batch, ..., classes)`, float32 or wider for
        two or more members.

    Example:

    >>> def member(seed):
    ...     init = keras.initializers.RandomNormal(seed=seed)
    ...     layers = [keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=init)]
    ...     return keras.Sequential(layers)
    >>> teacher = keras_kd.TeacherEnsemble([member(0), member(1)])
    >>> logits = teacher(np.ones((2, 4), "float32"))
    >>> logits.shape
    TensorShape([2, 3])
    >>> round(float(keras.ops.sum(keras.ops.exp(logits[0]))), 4)
    1.0

    Reference: Stanton et al. 2021, section 3.1 (components are averaged untempered).
    """

    def __init__(
        self,
        members,
        combine="probabilities",
        weights=None,
        from_logits=True,
        name="teacher_ensemble",
        **kwargs,
    ):
        # Inputs reach each member as they come: members cast for themselves.
        super().__init__(name=name, autocast=False, **kwargs)
        members = _check_members(members)
        self.combine = check_choice("combine", combine, ["probabilities", "logits"])
        self.member_weights = shares(weights, len(members), "member")
        self.from_logits = _check_from_logits(from_logits, members)
        self._members = Members(members)
        self.built = True

    @property
    def members(self):
        """The member models, a read-only sequence."""
        return self._members

    @property
    def variables(self):
        return [v for member in self.members for v in member.variables]

    @property
    def weights(self):
        return [v for member in self.members for v in member.weights]

    non_trainable_variables = variables
    non_trainable_weights = weights

    @property
    def trainable_variables(self):
        return []  # frozen, whatever the flags of its members say

    trainable_weights = trainable_variables

    def member_logits(self, inputs):
        """Logits of each member, a list; structures where a member has several."""
        outputs = []
        for member, from_logits in zip(self.members, self.from_logits, strict=True):
            logits = _call_frozen(member, inputs)
            if not from_logits:
                logits = keras.tree.map_structure(_log, logits)
            outputs.append(logits)
        return outputs

    def combine_members(self, member_logits):
        """Predictive logits of the ensemble from `member_logits(...)`."""
        if len(member_logits) == 1:
            return member_logits[0]
        for logits in member_logits[1:]:
            keras.tree.assert_same_structure(member_logits[0], logits)
        return keras.tree.map_structure(self._combine_one_output, *member_logits)

    def call(self, inputs, training=None):
        del training  # members run in inference mode whatever the caller's mode
        return self.combine_members(self.member_logits(inputs))

    def build(self, input_shape):
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.members[0].compute_output_shape(input_shape)

    def _combine_one_output(self, *logits):
        shapes = [tuple(z.shape) for z in logits]
        if len({shape[-1] for shape in shapes}) > 1:
            raise ValueError(
                "Members of a TeacherEnsemble must have the same classes. Received "
                f"outputs of shapes {shapes}."
            )
        logits = ops.stack(at_least_float32(*logits))
        weights = ops.convert_to_tensor(self.member_weights, dtype=logits.dtype)
        weights = ops.reshape(weights, [-1] + [1] * (len(logits.shape) - 1))
        if self.combine == "logits":
            return ops.sum(weights * logits, axis=0)
        log_weights = ops.log(weights)
        return ops.logsumexp(ops.log_softmax(logits, axis=-1) + log_weights, axis=0)

    def get_config(self):
        return {
            "name": self.name,
            "members": [architecture(member) for member in self.members],
            "combine": self.combine,
            "weights": list(self.member_weights),
            "from_logits": list(self.from_logits),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["members"] = [
            keras.saving.deserialize_keras_object(m, custom_objects=custom_objects)
            for m in config["members"]
        ]
        return cls(**config)

    def save_assets(self, inner_path):
        # Keras calls this for `.keras` files alone: checkpoints stay small.
        for i, member in enumerate(self.members):
            member.save_weights(os.path.join(inner_path, f"member_{i}.weights.h5"))

    def load_assets(self, inner_path):
        for i, member in enumerate(self.members):
            member.load_weights(os.path.join(inner_path, f"member_{i}.weights.h5"))


class Members(collections.abc.Sequence):
    """Read-only sequence that Keras neither tracks nor walks: members stay frozen."""

    def __init__(self, models):
        self._models = tuple(models)

    def __getitem__(self, index):
        return self._models[index]

    def __len__(self):
        return len(self._models)

    def __repr__(self):
        return f"Members({[model.name for model in self._models]})"


def _call_frozen(model, inputs):
    """Inference that changes nothing of the model."""
    inputs = inputs_for(model, inputs)
    with unchanged(model):
        outputs = model(inputs, training=False)
    return without_gradient(outputs)


def _log(probabilities):
    (probabilities,) = at_least_float32(probabilities)
    tiny = 1e-37 if probabilities.dtype == "float32" else 1e-300
    return ops.log(ops.maximum(probabilities, tiny))


def _check_members(members):
    members = [members] if isinstance(members, keras.Model) else members
    if not isinstance(members, (list, tuple, Members)):
        raise TypeError(
            "`members` must be a keras.Model or a list of them. Received: "
            f"{members!r} of type {type(members).__name__}."
        )
    if not members:
        raise ValueError(
            "`members` is empty: an ensemble needs at least one trained keras.Model."
        )
    for i, member in enumerate(members):
        if not isinstance(member, keras.Model):
            raise TypeError(
                f"A teacher must be a keras.Model. Received: member {i} is {member!r} "
                f"of type {type(member).__name__}."
            )
        if not member.built:
            raise ValueError(
                f"Teacher {member.name!r} was never built, so it cannot have been "
                "trained. Train it, or load its weights, before distilling from it."
            )
    if len({id(member) for member in members}) < len(members):
        raise ValueError(
            f"`members` holds the same model twice: {[m.name for m in members]}. Use "
            "`weights` to let one member count more than another."
        )
    return list(members)


def _check_from_logits(from_logits, members):
    if isinstance(from_logits, bool):
        from_logits = [from_logits] * len(members)
    if len(from_logits) != len(members) or not all(
        isinstance(f, bool) for f in from_logits
    ):
        raise ValueError(
            f"`from_logits` must be one bool, or one a member ({len(members)}). "
            f"Received: from_logits={from_logits!r}."
        )
    for member, logits in zip(members, from_logits, strict=True):
        kind = output_kind(member)
        if logits and kind == "probabilities":
            raise ValueError(
                f"Teacher {member.name!r} ends in probabilities (a softmax or sigmoid) "
                "but is taken as logits: they would be softened twice. Pass "
                "`TeacherEnsemble(members, from_logits=False)`, or build the teacher "
                "without its last activation."
            )
        if not logits and kind == "logits":
            raise ValueError(
                f"Teacher {member.name!r} ends in logits but `from_logits=False` says "
                "probabilities. Pass `from_logits=True`."
            )
    return list(from_logits)

"""One or more trained models as one frozen teacher."""

import collections.abc
import os
import threading

import keras
from keras import ops

from keras_kd._common.calls import (
    CarriedState,
    inputs_for,
    unchanged,
    without_gradient,
)
from keras_kd._common.checks import check_choice, shares
from keras_kd._common.examples import combined_mask
from keras_kd._common.numerics import at_least_float32
from keras_kd._common.output_kind import (
    INDEPENDENT_PROBABILITIES,
    LINEAR,
    PROBABILITIES,
)
from keras_kd._common.outputs import in_structure_of, named_outputs, symbolic_outputs
from keras_kd._common.saving import LiveConfig, architecture
from keras_kd.teacher_ensemble.constant_weights import ConstantWeights, WhileConstant
from keras_kd.teacher_ensemble.known_kind import (
    as_logits,
    check_from_logits,
    resolved_kinds,
)


@keras.saving.register_keras_serializable(package="keras_kd")
class TeacherEnsemble(keras.Model):
    """Frozen ensemble of models: members in, predictive logits out.

    `combine="probabilities"` gives log(sum_i w_i softmax(z_i)), the log of the mean
    predictive distribution, on which a temperature is applied afterwards;
    `combine="logits"` gives sum_i w_i z_i. A single member gives its raw logits
    unchanged. Members may differ in architecture, in dtype and in the order of outputs
    that have names.

    What a member ends in is read off its last layer: with `from_logits=False`, outputs
    of a softmax come as log p, those of a sigmoid as log(p / (1 - p)). A member that
    does not tell is taken to give logits; where all numbers of a batch lie in [0, 1],
    an error asks to state `from_logits`.

    Members are always called with `training=False` and never changed: no weight,
    statistic, seed or `trainable` flag of theirs differs after a call. (A member that
    draws random numbers even at inference therefore draws the same ones each time.)
    For the same reason their weights are no part of a training checkpoint, only of
    `.keras` files. The states of a stateful RNN are carried from batch to batch beside
    the member: each pass over a set (an epoch, `evaluate`) starts from those that the
    member itself has, as its own `predict` would.

    Args:
        members: A `keras.Model` or a list of them, built, with outputs of shape
            `(batch, ..., classes)` and the same number of classes.
        combine: `"probabilities"` (default, as Stanton et al.) or `"logits"`.
        weights: One weight >= 0 a member; they are divided by their sum. Defaults to
            equal weights.
        from_logits: Whether members give logits, True, or probabilities, False. One
            bool for all, or a list. Defaults to None: logits, unless their last layers
            say otherwise, which is an error.
        multi_label: Whether the classes are independent (a sigmoid each) and not
            alternatives (a softmax over all). Defaults to None: True where the last
            layers are sigmoids. `combine="probabilities"` then gives the log-odds of
            the mean probability of each class.
        name: Name of the model.

    Raises:
        ValueError: For members that were never built, appear twice, or do not end in
            what `from_logits` or `multi_label` says.

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
        from_logits=None,
        multi_label=None,
        name="teacher_ensemble",
        **kwargs,
    ):
        # Inputs reach each member as they come: members cast for themselves.
        super().__init__(name=name, autocast=False, **kwargs)
        members = _check_members(members)
        self.combine = check_choice("combine", combine, ["probabilities", "logits"])
        self.member_weights = shares(weights, len(members), "member")
        self.from_logits = check_from_logits(from_logits, len(members))
        self.multi_label = multi_label if multi_label is None else bool(multi_label)
        self._kinds = [
            resolved_kinds(member, stated, multi_label)
            for member, stated in zip(members, self.from_logits, strict=True)
        ]
        self._members = Members(members)
        self._states = CarriedState(members)
        self._calls = threading.local()  # `scope`, where weights are constants
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

    def with_constants(self, make):
        """A compiled function in which weights are constants where that is faster.

        Args:
            make: Function that gives a function that calls this teacher and is not
                traced yet. It is asked once more if weights have changed since.
        """
        weights = ConstantWeights(self._members.models, self._calls)
        return WhileConstant(weights, make) if weights.pay() else make()

    def start_pass(self):
        """Let stateful RNNs start a pass over a set from their members' own states."""
        self._states.start()

    def member_logits(self, inputs):
        """Logits of each member, a list; all in the structure of the first one's."""
        outputs = []
        for member, kinds in zip(self._members.models, self._kinds, strict=True):
            given = self._call_frozen(member, inputs)
            if any(known.kind != LINEAR for known in kinds):
                given = as_logits(given, kinds, member)
            if outputs:
                given = in_structure_of(self.members[0], outputs[0], member, given)
            outputs.append(given)
        return outputs

    def combine_members(self, member_logits):
        """Predictive logits of the ensemble from `member_logits(...)`."""
        if len(member_logits) == 1:
            return member_logits[0]
        first, *others = map(keras.tree.flatten, member_logits)
        independent = self._independent(len(first))
        combined = [
            _with_mask(self._combine_one_output(logits, multi_label), logits)
            for *logits, multi_label in zip(first, *others, independent, strict=True)
        ]
        return keras.tree.pack_sequence_as(member_logits[0], combined)

    def call(self, inputs, training=None):
        del training  # members run in inference mode whatever the caller's mode
        return self.combine_members(self.member_logits(inputs))

    def build(self, input_shape):
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.members[0].compute_output_shape(input_shape)

    def _call_frozen(self, member, inputs):
        """Inference that changes nothing of the model."""
        inputs = inputs_for(member, inputs)
        states = self._states.of(member) if self._states.present else ()
        scope = getattr(self._calls, "scope", keras.StatelessScope)
        with unchanged(member, states, scope) as scope:
            outputs = member(inputs, training=False)
        if states:
            self._states.carry(member, scope)
        return without_gradient(outputs)

    def is_multi_label(self, name):
        """Whether the classes of an output, by its name, are known to be independent.

        Example:

        >>> tagger = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, activation="sigmoid")])
        >>> teacher = keras_kd.TeacherEnsemble(tagger, from_logits=False)
        >>> teacher.is_multi_label("output_0")
        True
        """
        return self._of_output(name, self._independent)

    def is_of_probabilities(self, name):
        """Whether an output, by its name, is the logits of probabilities.

        Example:

        >>> classifier = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
        >>> teacher = keras_kd.TeacherEnsemble(classifier, from_logits=False)
        >>> teacher.is_of_probabilities("output_0")
        True
        """
        return self._of_output(name, self._of_probabilities)

    def _of_output(self, name, of_all):
        """What a function of the number of outputs says of one, by its name."""
        structure = symbolic_outputs(self.members[0])
        if structure is None:
            return of_all(1)[0]
        found = of_all(len(keras.tree.flatten(structure)))
        found = keras.tree.pack_sequence_as(structure, found)
        found = named_outputs(self.members[0], found)
        return found.get(name, next(iter(found.values())))

    def _of_probabilities(self, num_outputs):
        kinds = self._kinds[0]
        kinds = kinds if len(kinds) == num_outputs else kinds[:1] * num_outputs
        return [known.kind in PROBABILITIES for known in kinds]

    def _independent(self, num_outputs):
        """For each output, whether its classes are independent of one another."""
        if self.multi_label is not None:
            return [self.multi_label] * num_outputs
        kinds = self._kinds[0]
        kinds = kinds if len(kinds) == num_outputs else kinds[:1] * num_outputs
        return [known.kind == INDEPENDENT_PROBABILITIES for known in kinds]

    def _combine_one_output(self, logits, multi_label):
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
        if multi_label:
            log_probs = (ops.log_sigmoid(z) + log_weights for z in (logits, -logits))
            yes, no = (ops.logsumexp(p, axis=0) for p in log_probs)
            return yes - no
        if shapes[0][-1] == 1:
            raise ValueError(
                "A softmax over one unit is 1 whatever the members say. State what the "
                f"outputs of shapes {shapes} are: `combine='logits'` for the mean of "
                "plain numbers, `multi_label=True` for logits of a yes or no."
            )
        return ops.logsumexp(ops.log_softmax(logits, axis=-1) + log_weights, axis=0)

    def get_config(self):
        return {
            "name": self.name,
            "members": [LiveConfig.of(member, architecture) for member in self.members],
            "combine": self.combine,
            "weights": list(self.member_weights),
            "from_logits": list(self.from_logits),
            "multi_label": self.multi_label,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["members"] = [
            LiveConfig.object_of(m, custom_objects) for m in config["members"]
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
        self.models = tuple(models)

    def __getitem__(self, index):
        return self.models[index]

    def __len__(self):
        return len(self.models)

    def __repr__(self):
        return f"Members({[model.name for model in self.models]})"


def _check_members(members):
    members = [members] if isinstance(members, keras.Model) else members
    if not isinstance(members, (list, tuple, Members)):
        raise ValueError(
            "`members` must be a keras.Model or a list of them. Received: "
            f"{members!r} of type {type(members).__name__}."
        )
    if not members:
        raise ValueError(
            "`members` is empty: an ensemble needs at least one trained keras.Model."
        )
    for i, member in enumerate(members):
        if not isinstance(member, keras.Model):
            raise ValueError(
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


def _with_mask(combined, logits):
    """What members give together is padding where one of them says so."""
    mask = combined_mask(*logits)
    if mask is not None:
        combined._keras_mask = mask
    return combined

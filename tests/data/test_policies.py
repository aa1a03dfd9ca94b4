"""The papers' policies, against the tables of the papers and their released code."""

import inspect

import numpy as np
import pytest
from image_views import noise, unit

from keras_kd import data
from keras_kd.data import ops, policies

CROP, FLIP = ops.RandomCrop(padding=4), ops.RandomHorizontalFlip(0.5)
ROTATION = ops.RandomRotation(20.0, interpolation="nearest", fill=0.0)
JITTER = ops.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.2)
RESIZED = ops.RandomResizedCrop(224, scale=(0.2, 1.0), interpolation="bicubic")

# Stanton et al. 2021, appendix A.1; Guo et al. 2024, released code (zisci2/RethinkKD).
STATED = {
    "none": [],
    "baseline": [CROP, FLIP],
    "rotation": [ROTATION, CROP, FLIP],
    "vertical_flip": [ops.RandomVerticalFlip(0.5), CROP, FLIP],
    "color_jitter": [JITTER, CROP, FLIP],
    "combined": [ROTATION, ops.RandomVerticalFlip(0.5), JITTER, CROP, FLIP],
    "weak": [RESIZED, FLIP, ops.RandomRotation(15.0)],
    "strong": [
        RESIZED,
        FLIP,
        ops.ReleasedAutoAugment(),
        ops.Cutout(holes=1, length=16),
    ],
}


@pytest.mark.parametrize("name", STATED)
def test_policy_is_as_the_paper_says(name):
    policy = data.policy(name)
    assert policy.name == name
    assert list(policy.ops) == STATED[name]


def test_every_policy_is_stated_and_documented():
    assert set(policies.POLICIES) == set(STATED)
    for name, recipe in policies.POLICIES.items():
        assert f"| `{name}` |" in data.policy.__doc__
        assert inspect.getdoc(recipe)


@pytest.mark.parametrize("name", [n for n in STATED if n not in ("weak", "strong")])
def test_cifar_policies_keep_the_shape(name):
    view = data.policy(name)(noise(32, 32, 3), seed=0, index=0, view=0)
    assert view.shape == (32, 32, 3)


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_resized_policies_take_any_size(name):
    policy = data.policy(name, size=40)
    assert policy(unit(32, 32, 3), seed=0, index=0, view=0).shape == (40, 40, 3)
    assert policy.ops[0].size == (40, 40)


def test_settings_reach_the_ops():
    policy = data.policy("combined", degrees=90.0, padding=2)
    assert policy.ops[0].degrees == 90.0
    assert policy.ops[-2].padding == 2
    assert data.policy("strong", length=8).ops[-1].length == 8


def test_padding_and_corners_are_black():
    white = np.full((16, 16, 3), 255, "uint8")
    policy = data.policy("rotation")
    views = policy(np.stack([white] * 40), seed=0, index=np.arange(40), view=0).numpy()
    assert set(np.unique(views)) == {0.0, 1.0}


def test_an_unknown_name_is_refused_with_the_nearest_ones():
    with pytest.raises(ValueError, match="'combine'.*Did you mean 'combined'"):
        data.policy("combine")


@pytest.mark.parametrize("name", ["baseline", "none"])
def test_an_unknown_setting_is_refused_with_the_known_ones(name):
    with pytest.raises(TypeError, match=f"policy '{name}' has the settings"):
        data.policy(name, size=224)

"""Package metadata of keras-kd."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def version():
    """The version that keras_kd states, read without importing keras_kd."""
    source = read("keras_kd/__init__.py")
    return re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE).group(1)


# Tested at exactly these lower bounds (see CONTRIBUTING.md). Keras 3.12.0 is the first
# release with keras.distillation, whose DistillationLoss ours inherits; NumPy 1.26 is
# the least that TensorFlow 2.18 takes.
REQUIRED = [
    "keras>=3.12.0",
    "numpy>=1.26.0",
    "tensorboard>=2.18.0",
    "tensorflow>=2.18.0",
    "tqdm>=4.62.0",
]

# TFDS imports importlib_resources when it prepares a data set, without requiring it.
DATASETS = ["importlib_resources", "tensorflow-datasets"]
REPORT = ["jinja2", "matplotlib"]
# `make demo`: its figures, and every data set that it offers. No developer tools.
DEMO = [*DATASETS, "matplotlib", "scikit-learn"]
TEXT = ["keras-hub"]
CV = ["keras-cv"]
TEST = [
    *CV,
    *DEMO,
    *REPORT,
    *TEXT,
    "hypothesis",
    "jax",
    "pytest>=8",
    "pytest-xdist>=3.7",
    "scipy",
]
# ruff is held to one minor version, because the next one may format differently.
DEV = [*TEST, "build", "pre-commit", "ruff>=0.17,<0.18"]

setup(
    name="keras-kd",
    version=version(),
    description="Knowledge distillation for Keras 3, and measures of what it transfers",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    author="The keras_kd authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "calibration",
        "deep learning",
        "ensemble",
        "fidelity",
        "keras",
        "knowledge distillation",
        "model compression",
        "tensorflow",
    ],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=find_packages(include=["keras_kd", "keras_kd.*"]),
    package_data={"keras_kd.report": ["template.html"]},
    entry_points={"console_scripts": ["keras-kd = keras_kd.__main__:main"]},
    python_requires=">=3.11",
    install_requires=REQUIRED,
    extras_require={
        "cv": CV,
        "datasets": DATASETS,
        "demo": DEMO,
        "dev": DEV,
        "report": REPORT,
        "test": TEST,
        "text": TEXT,
    },
)

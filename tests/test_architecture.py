"""The layout of keras_kd, kept by machine (CONTRIBUTING.md says what it is for).

The checks are functions of a folder, so that the last tests here can plant violations.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import keras_kd

ROOT = Path(__file__).resolve().parents[1]

LAYERS = [  # lowest first: a module imports from lower layers, never sideways
    {"_common"},
    {"teacher_ensemble", "schedules"},
    {"losses", "metrics", "data", "models"},
    {"distiller", "answers"},
    {"fidelity", "probes"},
    {"callbacks"},
    {"report", "procedures"},
    {"__main__"},
]
LAYER_OF = {unit: i for i, units in enumerate(LAYERS) for unit in units}

# Other libraries are imported inside the function that needs them, so that
# `import keras_kd` needs no extra and loads no plotting.
AT_MODULE_LEVEL = {"keras", "keras_kd", "numpy", "tensorboard", "tensorflow", "tqdm"}
# The mathematics is keras.ops, on every backend of Keras.
BACKEND_FREE = {"losses", "metrics", "models"}
BACKENDS = {"jax", "tensorflow", "torch"}

MAX_LINES = 400
MAX_LINES_OF_CODE = 40  # of a function, with its signature, without its docstring
VAGUE_NAMES = {"helper", "helpers", "manager", "misc", "util", "utils"}

# Modules without a test file of their own, each with the reason.
TESTED_ELSEWHERE = {
    "distiller/arguments.py": "tests/bad_input/test_distiller.py, a row a check",
    "distiller/distillation_terms.py": "tests/distiller/test_what_losses_take.py",
    "distiller/distribution.py": "tests/distributed/test_global_batch.py",
    "distiller/distiller.py": "tests/test_distiller.py and all of tests/distiller",
    "distiller/label_metrics.py": "tests/distiller/test_labels_and_weights.py",
    "distiller/label_terms.py": "tests/distiller/test_labels_and_weights.py",
    "distiller/sides.py": "tests/distiller/test_models.py and test_batches.py",
    "distiller/trackers.py": "tests/test_distiller.py, what is logged",
    **{
        f"procedures/{name}.py": "tests/procedures/test_stages.py, all three alike"
        for name in ("born_again", "self_distillation", "teacher_assistant")
    },
}

# Functions that are longer, each with the reason; an entry that is not needed fails.
LONG_FUNCTIONS = {
    "distiller/distiller.py: compile": "ten arguments of Keras, checked and passed on",
    "models/lstm.py: BiLSTM": "seven arguments, each checked, then one chain of layers",
    "report/compare.py: compare": "a third is its signature and the call it ends in",
    "report/verdict.py: _answer": "a decision with an early return for each answer",
}
# Private names of a class above that a file may use, each with the reason.
HOOKS_ABOVE = {}


class Import(NamedTuple):
    name: str  # dotted, with what is imported from it: "keras_kd.losses.logits.Name"
    line: int
    in_function: bool

    @property
    def library(self):
        return self.name.split(".")[0]

    @property
    def unit(self):
        """The file or folder directly below keras_kd, `""` for keras_kd itself."""
        return (self.name + ".").split(".")[1]


def none_of(found):
    assert not found, "\n" + "\n".join(found)


def test_imports_go_down_the_layers():
    none_of(import_violations(ROOT / "keras_kd"))


def test_libraries_are_imported_where_they_may_be():
    none_of(library_violations(ROOT / "keras_kd"))


def test_files_are_short_and_named_for_their_job():
    none_of(file_violations(ROOT / "keras_kd"))


def test_functions_are_short():
    none_of(long_functions(ROOT / "keras_kd", LONG_FUNCTIONS))


def test_no_private_attribute_of_a_higher_floor_is_named():
    none_of(private_names_above(ROOT / "keras_kd", HOOKS_ABOVE))


def test_examples_and_benchmarks_use_public_names():
    none_of(private_uses(ROOT / "examples") + private_uses(ROOT / "benchmarks"))


def test_tests_mirror_the_package():
    none_of(untested_modules(ROOT / "keras_kd", ROOT / "tests"))


def public_modules():
    """keras_kd and the packages in it that a user may import."""
    found = pkgutil.walk_packages(keras_kd.__path__, "keras_kd.")
    names = [m.name for m in found if m.ispkg and "._" not in m.name]
    return ["keras_kd", *names]


@pytest.mark.parametrize("name", public_modules())
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for public in module.__all__:
        assert hasattr(module, public), f"{name}.{public} is in __all__ only"
        value = getattr(module, public)
        assert not callable(value) or value.__doc__, f"{name}.{public}: no docstring"


@pytest.mark.parametrize("name", public_modules())
def test_a_public_package_imports_only_what_it_exports(name):
    module = importlib.import_module(name)
    tree = ast.parse(inspect.getsource(module))
    imported = {i.name.split(".")[-1] for i in imports_of(tree, name, is_package=True)}
    assert imported - set(module.__all__) == set()


def import_violations(package):
    """Imports within the package that go up or sideways."""
    found = []
    for path, _, imports in _imports_by_file(package):
        unit = _unit(path, package)
        if unit == "__init__":
            continue  # the table of contents of everything
        if unit not in LAYER_OF:
            found.append(f"{path.name}: {unit!r} is in no layer; give it one in LAYERS")
            continue
        for i in imports:
            if i.library != package.name or i.unit == unit:
                continue
            if i.unit not in LAYER_OF:
                fault = f"{package.name} itself, which imports everything"
            elif LAYER_OF[i.unit] > LAYER_OF[unit]:
                fault = f"{i.name}, upward from {unit}"
            elif LAYER_OF[i.unit] == LAYER_OF[unit]:
                fault = f"{i.name}, sideways from {unit}"
            else:
                continue
            found.append(f"{_place(path, package, i)}: imports {fault}")
    return found


def library_violations(package):
    """Backends below keras.ops, and libraries imported before they are needed."""
    found = []
    imports_by_module = {m: imports for _, m, imports in _imports_by_file(package)}
    for path, module, imports in _imports_by_file(package):
        if _unit(path, package) in BACKEND_FREE:
            found += [
                f"{path.relative_to(package.parent)}: imports {' -> '.join(chain)}; "
                "write it in keras.ops"
                for chain in _chains_to_backends(module, imports_by_module)
            ]
        found += [
            f"{_place(path, package, i)}: imports {i.library} at module level; "
            "import it inside the function that needs it"
            for i in imports
            if not i.in_function
            and i.library not in AT_MODULE_LEVEL | sys.stdlib_module_names
            and not (i.library in BACKENDS and _unit(path, package) in BACKEND_FREE)
        ]
    return found


def _chains_to_backends(module, imports_by_module, seen=()):
    """How a module reaches a backend: itself, or through modules that it imports."""
    for i in imports_by_module[module]:
        # `from package.module import name` names the module without its last part.
        targets = {i.name, i.name.rpartition(".")[0]} & imports_by_module.keys()
        if i.library in BACKENDS and not (seen and i.in_function):
            yield (i.library,)
        for target in targets - {module, "keras_kd", *seen}:
            chains = _chains_to_backends(target, imports_by_module, (*seen, module))
            yield from ((target, *chain) for chain in chains)


def file_violations(package):
    """Files that are too long, and modules with a name that says nothing."""
    found = []
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package.parent)
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            found.append(
                f"{where}: {lines} lines, more than {MAX_LINES}; it has two jobs: "
                "split it"
            )
        names = {part.strip("_").lower() for part in where.with_suffix("").parts}
        if names & VAGUE_NAMES:
            found.append(f"{where}: name it for what it does")
    return found


def long_functions(package, exceptions=()):
    """Functions of too many lines of code, and exceptions that none needs."""
    found, excepted = [], set()
    for path in sorted(package.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = _lines_of_code(node, source.splitlines())
            if lines <= MAX_LINES_OF_CODE:
                continue
            name = f"{path.relative_to(package)}: {node.name}"
            excepted.add(name)
            if name not in exceptions:
                found.append(
                    f"{name} has {lines} lines of code, more than {MAX_LINES_OF_CODE}; "
                    "move a step of it into a function of its own"
                )
    return found + _unneeded(exceptions, excepted)


def _lines_of_code(function, lines):
    """How many of its lines are no docstring, comment or blank."""
    first = function.body[0]
    docstring = ast.get_docstring(function, clean=False) is not None
    passed_over = range(first.lineno, first.end_lineno + 1) if docstring else ()
    return sum(
        bool(lines[i - 1].strip()) and not lines[i - 1].lstrip().startswith("#")
        for i in range(function.lineno, function.end_lineno + 1)
        if i not in passed_over
    )


def private_names_above(package, exceptions=()):
    """Private attributes that a file names and only classes of higher floors define.

    On whatever object, `self` too: a mix-in that reads what its class holds. Where the
    floor itself or a lower one defines the same name, that one is taken to be meant.
    """
    trees = [
        (path, LAYER_OF[_unit(path, package)], ast.parse(path.read_text("utf-8")))
        for path in sorted(package.rglob("*.py"))
        if _unit(path, package) in LAYER_OF
    ]
    lowest = {}  # floor that defines a name
    for _, floor, tree in trees:
        for name in _private_definitions(tree):
            lowest[name] = min(floor, lowest.get(name, floor))
    found, excepted = [], set()
    for path, floor, tree in trees:
        for line, name in _private_names_used(tree):
            if lowest.get(name, floor) <= floor:
                continue
            use = f"{path.relative_to(package)}: {name}"
            excepted.add(use)
            if use not in exceptions:
                found.append(f"{use} in line {line} is defined on a higher floor")
    return found + _unneeded(exceptions, excepted)


def _unneeded(exceptions, needed):
    return [f"{name} needs no exception any more" for name in {*exceptions} - needed]


def _private_definitions(tree):
    """Private methods and attributes of the classes in a syntax tree."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.append(node.attr)
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                names.append(part.name)
            elif isinstance(part, ast.Assign | ast.AnnAssign):
                targets = (
                    part.targets if isinstance(part, ast.Assign) else [part.target]
                )
                targets = [t.id for t in targets if isinstance(t, ast.Name)]
                # A descriptor keeps its object under its name with an underscore.
                is_kept = isinstance(part.value, ast.Call)
                names += targets + [f"_{name}" for name in targets if is_kept]
    return {name for name in names if _is_private(name)}


def _private_names_used(tree):
    """`(line, name)` of private attributes read, by a dot or by `getattr` and its kin.

    What is set is defined there; a method called of `super()` is a base's.
    """
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Store):
            name = None if ast.unparse(node.value) == "super()" else node.attr
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            by_name = ast.unparse(node.func) in {"getattr", "hasattr", "setattr"}
            second = node.args[1]
            name = (
                second.value if by_name and isinstance(second, ast.Constant) else None
            )
        if isinstance(name, str) and _is_private(name):
            yield node.lineno, name


def private_uses(folder):
    """Names with a leading underscore that code outside the package reaches for."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        uses = [
            (i.line, i.name)
            for i in imports_of(tree, path.stem)
            if i.library == "keras_kd" and any(map(_is_private, i.name.split(".")))
        ]
        uses += [
            (node.lineno, ast.unparse(node))
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and _is_private(node.attr)
            and ast.unparse(node.value) not in ("self", "cls")
        ]
        where = path.relative_to(folder.parent)
        found += [f"{where}:{line}: {name} is private" for line, name in sorted(uses)]
    return found


def untested_modules(package, tests):
    """Public modules without `tests/<folder>/test_<module>.py`."""
    found = []
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package)
        name = module.stem.strip("_")
        if name == "init" or str(module) in TESTED_ELSEWHERE:
            continue
        if any(map(_is_private, module.parts)):
            continue
        test = tests / module.parent / f"test_{name}.py"
        if not test.exists():
            found.append(f"{module} has no {test.relative_to(tests.parent)}")
    return found


def imports_of(tree, module, is_package=False):
    """Every import in the syntax tree of a module, relative ones made absolute."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    found = []

    def visit(node, in_function):
        if isinstance(node, ast.Import):
            found.extend(Import(a.name, node.lineno, in_function) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, node.module] if node.module else base
            for alias in node.names:
                name = ".".join([*base, alias.name])
                found.append(Import(name, node.lineno, in_function))
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, in_function or is_function)

    visit(tree, in_function=False)
    return found


def _imports_by_file(package):
    """Path, module name and imports of every file in the package."""
    for path in sorted(package.rglob("*.py")):
        is_package = path.name == "__init__.py"
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield path, module, imports_of(tree, module, is_package)


def _unit(path, package):
    return path.relative_to(package).with_suffix("").parts[0]


def _place(path, package, found):
    return f"{path.relative_to(package.parent)}:{found.line}"


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


# The checkers themselves, on a package with planted faults.


def plant(tmp_path, sources):
    """A package `keras_kd` of the given files."""
    package = tmp_path / "keras_kd"
    for name, source in sources.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return package


def test_a_sound_package_passes(tmp_path):
    package = plant(
        tmp_path,
        {
            "_common/checks": "import numpy",
            "_common/taps": "from keras_kd._common.checks import nearest",
            "losses/base": "import keras",
            "losses/logits": "from keras_kd.losses.base import Base",
            "distiller": "import tensorflow\nfrom keras_kd import losses",
            "fidelity": "from . import distiller\nfrom .metrics import agreement",
            "report/figures": "def plot():\n    import matplotlib.pyplot",
        },
    )
    assert import_violations(package) == []
    assert library_violations(package) == []
    assert file_violations(package) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("losses/a", "import keras_kd.distiller", "upward"),
        ("losses/a", "from keras_kd import callbacks", "upward"),
        ("losses/a", "def f():\n    from keras_kd.distiller import D", "upward"),
        ("_common/a", "from ..losses import b", "upward"),
        ("losses/a", "from keras_kd.metrics.agreement import A", "sideways"),
        ("losses/a", "from ..models import resnet", "sideways"),
        ("probes/a", "from keras_kd.fidelity import F", "sideways"),
        ("report/a", "import keras_kd", "itself"),
        ("report/a", "from keras_kd import Distiller", "itself"),
        ("novelty", "", "no layer"),
    ],
)
def test_a_planted_import_is_found(tmp_path, module, source, fault):
    (found,) = import_violations(plant(tmp_path, {module: source}))
    assert fault in found


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("losses/a", "import tensorflow as tf", "write it in keras.ops"),
        ("metrics/a", "def f():\n    from tensorflow import math", "keras.ops"),
        ("models/a", "import torch", "keras.ops"),
        ("report/a", "import matplotlib.pyplot as plt", "matplotlib at module level"),
        ("probes/a", "class A:\n    import matplotlib", "matplotlib at module level"),
        ("data/a", "if True:\n    import tensorflow_datasets", "tensorflow_datasets"),
        ("models/a", "from keras_hub.models import Backbone", "keras_hub"),
        ("data/a", "import keras_cv", "keras_cv"),
    ],
)
def test_a_planted_library_is_found(tmp_path, module, source, fault):
    (found,) = library_violations(plant(tmp_path, {module: source}))
    assert fault in found


def test_a_backend_behind_another_module_is_found(tmp_path):
    package = plant(
        tmp_path,
        {
            "_common/replicas": "import tensorflow",
            "_common/lazy": "def f():\n    import tensorflow",
            "_common/terms": "from keras_kd._common.replicas import total",
            "losses/a": "from keras_kd._common import lazy, terms",
        },
    )
    (found,) = library_violations(package)
    assert "terms -> keras_kd._common.replicas -> tensorflow" in found


def test_a_long_file_and_a_vague_name_are_found(tmp_path):
    package = plant(
        tmp_path,
        {"distiller": "\n" * (MAX_LINES + 1), "losses/utils": "", "_common/misc": ""},
    )
    found = file_violations(package)
    assert len(found) == 3
    assert any("split it" in line for line in found)


def test_a_long_function_is_found(tmp_path):
    body = "    x = 1\n" * (MAX_LINES_OF_CODE - 1)
    docstring = '    """Two\n    lines."""\n\n    # and a comment\n'
    long = body + "    x = 2\n"
    package = plant(
        tmp_path,
        {
            "losses/a": f"def short():\n{docstring}{body}",
            "losses/b": f"class A:\n  def long(self):\n{long}",
        },
    )
    (found,) = long_functions(package)
    assert "b.py: long has 41 lines" in found.replace("\\", "/")
    assert long_functions(package, {"losses/b.py: long": "a reason"}) == []
    (found,) = long_functions(package, {"losses/b.py: long", "losses/a.py: short"})
    assert found == "losses/a.py: short needs no exception any more"


@pytest.mark.parametrize(
    "use",
    [
        "def step(distiller):\n    return distiller._held",
        "class Mixin:\n    def step(self):\n        return self._held",
        "def step(model):\n    return model.distiller._build(3)",
        "def step(model):\n    return getattr(model, '_build', None)",
        "def step(model):\n    return model._weight.tensor",
    ],
)
def test_a_private_name_of_a_higher_floor_is_found(tmp_path, use):
    distiller = (
        "class Distiller:\n    weight = Attribute('w')\n"
        "    def _build(self): self._held = 1"
    )
    package = plant(tmp_path, {"distiller/a": distiller, "_common/b": use})
    (found,) = private_names_above(package)
    assert found.startswith("_common/b.py: _")
    excepted = found.partition(" in line")[0]
    assert private_names_above(package, {excepted}) == []
    plant(tmp_path, {"_common/b": ""})
    assert "no exception" in private_names_above(package, {excepted})[0]


def test_private_names_of_the_own_or_a_lower_floor_may_be_used(tmp_path):
    package = plant(
        tmp_path,
        {
            "_common/a": "class A:\n    _own = 1\n"
            "    def _build(self): super()._build()",
            "losses/b": "def f(a):\n    return a._own, a._build(), a._keras_mask",
            "distiller/c": "class C(A):\n    def _build(self): self._own = 2",
        },
    )
    assert private_names_above(package) == []


def test_a_private_name_in_an_example_is_found(tmp_path):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "demo.py").write_text(
        "import keras_kd\n"
        "from keras_kd._common import checks\n"
        "from keras_kd.losses import logits, _private\n"
        "keras_kd.Distiller()._step()\n"
        "class A:\n    def f(self):\n        return self._own, self.__class__\n"
    )
    found = private_uses(tmp_path / "examples")
    assert [line.split(":")[1] for line in found] == ["2", "3", "4"]


def test_a_module_without_a_test_is_found(tmp_path):
    package = plant(
        tmp_path,
        {"__init__": "", "losses/__init__": "", "losses/logits": "", "_common/t": ""},
    )
    tests = tmp_path / "tests"
    assert untested_modules(package, tests) == [
        "losses/logits.py has no tests/losses/test_logits.py"
    ]
    (tests / "losses").mkdir(parents=True)
    (tests / "losses" / "test_logits.py").touch()
    assert untested_modules(package, tests) == []

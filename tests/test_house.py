"""The product as a house: what stands where, how large it is, and that nobody uses what is private to somebody else."""

import ast
import importlib
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from zope.interface import implementedBy
from zope.interface.interface import InterfaceClass

CHECKOUT = Path(__file__).resolve().parents[1]
PRODUCT = CHECKOUT / "ipfsreg"
MOST_MODULES = 22
MOST_LINES = 400
PUBLIC_IN_SPITE_OF_THEIR_NAME = {"_asdict", "_fields", "_replace"}
"""What the documentation of `typing.NamedTuple` offers."""
BY_NAME = ("getattr", "setattr", "hasattr", "delattr")


def is_generated(path: Path) -> bool:
    return "_pb2" in path.name


MODULES = sorted(path for path in PRODUCT.rglob("*.py") if not is_generated(path))
PACKAGES = sorted(path.parent for path in PRODUCT.rglob("__init__.py"))


def is_private(name: str) -> bool:
    """Whether a name is for its own class or module only; `__x__` and `_x_` are hooks that somebody documents."""
    return name.startswith("_") and not name.endswith("_") and name not in PUBLIC_IN_SPITE_OF_THEIR_NAME


def shown(path: Path, line: int, text: str) -> str:
    return f"{path.relative_to(CHECKOUT)}:{line}: {text}"


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def defined_in(tree: ast.AST) -> set[str]:
    """The private names that the classes of this tree have: methods, class attributes, and what `self` is given."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    names.add(part.name)
                elif isinstance(part, ast.AnnAssign | ast.Assign):
                    targets = [part.target] if isinstance(part, ast.AnnAssign) else part.targets
                    names.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            names.add(node.attr)
    return {name for name in names if is_private(name)}


def private_names_of_others(path: Path, source: str) -> Iterator[str]:
    """Each use of a private name that no class of the same module has, and each import of one."""
    tree = ast.parse(source)
    own = defined_in(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not is_self(node.value):
            if is_private(node.attr) and node.attr not in own:
                yield shown(path, node.lineno, ast.unparse(node))
        elif isinstance(node, ast.ImportFrom):
            named = [*(node.module or "").split("."), *(each.name for each in node.names)]
            if any(is_private(name) for name in named):
                yield shown(path, node.lineno, ast.unparse(node))
        elif isinstance(node, ast.Import):
            if any(is_private(part) for each in node.names for part in each.name.split(".")):
                yield shown(path, node.lineno, ast.unparse(node))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_NAME:
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)) and name.value not in own:
                yield shown(path, node.lineno, ast.unparse(node))


def test_nobody_uses_a_private_name_of_another_module() -> None:
    found = [line for path in MODULES for line in private_names_of_others(path, path.read_text())]
    assert not found, "\n".join(["private names of others:", *found])


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(1)",
        "def f(channel):\n    return channel._transport",
        "from twisted.internet._resolver import GAIResolver",
        "from klein import _app",
        "import werkzeug._internal",
        "def f(request):\n    return getattr(request, '_version')",
        "class A:\n    _a = 1\n\ndef f(a):\n    return a._b",
    ],
)
def test_such_a_use_is_found(source: str) -> None:
    (found,) = private_names_of_others(PRODUCT / "tap.py", source)
    assert found.startswith("ipfsreg/tap.py:")


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def __init__(self):\n        self._a = 1\n    def __eq__(self, other):\n        return other._a",
        "class A:\n    @classmethod\n    def _made(cls): ...\n\ndef f():\n    return A._made()",
        "def f(point):\n    return point._replace(x=1), point.__class__, Kind._missing_",
        "from __future__ import annotations",
    ],
)
def test_what_a_module_has_itself_it_may_use(source: str) -> None:
    assert not list(private_names_of_others(PRODUCT / "tap.py", source))


@cache
def private_names_in(a_class: type) -> frozenset[str]:
    """The private names that the source of a class defines, or asks `self` for; none where it is not in Python."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(a_class)))
    except (OSError, TypeError):
        return frozenset()
    asked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_self(node.value)}
    return frozenset(defined_in(tree) | {name for name in asked if is_private(name)})


def is_foreign(a_class: type) -> bool:
    return a_class.__module__.partition(".")[0] not in ("ipfsreg", "tests", *sys.stdlib_module_names)


def names_shared_with_foreign_bases(a_class: type) -> frozenset[str]:
    """Private names that a class and one that it inherits from, of some library, both have."""
    bases = [base for base in a_class.__mro__ if is_foreign(base)]
    theirs = frozenset[str]().union(*map(private_names_in, bases))
    return private_names_in(a_class) & theirs if theirs else theirs


def test_no_class_uses_or_replaces_what_is_private_to_a_class_of_a_library() -> None:
    found = []
    for path in MODULES:
        for a_class in {each for each in made_in(path) if isinstance(each, type)}:
            if names := names_shared_with_foreign_bases(a_class):
                line = inspect.getsourcelines(a_class)[1]
                found.append(shown(path, line, f"{a_class.__qualname__}: {', '.join(sorted(names))}"))
    assert not found, "\n".join(["private names of a library's class:", *sorted(found)])


def test_such_a_class_is_found() -> None:
    from twisted.web.http import HTTPChannel

    class Peeking(HTTPChannel):
        def peek(self) -> object:
            return self._version, self._mine

        _mine = 1

    assert names_shared_with_foreign_bases(Peeking) == {"_version"}


def made_in(path: Path) -> list[Any]:
    """The classes of a module, and its interfaces, which are objects."""
    module = importlib.import_module(".".join(path.relative_to(CHECKOUT).with_suffix("").parts))
    kinds = (type, InterfaceClass)
    return [each for each in vars(module).values() if isinstance(each, kinds) and each.__module__ == module.__name__]


@cache
def classes_by_name() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for each in chain.from_iterable(map(made_in, MODULES)):
        found.setdefault(each.__name__, []).append(each)
    return found


def declares(a_class: type, method: str) -> bool:
    """Whether a base of a class, an interface, or a class that their docstrings name in backticks has the method."""
    if any(method in vars(base) for base in a_class.__mro__[1:]) or any(
        method in face for face in implementedBy(a_class)
    ):
        return True
    docs = " ".join(base.__doc__ or "" for base in a_class.__mro__)
    named = chain.from_iterable(classes_by_name().get(name, ()) for name in re.findall(r"`(\w+)`", docs))
    return any(
        method in (each if isinstance(each, InterfaceClass) else dir(each)) for each in named if each is not a_class
    )


def test_every_public_method_says_what_it_does_or_is_one_that_its_class_implements() -> None:
    silent = [
        f"{a_class.__module__}.{a_class.__qualname__}.{name}"
        for a_class in chain.from_iterable(classes_by_name().values())
        if isinstance(a_class, type) and not is_private(a_class.__name__)
        for name, found in list(vars(a_class).items())
        if isinstance(found, types.FunctionType | property | staticmethod | classmethod)
        if not found.__doc__ and not name.startswith("_")
        if not declares(a_class, name)
    ]
    assert not silent, "\n".join(["methods without a docstring:", *sorted(silent)])


def test_at_the_top_are_packages_and_the_plugin() -> None:
    there = {path.name for path in PRODUCT.iterdir() if not path.name.startswith("__pycache__")}
    packages = {path.name for path in PACKAGES if path.parent == PRODUCT}
    assert there - packages == {"__init__.py", "py.typed", "tap.py"}


def test_no_folder_is_crowded() -> None:
    modules = {package: [path for path in MODULES if path.parent == package] for package in PACKAGES}
    crowded = {str(package): len(found) for package, found in modules.items() if len(found) - 1 > MOST_MODULES}
    assert not crowded


def test_no_module_is_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert not [shown(path, length, "too long") for path, length in lengths.items() if length > MOST_LINES]


def test_every_package_says_what_it_is() -> None:
    silent = [
        package for package in PACKAGES if not ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    ]
    assert not silent

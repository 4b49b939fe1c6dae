"""No name of Twisted's, Klein's or werkzeug's that they keep for themselves."""

import ast
from pathlib import Path

import ipfsreg.web

WEB = Path(ipfsreg.web.__file__).parent


def test_only_our_own_private_names_are_used() -> None:
    """A private attribute is of ``self`` or of another object of a class in the same file."""
    found = []
    for file in WEB.rglob("*.py"):
        tree = ast.parse(file.read_text())
        own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_set_on_self(node)}
        own |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
                found.append(f"{file.relative_to(WEB)}:{node.lineno}: {node.attr}")
            if isinstance(node, ast.ImportFrom) and not node.level:
                found += [f"{file.relative_to(WEB)}: {each.name}" for each in node.names if is_private(each.name)]
    assert found == []


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def is_set_on_self(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"

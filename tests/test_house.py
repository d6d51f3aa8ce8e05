# SPDX-License-Identifier: MIT
"""The house: each thing is done in one place, and modules have the size and names of modules.

What is tested here is read from the syntax of the package, without running it. The order of
the rooms is held by the contract in pyproject.toml (``lint-imports``).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import eqcalc
from eqcalc.methods import METHODS

PACKAGE = Path(eqcalc.__file__).parent
MODULES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}


def modules_with(found: Callable[[ast.AST], bool]) -> set[str]:
    """Return the modules in which a node of the syntax is found."""
    return {name for name, tree in MODULES.items() if any(found(n) for n in ast.walk(tree))}


def called(node: ast.AST, *names: str) -> bool:
    """Return whether a node calls a function or method of one of these names."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    return name in names


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Return all functions and methods."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def names_in(tree: ast.AST) -> set[str]:
    """Return every name, attribute and argument in a piece of code."""
    found = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg"):
            if isinstance(value := getattr(node, field, None), str):
                found.add(value)
    return found


def test_mass_weighted_matrices_are_diagonalised_in_one_module():
    decompositions = ("eigh", "eigvalsh", "eig")
    places = {
        name
        for name, tree in MODULES.items()
        for function in functions(tree)
        if any(called(node, *decompositions) for node in ast.walk(function))
        and any("hessian" in word or "weighted" in word for word in names_in(function))
    }
    assert places == {"normal_modes.py"}


def test_files_are_replaced_and_synchronised_in_one_module():
    def writes(node: ast.AST) -> bool:
        if called(node, "fsync", "rename"):
            return True
        # path.replace(target): that of strings has two arguments
        return called(node, "replace") and len(node.args) == 1 and not node.keywords

    assert modules_with(writes) == {"files.py"}


def test_files_are_written_without_following_links():
    """By :mod:`eqcalc.files`, or to temporary names that it gives or that are in a new folder."""
    direct = modules_with(lambda node: called(node, "write_text", "write_bytes"))
    assert direct == {"files.py", "spectra/io/files.py", "engines/ml_iap.py"}


def test_dataclasses_with_arrays_have_no_generated_equality():
    """It raises an error of NumPy: they are compared by value (``ComparedByValue``) or identity."""

    def raises(node: ast.AST) -> bool:
        if not isinstance(node, ast.ClassDef):
            return False
        made = [d for d in map(ast.unparse, node.decorator_list) if d.startswith("dataclass")]
        types = " ".join(
            ast.unparse(line.annotation) for line in node.body if isinstance(line, ast.AnnAssign)
        )
        has_arrays = any(name in types for name in ("ndarray", "Tensor", "ArrayLike"))
        return bool(made) and has_arrays and "eq=False" not in made[0]

    assert modules_with(raises) == set()


def test_locks_are_taken_in_one_module():
    def imports(node: ast.AST) -> bool:
        names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
        return isinstance(node, (ast.Import, ast.ImportFrom)) and (
            {"fcntl", "msvcrt", "filelock"} & {*names, getattr(node, "module", "")}
        )

    assert modules_with(lambda node: bool(imports(node))) == {"files.py"}


def test_the_charge_of_atoms_is_read_in_one_module():
    def reads(node: ast.AST) -> bool:
        """Return whether a node reads ``info["charge"]``, or the charges of the atoms."""
        if called(node, "get_initial_charges"):
            return True
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            owner, key = node.value, node.slice
        elif called(node, "get") and node.args and isinstance(node.func, ast.Attribute):
            owner, key = node.func.value, node.args[0]
        else:
            return False
        return (
            isinstance(key, ast.Constant)
            and key.value == "charge"
            and getattr(owner, "attr", getattr(owner, "id", "")) == "info"
        )

    assert modules_with(reads) == {"molecules.py"}


def test_the_methods_of_dynamics_are_listed_in_one_module():
    """A module that names five of them has a list of its own; defaults are fewer."""

    def listed(tree: ast.AST) -> set[str]:
        return {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in METHODS
        }

    assert {name for name, tree in MODULES.items() if len(listed(tree)) > 4} == {"methods.py"}


def test_ipi_is_used_by_its_public_names_and_not_patched():
    """No private name but of self, and nothing is assigned to what is imported of i-PI."""

    def of_ipi(node: ast.AST) -> bool:
        module = getattr(node, "module", None) or ""
        return isinstance(node, ast.ImportFrom) and module.partition(".")[0] == "ipi"

    users = {name: tree for name, tree in MODULES.items() if any(map(of_ipi, ast.walk(tree)))}
    assert users.keys() == {"ipi/engine.py", "ipi/eqcalc_driver.py"}
    for tree in users.values():
        nodes = list(ast.walk(tree))
        imported = {alias.asname or alias.name for n in nodes if of_ipi(n) for alias in n.names}
        attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        private = [n for n in attributes if n.attr.startswith("_") and not n.attr.endswith("__")]
        assert all(isinstance(n.value, ast.Name) and n.value.id == "self" for n in private)
        assigned = [node for node in attributes if isinstance(node.ctx, ast.Store)]
        assert not {getattr(node.value, "id", "") for node in assigned} & imported


def exported(tree: ast.Module) -> set[str]:
    """Return the functions and classes that a module defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def faces() -> set[str]:
    """Return the names of everything that a face of a room hands out."""
    return {
        alias.asname or alias.name
        for name, tree in MODULES.items()
        if name.endswith("__init__.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("name", [n for n in MODULES if not n.endswith("__init__.py")])
def test_a_module_is_one_room_with_a_name_of_its_own(name):
    tree, path = MODULES[name], PACKAGE / name
    stem = path.stem
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600
    assert stem not in exported(tree)
    assert not any(
        isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for node in tree.body
    )


def test_the_house_is_not_larger_than_it_was_made():
    """Look for the place that already does it before this is raised."""
    assert len(MODULES) <= 262

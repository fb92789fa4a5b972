"""Every module says what it knows, who calls it and what it never does; and no file is a drawer."""

import ast

import pytest

from architecture.house import MODULES, Module

FILES = [module for module in MODULES if not module.name.endswith("__init__.py")]
ABOUT_GO = {"gocache", "gotool"}
DRAWERS = {"util", "utils", "helper", "helpers", "common", "base", "manager", "managers", "interfaces", "misc"}


@pytest.mark.parametrize("module", FILES, ids=lambda module: module.name)
def test_a_module_says_what_it_knows_who_calls_it_and_what_it_never_does(module: Module) -> None:
    text = ast.get_docstring(module.tree) or ""
    lines = text.splitlines()
    wanted = ["Knows:", "Called by:", "Never:", *(["Source:"] if module.room in ABOUT_GO else [])]
    found = [label for label in wanted if any(line.startswith(label) and line != label for line in lines)]
    assert found == wanted
    assert lines[0].endswith((".", "?"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_package_and_module_has_a_docstring_and_a_name_that_says_something(module: Module) -> None:
    assert ast.get_docstring(module.tree)
    assert not DRAWERS & set(module.name.removesuffix(".py").split("/"))

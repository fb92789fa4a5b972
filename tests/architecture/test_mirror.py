"""Tests mirror the source: who changes a pure file finds its tests by its name."""

import pytest

from architecture.house import PURE, ROOT, Module

FILES = [module for module in PURE if not module.name.endswith("__init__.py")]
EXEMPT = {
    "core/check.py": "a description without behaviour",
    "core/decision.py": "three shapes without behaviour; core/policy.py makes them",
}
"""Pure files without a test file of their own, with the reason. The list may only shrink."""


def _has_tests(name: str) -> bool:
    room, _, file = name.rpartition("/")
    return (ROOT / "tests" / "unit" / room / f"test_{file}").is_file()


@pytest.mark.parametrize("module", FILES, ids=lambda module: module.name)
def test_every_pure_file_has_its_test_file_or_is_exempt_and_never_both(module: Module) -> None:
    assert _has_tests(module.name) != (module.name in EXEMPT)


def test_every_exemption_is_of_a_file_that_exists() -> None:
    assert set(EXEMPT) <= {module.name for module in FILES}

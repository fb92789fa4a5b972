"""docs/checks.md has one section for each check, in the check's own words."""

import importlib
import pkgutil
import re

from docs.generate import ROOT
from go_cache_safeguard.core.check import Check
from go_cache_safeguard.gocache import checks as of_build_caches
from go_cache_safeguard.gomod import checks as of_modules
from go_cache_safeguard.redis import checks as of_servers

CHECKS = (*of_build_caches.CHECKS, *of_modules.CHECKS, *of_servers.CHECKS)

PAGE = (ROOT / "docs" / "checks.md").read_text()
SECTIONS = dict(
    zip(re.findall(r"^## `(.+)`$", PAGE, re.MULTILINE), re.split(r"^## .*$", PAGE, flags=re.MULTILINE)[1:], strict=True)
)


def test_every_module_that_describes_a_check_is_registered() -> None:
    modules = [
        importlib.import_module(module.name)
        for checks in (of_build_caches, of_modules, of_servers)
        for module in pkgutil.iter_modules(checks.__path__, checks.__name__ + ".")
    ]
    described = [module.CHECK for module in modules if isinstance(getattr(module, "CHECK", None), Check)]
    assert sorted(check.id for check in described) == sorted(check.id for check in CHECKS)


def test_every_check_has_exactly_one_section_in_the_order_in_which_they_are_asked() -> None:
    assert re.findall(r"^## `(.+)`$", PAGE, re.MULTILINE) == [check.id for check in CHECKS] != []


def test_a_section_has_the_question_and_the_blind_spot_in_the_checks_own_words() -> None:
    for check in CHECKS:
        section = " ".join(SECTIONS[check.id].split())
        assert " ".join(check.question.split()) in section, check.id
        assert " ".join(check.blind_spot.split()) in section, check.id


def test_a_section_says_what_each_bad_outcome_means_and_what_to_do() -> None:
    for name, section in SECTIONS.items():
        assert "UNKNOWN" in section, name
        assert "What to do" in section, name

"""The questions that a module, with all that it depends on, is asked.

Adding one: a file here with `CHECK`, a frozen dataclass of facts, and `judge(facts) -> Verdict`; its `CHECK` in the tuple below;
a file in `flows` that gathers the facts, and its line in `flows.checks`; a section in docs/checks.md and a test file of the same
name. Ids begin with `mod-`, so that none is that of a check of a build cache.
"""

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.gomod.checks import build_plan, drift, integrity

CHECKS: tuple[Check, ...] = (
    integrity.CHECK,
    drift.CHECK,
    build_plan.CHECK,
    # A new check of modules goes here, in the order in which docs/checks.md has them.
)
"""Every check of modules, in the order in which they are asked."""

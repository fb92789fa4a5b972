"""The questions that a build cache is asked before anything in it may go.

Adding one: a file here with `CHECK`, a frozen dataclass of facts, and `judge(facts) -> Verdict`; its `CHECK` in the tuple below;
a section in docs/checks.md and a test file of the same name. Asking the world for the facts is a shell's or `flows`' work.
"""

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.gocache.checks import index_agreement, integrity, permissions, reuse

CHECKS: tuple[Check, ...] = (permissions.CHECK, integrity.CHECK, reuse.CHECK, index_agreement.CHECK)
"""Every check of a build cache, in the order in which they are asked: cheap ones first."""

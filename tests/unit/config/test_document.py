"""The generated pages hold everything that the tables hold."""

from go_cache_safeguard.config.document import config_page, exit_codes_page, lifecycle_table
from go_cache_safeguard.config.setting import SETTINGS
from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid
from go_cache_safeguard.core.lifecycle import State


def test_every_setting_has_one_section_with_its_variable() -> None:
    page = config_page()
    for setting in SETTINGS:
        assert page.count(f"### `{setting.key}`\n") == 1
        assert page.count(f"`{setting.variable}`\n") == 1
    assert "### `fsck.threads`\n\nHow many files are hashed" in page
    assert "- Allowed: a whole number, from 0 to 256\n" in page
    assert "- In a project file: yes\n" in page


def test_every_exit_code_and_failure_has_one_row() -> None:
    page = exit_codes_page([PlanVoid, Failure])
    for code in ExitCode:
        assert page.count(f"| {code.value} | {code.meaning} |\n") == 1
    assert page.index("| `failure` | 1 |") < page.index(f"| `plan-void` | 12 | {PlanVoid.meaning} |")


def test_every_state_has_one_row() -> None:
    rows = lifecycle_table().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [str(state) for state in State]
    assert "| UNDONE | (end) | settled |" in rows
    assert "| PURGING | PURGED | may be half changed: `recover` looks at it |" in rows

"""README shows a session that `make capture` records: the same commands, in the same order."""

import ast
import re

from gocaches import REPOSITORY


def test_readme_shows_exactly_the_commands_that_are_recorded() -> None:
    page = (REPOSITORY / "README.md").read_text("utf-8")
    session = page.split("<!-- capture:begin -->")[1].split("<!-- capture:end -->")[0]
    shown = [re.sub(r"op_[0-9a-z]{16}", "OP", line[2:]) for line in session.splitlines() if line.startswith("$ ")]
    tree = ast.parse((REPOSITORY / "make" / "capture.py").read_text("utf-8"))
    recorded = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "COMMANDS"
    )
    assert shown == list(recorded)

"""What a check is, apart from any cache.

Knows:     the description every check gives of itself.
Called by: the checks of each feature and the docs generator.
Never:     asks the world: asking is a shell's work, judging is a pure function beside the description.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One question about a target.

    Attributes:
        id: Lower case with dashes; also the name of its section in docs/checks.md and of its files.
        title: A few words.
        question: What it asks, as one sentence that ends in a question mark.
        blind_spot: What it cannot know, as one sentence.
    """

    id: str
    title: str
    question: str
    blind_spot: str

"""How well anomalies are found, told apart and explained, on labelled injected faults.

Run: `python benchmarks/anomalies.py [--seeds N] [--dry]`. Each fault of three made-up systems alone, and three at once; each situation has
a quiet time, healthy requests, ten traces that are odd each in a way of its own, and an operation of ours that is, or is not, to blame.
Thresholds were chosen with seeds 11 and 21; these are 9,000 and up.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from statistics import mean
from time import process_time

from faulty_traces import FAULTS, Fault
from labelled_faults import Score, every_fault, scored, situation
from page import machine, write_section

_FIRST_SEED = 9_000


def main() -> int:
    """Score, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="print, and leave the page alone")
    asked = parser.parse_args()
    lines = [
        "| situations | faults | ARI, mean | ARI, median | odd traces told as noise | right cause | events of no fault | CPU s each |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    seeds = range(_FIRST_SEED, _FIRST_SEED + 100 * asked.seeds, 100)
    for system in FAULTS:
        alone = [(system, (fault,), seed) for seed in seeds for of, fault in every_fault() if of == system]
        lines.append(_row(f"{system}, one fault", alone))
    lines.append(_row("all, three faults at once", _threes(seeds)))
    lines.append(_row("all, healthy", [(system, (), seed) for seed in seeds for system in FAULTS]))
    text = "\n".join([*lines, "", f"`python benchmarks/anomalies.py --seeds {asked.seeds}`; {machine()}"])
    if asked.dry:
        print(text)
    else:
        write_section("anomalies", text)
    return 0


def _threes(seeds: range) -> list[tuple[str, tuple[Fault, ...], int]]:
    chance = random.Random(_FIRST_SEED)  # noqa: S311 - which are together, no secret
    found: list[tuple[str, tuple[Fault, ...], int]] = []
    for seed in seeds:
        for system, faults in FAULTS.items():
            for _ in range(4):
                some = chance.sample([fault for fault in faults if "cold" not in fault.name], 3)
                if len({fault.truth for fault in some}) == 3:
                    found.append((system, tuple(some), seed))
    return found


def _row(name: str, situations: Sequence[tuple[str, tuple[Fault, ...], int]]) -> str:
    start = process_time()
    scores: list[Score] = []
    for system, faults, seed in situations:
        scores.append(scored(situation(system, faults, seed)))
        one = scores[-1]
        if one.ari < 0.9 or one.noise < 0.9 or one.named < one.faults or one.false:
            print(f"  {system} {seed} {[fault.name for fault in faults]}: {one}", file=sys.stderr)
    cpu = (process_time() - start) / len(scores)
    injected = sum(one.faults for one in scores)
    aris = sorted(one.ari for one in scores)
    ari = f"{mean(aris):.3f} | {aris[len(aris) // 2]:.3f}" if injected else "- | -"
    right = f"{sum(one.named for one in scores)} of {injected}" if injected else "-"
    return (
        f"| {name} ({len(scores)}) | {injected} | {ari} |"
        f" {mean(one.noise for one in scores) * 100:.0f} % | {right} | {sum(one.false for one in scores)} | {cpu:.2f} |"
    )


if __name__ == "__main__":
    raise SystemExit(main())

"""A journal for somebody who does not trust this program: records, signed checkpoint, proofs, and a script that checks them.

Knows:     what lies in the directory, in which form openssl, sha256sum and bash can check it.
Called by: the command line's `audit export --bundle`.
Never:     overwrites anything; leaves a directory that looks whole and is not: the checkpoint is written last.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.checkpoint import holders_of, sealer_of
from go_cache_safeguard.journal.merkle import Tree
from go_cache_safeguard.journal.note import PublicKey, is_signed
from go_cache_safeguard.journal.seal import Seal

if TYPE_CHECKING:
    from go_cache_safeguard.journal.records import Records

_SCRIPT = r"""#!/usr/bin/env bash
# Checks this export with bash, sha256sum and openssl alone. Takes about a hundredth of a second for each record.
# Compare key.txt with the key that you were given in another way: this script cannot.
set -euo pipefail
cd "$(dirname "$0")"
fail() { echo "WRONG: $1" >&2; exit 1; }
hash() { sha256sum | cut -d' ' -f1; }
node() { { printf '\1'; printf "$(printf '%s%s' "$1" "$2" | sed 's/../\\x&/g')"; } | hash; }

openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in checkpoint.txt -sigfile checkpoint.sig >/dev/null ||
  fail "the signature of the checkpoint"
size=$(sed -n 2p checkpoint.txt)
root=$(sed -n 3p checkpoint.txt | base64 -d | od -An -v -tx1 | tr -d ' \n')

n=0 roots=() leaves=() prev=$(printf '0%.0s' {1..64})
while read -r want body; do
  got=$(printf '\0%s' "$body" | hash)
  [ "$got" = "$want" ] || fail "record $((n + 1)): its hash"
  case $body in *"\"prev\":\"$prev\""*) ;; *) fail "record $((n + 1)): it does not follow the one before" ;; esac
  prev=$got leaves+=("$got") top=$got
  for ((m = n; m & 1; m >>= 1)); do top=$(node "${roots[-1]}" "$top"); unset 'roots[-1]'; done
  roots+=("$top") n=$((n + 1))
  if [ "$n" = "$size" ]; then
    top=${roots[-1]}
    for ((m = ${#roots[@]} - 2; m >= 0; m--)); do top=$(node "${roots[m]}" "$top"); done
    [ "$top" = "$root" ] || fail "the root of the first $size records"
    signed=yes
  fi
done < records.txt
[ "${signed:-no}" = yes ] || fail "there are $n records, and the checkpoint is of $size"

while read -r kind seq of path; do
  [ "$kind" = inclusion ] || continue
  at=$((seq - 1)) last=$((of - 1)) top=${leaves[seq - 1]}
  for beside in $path; do
    if ((at & 1 || at == last)); then
      top=$(node "$beside" "$top")
      while ((at && !(at & 1))); do at=$((at >> 1)) last=$((last >> 1)); done
    else
      top=$(node "$top" "$beside")
    fi
    at=$((at >> 1)) last=$((last >> 1))
  done
  [ "$top" = "$root" ] && [ "$last" = 0 ] || fail "the proof of record $seq"
done < proofs.txt
echo "$n records, of which $size are signed by $(cat key.txt)"
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        records: How many.
        signed: How many of them the checkpoint covers.
        proofs: How many proofs.
    """

    records: int
    signed: int
    proofs: int


def export_bundle(config: Config, journal: "Records", folder: Path, prove: Sequence[int]) -> Exported:
    """Write a directory that can be checked without this program.

    Args:
        config: The settings.
        journal: Open.
        folder: A new directory.
        prove: Numbers of records of which a proof is wanted that they are in the signed tree.

    Raises:
        UsageFailure: There is no checkpoint, no such record, or the directory cannot be made.
    """
    seals = sealer_of(config, journal).kept().seals
    holders = holders_of(journal)
    key = next((it.key for it in reversed(holders) if seals and is_signed(seals[-1].note, it.key)), None)
    if key is None:
        raise _no("there is no signed checkpoint", "`go-cache-safeguard audit checkpoint` makes one")
    tree, last = Tree(journal.leaves()), seals[-1]
    if tree.size < last.checkpoint.size:
        raise _no(f"the journal has {tree.size} records, and {last.checkpoint.size} were signed", "see `audit verify`")
    wrong = next((seq for seq in prove if not 0 < seq <= last.checkpoint.size), None)
    if wrong is not None:
        raise _no(f"there is no record {wrong} among the {last.checkpoint.size} that are signed", "")
    proofs = list(_proofs(tree, seals, prove))
    try:
        folder.mkdir(mode=0o700)
        with (folder / "records.txt").open("xb") as file:
            count = journal.export(file.write)
        _write(folder, _files(last, key, proofs))
    except OSError as error:
        raise _no(f"{folder} cannot be written: {error.strerror}", "give a new directory") from error
    return Exported(count, last.checkpoint.size, len(proofs))


def _files(last: Seal, key: PublicKey, proofs: Sequence[str]) -> dict[str, bytes]:
    signature = last.note.by(key) or b""
    return {
        "proofs.txt": "".join(f"{line}\n" for line in proofs).encode(),
        "check.sh": _SCRIPT.encode(),
        "key.txt": f"{key}\n".encode(),
        "key.pem": key.pem.encode(),
        "checkpoint.sig": signature,
        "checkpoint.txt": last.note.text.encode(),
        "checkpoint.note": last.note.data,
    }


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        with (folder / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _proofs(tree: Tree, seals: Sequence[Seal], prove: Sequence[int]) -> Iterator[str]:
    """Lines: that a record is in the signed tree, and that each checkpoint goes on from the one before."""
    size = seals[-1].checkpoint.size
    for seq in prove:
        yield " ".join(["inclusion", str(seq), str(size), *(it.hex() for it in tree.inclusion(seq - 1, size))])
    sizes = sorted({seal.checkpoint.size for seal in seals})
    for old, new in pairwise(sizes):
        yield " ".join(["consistency", str(old), str(new), *(it.hex() for it in tree.consistency(old, new))])


def _no(why: str, hint: str) -> UsageFailure:
    return UsageFailure(why, not_done="nothing was exported", hint=hint)

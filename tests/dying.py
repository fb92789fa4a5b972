"""A process that dies at a chosen system call, before the kernel does it: what a `kill -9` or a power cut at that moment leaves.

The process asks the kernel to tell its parent about each call of a kind. The parent lets the first ones go on, and kills at the
next one, while it waits. All other calls run at full speed, as do all other processes.

Source: seccomp_unotify(2); linux/seccomp.h; the numbers of the calls: asm/unistd_64.h, asm-generic/unistd.h.
"""

import array
import ctypes
import fcntl
import importlib
import os
import platform
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_NUMBERS = {
    "x86_64": {
        "fchmod": 91,
        "fchown": 93,
        "fdatasync": 75,
        "flock": 73,
        "fsync": 74,
        "ftruncate": 77,
        "linkat": 265,
        "mkdir": 83,
        "mkdirat": 258,
        "openat2": 437,
        "pwrite64": 18,
        "renameat": 264,
        "renameat2": 316,
        "seccomp": 317,
        "syncfs": 306,
        "unlink": 87,
        "unlinkat": 263,
        "utimensat": 280,
        "write": 1,
    },
    "aarch64": {
        "fchmod": 52,
        "fchown": 55,
        "fdatasync": 83,
        "flock": 32,
        "fsync": 82,
        "ftruncate": 46,
        "linkat": 37,
        "mkdirat": 34,
        "openat2": 437,
        "pwrite64": 68,
        "renameat": 38,
        "renameat2": 276,
        "seccomp": 277,
        "syncfs": 267,
        "unlinkat": 35,
        "utimensat": 88,
        "write": 64,
    },
}[platform.machine()]
_LIBC = ctypes.CDLL(None, use_errno=True)
_NO_NEW_PRIVS, _SET_FILTER, _NEW_LISTENER = 38, 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTICE = struct.Struct("=QI68x")
"""The notice's number, and the thread that made the call."""
_ANSWER = struct.Struct("=QqiI")
_parents: list[socket.socket] = []
"""the way to the process that began this one comes last"""
_HEAVY = (
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "go_cache_safeguard.flows.checkpoint",
    "go_cache_safeguard.journal.store",
    "zstandard",
)
"""What the product imports only when it is needed: each process that `run` begins would do that anew."""


def load() -> None:
    """Import all that beforehand, so that hundreds of processes need not."""
    for name in _HEAVY:
        importlib.import_module(name)


def run(work: Callable[[], object]) -> int:
    """Work in a process of its own.

    Returns:
        0; or -9 if it called `die_at` and was killed there.

    Raises:
        SystemExit: It ended in another way.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _parents.append(theirs)
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must end here, whatever it is
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    theirs.close()
    with ours:
        _watch(child, ours)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in {0, -9}:
        raise SystemExit(f"a step failed with {code}")
    return code


def die_at(call: str, k: int) -> None:
    """Have the parent kill this process at its k-th call of a kind from now on, on whichever thread.

    Called in the work of `run`, before there are other threads.
    """
    listener, parent = _listener(_NUMBERS[call]), _parents.pop()
    parent.sendmsg([struct.pack("=I", k)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
    os.close(listener)
    parent.close()


def _listener(number: int) -> int:
    """Have calls of this number wait until somebody who reads this descriptor lets them go on."""
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, _NOTIFY), (0x06, 0, 0, _ALLOW))
    )
    steps = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HP", len(program) // 8, ctypes.addressof(steps))
    assert _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    listener = int(_LIBC.syscall(_NUMBERS["seccomp"], _SET_FILTER, _NEW_LISTENER, described))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "the kernel does not tell about system calls")
    return listener


def _watch(child: int, line: socket.socket) -> None:
    """Until the child ends: let calls go on, but for the one at which it dies."""
    message, ancillary, _flags, _from = line.recvmsg(4, socket.CMSG_SPACE(4))
    if not ancillary:
        return  # it ended, and was never to die
    (k,), listener = struct.unpack("=I", message), int.from_bytes(ancillary[0][2], "little")
    alive = os.pidfd_open(child)
    try:
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        poller.register(alive, select.POLLIN)
        while all(ready != alive for ready, _ in poller.poll()):
            notice = bytearray(_NOTICE.size)
            try:
                fcntl.ioctl(listener, _RECEIVE, notice)
            except FileNotFoundError:
                continue  # the one who called is gone
            number, thread = _NOTICE.unpack(notice)
            k -= Path(f"/proc/{child}/task/{thread}").exists()  # what it starts does not count
            if k == 0:
                os.kill(child, signal.SIGKILL)
                return
            with suppress(FileNotFoundError):
                fcntl.ioctl(listener, _SEND, _ANSWER.pack(number, 0, 0, _CONTINUE))
    finally:
        os.close(alive)
        os.close(listener)

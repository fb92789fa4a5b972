r"""What a load balancer says of a connection before its first byte: the PROXY protocol, versions 1 and 2.

Knows:     both forms, their limits, and that a health check (LOCAL, UNKNOWN) names nobody.
Called by: `redis.proxy`, only where the settings say that every connection begins so.
Never:     takes a connection without a header, or guesses: who could send one could say to be anybody.
Source:    "The PROXY protocol, Versions 1 & 2" of HAProxy, 2020/03/05: version 1 is one line of at most 107 bytes, CR LF included;
           version 2 is 16 bytes and as many more as they say.
"""

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_LINE_BYTES = 107
_MORE_BYTES = 4_096
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LINE = re.compile(
    rb"PROXY TCP([46]) ([0-9a-fA-F.:]{2,39}) ([0-9a-fA-F.:]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_FAMILIES: dict[int, tuple[str, type[IPv4Address | IPv6Address]]] = {
    0x11: ("!4s4sHH", IPv4Address),
    0x21: ("!16s16sHH", IPv6Address),
}


class HeaderError(ValueError):
    """These bytes begin no header of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class Header:
    """One header.

    Attributes:
        length: Bytes that it took.
        source: Who connected to the load balancer, `address:port`; empty if it does not say.
    """

    length: int
    source: str


def parse_header(data: bytes) -> Header | None:
    """Read the first bytes of a connection.

    Returns:
        None if more are needed.

    Raises:
        HeaderError: They are no header.
    """
    if data.startswith(_SIGNATURE):
        return _second(data)
    if data.startswith(b"PROXY "):
        return _first(data)
    if _SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    raise HeaderError("a connection does not begin with a header of the PROXY protocol")


def _first(data: bytes) -> Header | None:
    end = data.find(b"\n", 0, _LINE_BYTES)
    if end < 0:
        if len(data) >= _LINE_BYTES:
            raise HeaderError("the line of a PROXY header does not end")
        return None
    line = data[: end + 1]
    if _UNKNOWN.fullmatch(line) is not None:
        return Header(len(line), "")
    found = _LINE.fullmatch(line)
    if found is None:
        raise HeaderError("the line of a PROXY header cannot be read")
    try:
        addresses = [ip_address(found[number].decode("ascii")) for number in (2, 3)]
    except ValueError as error:
        raise HeaderError("a PROXY header holds no address") from error
    ports = int(found[4]), int(found[5])
    if any(address.version != int(found[1]) for address in addresses) or max(ports) > 0xFFFF:
        raise HeaderError("a PROXY header holds another address or port than it says")
    return Header(len(line), _named(addresses[0], ports[0]))


def _second(data: bytes) -> Header | None:
    if len(data) < 16:
        return None
    version, family, size = struct.unpack_from("!BBH", data, 12)
    if version not in {0x20, 0x21} or size > _MORE_BYTES:
        raise HeaderError("a PROXY header is of a version, or of a size, that is not known")
    if len(data) < 16 + size:
        return None
    if version == 0x20 or family in {0x00, 0x31}:
        return Header(16 + size, "")
    if family not in _FAMILIES:
        raise HeaderError("a PROXY header is of a family that is not known")
    form, kind = _FAMILIES[family]
    if size < struct.calcsize(form):
        raise HeaderError("a PROXY header is shorter than its addresses")
    source, _, port, _ = struct.unpack_from(form, data, 16)
    return Header(16 + size, _named(kind(source), port))


def _named(address: IPv4Address | IPv6Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"

"""Certificates made on the fly, with the standard library alone: an authority, and what it signs; as PEM files.

For tests only: the keys are good RSA keys, but nothing here resists who measures time. X.509 version 3 (RFC 5280) in DER, signed with
sha256WithRSAEncryption (RFC 8017). What strict readers ask for (Python from 3.13 on) is there.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

KEY_BITS = 2048
EXPONENT = 65537
ROUNDS = 8
"""Of Miller and Rabin's test for each prime; of random numbers of this size it lets far fewer than one in 2^80 pass wrongly."""
SMALL_PRIMES = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]
VALID = timedelta(days=1)
# Tags of DER.
INTEGER, BITS, OCTETS, NULL, OID, TEXT, SEQUENCE, SET, TIME = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x30, 0x31, 0x18
# Object identifiers, already in DER.
RSA = bytes.fromhex("2a864886f70d010101")
RSA_SHA256 = bytes.fromhex("2a864886f70d01010b")
SHA256 = bytes.fromhex("608648016503040201")
COMMON_NAME, SUBJECT_NAMES = bytes.fromhex("550403"), bytes.fromhex("551d11")
CONSTRAINTS, KEY_USAGE = bytes.fromhex("551d13"), bytes.fromhex("551d0f")
SUBJECT_KEY, AUTHORITY_KEY = bytes.fromhex("551d0e"), bytes.fromhex("551d23")
TRUE = b"\x01\x01\xff"
MAY_SIGN = b"\x02\x04"
"""The key usage keyCertSign, as a bit string."""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An RSA key: two primes, and what follows from them."""

    p: int
    q: int

    @property
    def modulus(self) -> int:
        return self.p * self.q

    @property
    def private_exponent(self) -> int:
        return pow(EXPONENT, -1, (self.p - 1) * (self.q - 1))

    def sign(self, content: bytes) -> bytes:
        """PKCS #1 v1.5 over SHA-256."""
        size = KEY_BITS // 8
        digest = _of(SEQUENCE, _algorithm(SHA256), _of(OCTETS, hashlib.sha256(content).digest()))
        padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
        return pow(int.from_bytes(padded), self.private_exponent, self.modulus).to_bytes(size)

    def public(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return _of(SEQUENCE, _algorithm(RSA), _of(BITS, b"\x00", self._numbers()))

    def digest(self) -> bytes:
        """What certificates name the key by."""
        return hashlib.sha1(self._numbers(), usedforsecurity=False).digest()

    def _numbers(self) -> bytes:
        return _of(SEQUENCE, _integer(self.modulus), _integer(EXPONENT))

    def pem(self) -> str:
        """PKCS #8, without a password."""
        d, p, q = self.private_exponent, self.p, self.q
        numbers = (0, self.modulus, EXPONENT, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
        key = _of(SEQUENCE, *map(_integer, numbers))
        return _pem("PRIVATE KEY", _of(SEQUENCE, _integer(0), _algorithm(RSA), _of(OCTETS, key)))


def new_key() -> PrivateKey:
    """Takes about a second."""
    return PrivateKey(_prime(KEY_BITS // 2), _prime(KEY_BITS // 2))


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates; its own is signed by itself."""

    name: str
    key: PrivateKey

    def pem(self) -> str:
        is_authority = _extension(CONSTRAINTS, _of(SEQUENCE, TRUE), critical=True)
        signs = _extension(KEY_USAGE, _of(BITS, MAY_SIGN), critical=True)
        return self._signed(self.name, self.key, is_authority, signs, _extension(SUBJECT_KEY, _of(OCTETS, self.key.digest())))

    def certify(self, name: str, key: PrivateKey, address: str = "127.0.0.1") -> str:
        """A certificate for this key: of a server at this address, or of a client."""
        names = _of(SEQUENCE, _of(0x87, ipaddress.ip_address(address).packed))
        signer = _of(SEQUENCE, _of(0x80, self.key.digest()))
        return self._signed(name, key, _extension(SUBJECT_NAMES, names), _extension(AUTHORITY_KEY, signer))

    def _signed(self, name: str, key: PrivateKey, *extensions: bytes) -> str:
        now = datetime.now(UTC)
        content = _of(
            SEQUENCE,
            _of(0xA0, _integer(2)),
            _integer(secrets.randbits(64) | 1),
            _algorithm(RSA_SHA256),
            _name(self.name),
            _of(SEQUENCE, _time(now - VALID), _time(now + VALID)),
            _name(name),
            key.public(),
            _of(0xA3, _of(SEQUENCE, *extensions)),
        )
        signature = _of(BITS, b"\x00", self.key.sign(content))
        return _pem("CERTIFICATE", _of(SEQUENCE, content, _algorithm(RSA_SHA256), signature))


@dataclass(frozen=True, slots=True)
class Files:
    """Where the PEM files of one test's little world are. A server's and a client's file hold key and certificate."""

    authority: Path
    stranger: Path
    """An authority that signed nothing of it."""
    server: Path
    client_certificate: Path
    client_key: Path


def write_files(folder: Path) -> Files:
    """Makes an authority, a certificate for a server at 127.0.0.1, one for a client, and an authority nobody asked."""
    authority, other = Authority("Test authority", new_key()), new_key()
    files = Files(*(folder / f"{name}.pem" for name in ("authority", "stranger", "server", "client", "client-key")))
    files.authority.write_text(authority.pem())
    files.stranger.write_text(Authority("Nobody's authority", other).pem())
    files.server.write_text(other.pem() + authority.certify("server", other))
    files.client_certificate.write_text(authority.certify("nervure", other))
    files.client_key.write_text(other.pem())
    return files


def _prime(bits: int) -> int:
    """A prime with its two highest bits set, so that two of them make a number of twice the bits."""
    while True:
        found = secrets.randbits(bits) | 3 << bits - 2 | 1
        if all(found % prime for prime in SMALL_PRIMES) and (found - 1) % EXPONENT and _passes(found):
            return found


def _passes(odd: int) -> bool:
    """Miller and Rabin's test."""
    twos = ((odd - 1) & -(odd - 1)).bit_length() - 1
    for _ in range(ROUNDS):
        power = pow(secrets.randbelow(odd - 3) + 2, (odd - 1) >> twos, odd)
        squares = {pow(power, 1 << n, odd) for n in range(twos)}
        if power != 1 and odd - 1 not in squares:
            return False
    return True


# ---- DER ----


def _of(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size) + content


def _integer(number: int) -> bytes:
    return _of(INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def _algorithm(oid: bytes) -> bytes:
    return _of(SEQUENCE, _of(OID, oid), _of(NULL))


def _name(text: str) -> bytes:
    return _of(SEQUENCE, _of(SET, _of(SEQUENCE, _of(OID, COMMON_NAME), _of(TEXT, text.encode()))))


def _time(at: datetime) -> bytes:
    return _of(TIME, f"{at:%Y%m%d%H%M%S}Z".encode())


def _extension(oid: bytes, content: bytes, critical: bool = False) -> bytes:
    return _of(SEQUENCE, _of(OID, oid), TRUE if critical else b"", _of(OCTETS, content))


def _pem(label: str, der: bytes) -> str:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"

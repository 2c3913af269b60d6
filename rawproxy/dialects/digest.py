"""SHA-256: stand-ins for what is too long, sums of texts, and the MACs of envelopes.

Layer: dialects. The hash modules, and OpenSSL with them, are loaded by the first call: a tenth of what
it takes to import the dialects.
"""

__all__ = ["hmac_sha256", "is_same", "sha256"]


def sha256(data: bytes) -> str:
    """Return the hex SHA-256 of `data`, 64 characters."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA-256 (RFC 2104) of `message`, 32 bytes."""
    import hmac

    return hmac.digest(key, message, "sha256")


def is_same(one: bytes, other: bytes) -> bool:
    """Return whether two MACs are equal, without telling by the time where they differ."""
    import hmac

    return hmac.compare_digest(one, other)

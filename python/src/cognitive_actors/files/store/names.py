"""Keys and generations as the names of files: any text goes in, and no name leads out of its directory."""

from __future__ import annotations

import hashlib
import re
import string
from urllib.parse import quote, unquote

# Without the dot: no name is "..", hidden, or has an ending of its own.
_PLAIN = set(string.ascii_letters + string.digits + "_-")
#: Longer names are cut and told apart by a hash: file systems allow 255 bytes.
_LONGEST = 200
_CUT = "~"
# The first digit is free, so that the number after the largest has a name as well.
_GENERATION = re.compile(r"(0[0-9]{19})\.npz")


def encode_key(key: str) -> str:
    """The name of the directory of a key. Different keys have different names."""
    encoded = "".join(c if c in _PLAIN else quote(c, safe="", errors="surrogatepass").replace(".", "%2E") for c in key)
    # quote leaves "~" as it is, which marks what was cut.
    encoded = encoded.replace(_CUT, "%7E")
    if len(encoded) <= _LONGEST:
        return encoded
    return f"{encoded[:100]}{_CUT}{hashlib.sha256(encoded.encode()).hexdigest()}"


def decode_key(name: str) -> str | None:
    """The key of a directory; None where the name does not tell it: it was cut, or is none of ours."""
    try:
        key = unquote(name, errors="surrogatepass")
    except UnicodeDecodeError:
        return None
    return key if key and encode_key(key) == name and _CUT not in name else None


def was_cut(name: str) -> bool:
    """Whether a directory belongs to a key too long for its name."""
    return _CUT in name


def generation_name(generation: int) -> str:
    """The file name of a generation; names sort as numbers do."""
    return f"{generation:020d}.npz"


def generation_number(name: str) -> int | None:
    """The inverse of :func:`generation_name`; None for any other name."""
    match = _GENERATION.fullmatch(name)
    return int(match[1]) if match else None

"""Files of passwords: Docker's registry's, and nothing weaker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.access.htpasswd import parse_htpasswd

from .helpers import HASH, PASSWORD


def test_a_file() -> None:
    text = f"\ufeff# ours\r\n\r\nalice:{HASH}\r\n  bob@example.org:{HASH}  \n"
    users = parse_htpasswd(text.encode())
    assert len(users) == 2
    account = users.check("alice", PASSWORD)
    assert account is not None
    assert account == users.find("alice")
    assert users.check("bob@example.org", PASSWORD) is not None
    for name, password in (
        ("alice", "wrong"),
        ("alice", ""),
        ("alice", PASSWORD + "\0"),
        ("alice", "x" * 5000),
        ("alice", "\udcff"),
        ("Alice", PASSWORD),
        ("nobody", PASSWORD),
        ("", ""),
    ):
        assert users.check(name, password) is None


def test_nobody_is_let_in_by_an_empty_file() -> None:
    users = parse_htpasswd(b"")
    assert users.find("alice") is None
    assert users.check("alice", "") is None


def test_an_account_has_another_stamp_when_its_hash_changes() -> None:
    one = parse_htpasswd(f"alice:{HASH}".encode()).find("alice")
    other = parse_htpasswd(f"alice:{HASH[:-1]}{'a' if HASH[-1] != 'a' else 'b'}".encode()).find("alice")
    assert one is not None
    assert other is not None
    assert one.stamp != other.stamp
    assert HASH not in one.stamp


WRONG = {
    "alice": "line 1: not a name, a colon and a bcrypt hash",
    "alice:secret-in-the-clear": "line 1: the password of 'alice' is no bcrypt hash, and only bcrypt is taken",
    "alice:$apr1$x$secret": "line 1: the password of 'alice' is MD5 (apr1)",
    "alice:{SHA}secret=": "is SHA-1",
    "alice:$6$salt$secret": "is SHA-512 crypt",
    "alice:$5$salt$secret": "is SHA-256 crypt",
    "alice:$argon2id$secret": "is Argon2",
    "alice:$2x$05$" + "a" * 53: "is bcrypt's broken form 2x",
    "alice:$2b$05$tooshort": "is no bcrypt hash",
    "alice:$2b$31$" + "." * 53: "bcrypt's cost for 'alice' has to be from 4 to 14",
    f"\n\nalice:{HASH}\nalice:{HASH}": "line 4: 'alice' is there already",
    f"alice:{HASH}:more": "is no bcrypt hash",
    f"alice:{HASH[:28]}z{HASH[29:]}": "is no bcrypt hash",  # a salt that bcrypt fails on
    f":{HASH}": "cannot be a user's name here",
    f"robot+x:{HASH}": "'robot+x' cannot be a user's name here",
    f"users:{HASH}": "cannot be a user's name here",
    f"anonymous:{HASH}": "cannot be a user's name here",
    f"@devs:{HASH}": "cannot be a user's name here",
    f"a b:{HASH}": "cannot be a user's name here",
    f"a*:{HASH}": "cannot be a user's name here",
    f"{'a' * 300}:{HASH}": "cannot be a user's name here",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:24])
def test_what_is_wrong_names_the_line_and_no_secret(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_htpasswd(text.encode())
    line = str(raised.value)
    assert WRONG[text] in line
    assert len(line.splitlines()) == 1
    assert "secret" not in line
    assert HASH not in line


@given(st.binary(max_size=200))
def test_whatever_is_in_it_is_read_or_refused(content: bytes) -> None:
    try:
        parse_htpasswd(content)
    except ValueError:  # of which UnicodeDecodeError is one
        return

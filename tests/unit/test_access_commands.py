"""The operator's commands on accounts, users, groups, roles, keys and policies."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from holdfast.cli.main import app

READ = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}'
TRUST = '{"Statement": {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}}'


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("HOLDFAST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "read.json").write_text(READ)
    (tmp_path / "trust.json").write_text(TRUST)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def told(*words: str) -> Any:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def done(*words: str) -> str:
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_users_secret_is_shown_once_and_kept_sealed(tmp_path: Path) -> None:
    made = told("user", "add", "alice")
    assert made["arn"] == "arn:aws:iam::000000000000:user/alice"
    (key,) = told("key", "list", "alice")
    assert key["access_key"] == made["access_key"] and key["enabled"]
    secret = made["secret_key"]
    for words in (("user", "list"), ("user", "show", "alice"), ("key", "list", "alice"), ("account", "list")):
        assert secret not in done(*words)
    for path in (tmp_path / "data").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_tools_that_know_no_accounts_get_users_with_ids_of_their_own() -> None:
    canonical = "b" * 64
    words = ("--id", canonical, "--display-name", "Bob B.", "--email", "bob@example.net")
    made = told("user", "add", "bob", *words, "--access-key", "BOBKEY", "--secret-key", "bobs-secret")
    assert (made["canonical_id"], made["access_key"], made["secret_key"]) == (canonical, "BOBKEY", "bobs-secret")
    assert made["arn"] == f"arn:aws:iam::{made['number']}:root"
    accounts = {account["name"]: account for account in told("account", "list")}
    assert accounts["Bob B."]["email"] == "bob@example.net"
    assert told("key", "list", "--owner", "--account", canonical)[0]["access_key"] == "BOBKEY"
    changed = told("account", "set", "Bob B.", "--display-name", "Robert", "--email", "")
    assert (changed["name"], changed["email"], changed["canonical_id"]) == ("Robert", "", canonical)
    done("account", "remove", made["number"])
    assert [account["name"] for account in told("account", "list")] == ["holdfast"]


def test_keys_are_rotated_and_switched() -> None:
    old = told("user", "add", "alice")["access_key"]
    new = told("key", "rotate", old)["access_key"]
    newest = told("key", "rotate", new, "--now")["access_key"]
    done("key", "disable", old)
    assert {key["access_key"]: key["enabled"] for key in told("key", "list", "alice")} == {
        old: False,
        new: False,
        newest: True,
    }
    done("key", "enable", old)
    done("key", "remove", new)
    assert {key["access_key"]: key["enabled"] for key in told("key", "list", "alice")} == {old: True, newest: True}
    assert call("key", "remove", new).exit_code == 1


def test_policies_are_attached_to_users_groups_and_roles() -> None:
    done("user", "add", "alice", "--no-key")
    done("group", "add", "staff")
    done("group", "join", "staff", "alice")
    role = told("role", "add", "reader", "--trust", "trust.json")
    assert role["arn"] == "arn:aws:iam::000000000000:role/reader"
    for kind, name in (("user", "alice"), ("group", "staff"), ("role", "reader")):
        done("policy", "attach", "read", "read.json", f"--{kind}", name)
        assert done("policy", "show", "read", f"--{kind}", name).strip() == READ
        assert told(kind, "show", name)["policies"] == ["read"]
    assert told("user", "show", "alice")["groups"] == ["staff"]
    assert told("group", "list")[0]["users"] == ["alice"]
    done("policy", "detach", "read", "--user", "alice")
    assert told("user", "show", "alice")["policies"] == []
    done("group", "leave", "staff", "alice")
    done("role", "trust", "reader", "--trust", "trust.json")
    for kind, name in (("user", "alice"), ("group", "staff"), ("role", "reader")):
        done(kind, "remove", name)
        assert told(kind, "list") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("user", "show", "nobody"), "There is no user nobody"),
        (("user", "add", "a/b"), "must be up to 64"),
        (("user", "add", "x", "--account", "nowhere"), "There is no account nowhere"),
        (("user", "add", "x", "--access-key", "ONLY"), "--secret-key: is missing"),
        (("user", "add", "x", "--access-key", "a/b", "--secret-key", "long-enough"), "--access-key: must be 3 to 128"),
        (("user", "add", "x", "--access-key", "KEY", "--secret-key", "short"), "at least 8 characters"),
        (("account", "add", "x", "--number", "12"), "must be 12 digits"),
        (("account", "remove", "holdfast"), "it stays"),
        (("key", "add"), "name a user, or --owner"),
        (("key", "disable", "NONE"), "NoSuchEntity"),
        (("policy", "attach", "p", "trust.json", "--user", "x"), "should not specify a principal"),
        (("policy", "attach", "p", "absent.json", "--user", "x"), "cannot be read"),
        (("policy", "attach", "p", "read.json"), "name one of them"),
        (("policy", "check", "read.json", "--for", "bucket"), "Missing required field Principal"),
        (("role", "add", "r", "--trust", "read.json"), "Missing required field Principal"),
    ],
)
def test_a_mistake_is_a_sentence(words: tuple[str, ...], message: str) -> None:
    result = call(*words)
    assert result.exit_code in (1, 2) and message in result.output
    assert "Traceback" not in result.output

"""boto3: accounts, users, policies, lists and temporary credentials, with a server that runs while the commands change who there is."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.s3.identities import OWNER_ID
from tests.clients.browser import Browser
from tests.clients.server import ACCESS_KEY, REGION, SECRET_KEY, WEBSITES, Server

ALT_ID = "a17e" * 16
DENIED, BAD = ("AccessDenied", 403), 400
READ_ALL = {"Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}]}


class World:
    """A server, and the operator's commands on its data directory."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self.root = self.client(ACCESS_KEY, SECRET_KEY)
        made = self.run(
            "user", "add", "alt", "--id", ALT_ID, "--display-name", "Alt", "--email", "alt@example.net", "--json"
        )
        self.alt_number = json.loads(made)["number"]
        self.alt = self.client(**_pair(made))
        self.nobody = self.client()

    def run(self, *words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--data", str(self.server.folder / "data")])
        assert result.exit_code == 0, result.output
        return result.stdout

    def file(self, document: Any) -> str:
        path = self._folder / f"{secrets.token_hex(4)}.json"
        path.write_text(json.dumps(document))
        return str(path)

    def user(self, document: Any = None, *, account: str = "holdfast") -> tuple[str, Any]:
        """A new user and their client, with a policy if there is one."""
        name = f"u-{secrets.token_hex(4)}"
        made = self.run("user", "add", name, "--account", account, "--json")
        if document is not None:
            self.run("policy", "attach", "test", self.file(document), "--user", name, "--account", account)
        return name, self.client(**_pair(made))

    def client(self, access: str = "", secret: str = "", token: str | None = None, service: str = "s3") -> Any:
        return boto3.session.Session().client(
            service,
            endpoint_url=self.server.endpoint.url,
            region_name=REGION,
            aws_access_key_id=access or None,
            aws_secret_access_key=secret or None,
            aws_session_token=token,
            config=Config(
                signature_version=None if access else botocore.UNSIGNED,
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
            ),
        )

    def bucket(self, client: Any = None, **terms: Any) -> str:
        name = f"access-{secrets.token_hex(8)}"
        (client or self.root).create_bucket(Bucket=name, **terms)
        return name

    def share(self, bucket: str, *statements: dict[str, Any], client: Any = None) -> None:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        (client or self.root).put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


def _pair(made: str) -> dict[str, str]:
    row = json.loads(made)
    return {"access": row["access_key"], "secret": row["secret_key"]}


@pytest.fixture(scope="module")
def world(servers: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(servers("http"), tmp_path_factory.mktemp("access"))


def refused(ask: Callable[..., Any], **terms: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as found:
        ask(**terms)
    answer = found.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def allow(actions: Any, bucket: str, principal: Any = "*", path: str = "/*", **more: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": principal,
        "Action": actions,
        "Resource": f"arn:aws:s3:::{bucket}{path}",
        **more,
    }


# --- accounts and users ---


def test_accounts_have_buckets_of_their_own(world: World) -> None:
    ours, theirs = world.bucket(), world.bucket(world.alt)
    names = {bucket["Name"] for bucket in world.alt.list_buckets()["Buckets"]}
    assert theirs in names and ours not in names
    assert ours in {bucket["Name"] for bucket in world.root.list_buckets()["Buckets"]}
    assert world.alt.list_buckets()["Owner"] == {"ID": ALT_ID, "DisplayName": "Alt"}
    assert refused(world.alt.create_bucket, Bucket=ours) == ("BucketAlreadyExists", 409)
    assert refused(world.alt.create_bucket, Bucket=theirs) == ("BucketAlreadyOwnedByYou", 409)
    for client, bucket in ((world.alt, ours), (world.root, theirs), (world.nobody, ours)):
        assert refused(client.list_objects_v2, Bucket=bucket) == DENIED
        assert refused(client.head_bucket, Bucket=bucket) == ("403", 403)
        assert refused(client.get_object, Bucket=bucket, Key="k") == DENIED
        assert refused(client.put_object, Bucket=bucket, Key="k", Body=b"x") == DENIED
        assert refused(client.delete_bucket, Bucket=bucket) == DENIED
    assert refused(world.nobody.list_buckets) == DENIED
    world.alt.put_object(Bucket=theirs, Key="k", Body=b"x")
    listed = world.alt.list_objects(Bucket=theirs)["Contents"]
    assert [entry["Owner"] for entry in listed] == [{"ID": ALT_ID, "DisplayName": "Alt"}]


def test_an_expected_owner_is_the_buckets_account(world: World) -> None:
    theirs = world.bucket(world.alt)
    world.alt.head_bucket(Bucket=theirs, ExpectedBucketOwner=world.alt_number)
    assert refused(world.alt.list_objects_v2, Bucket=theirs, ExpectedBucketOwner="000000000000") == DENIED
    ours = world.bucket()
    world.root.list_objects_v2(Bucket=ours, ExpectedBucketOwner="000000000000")
    assert refused(world.root.list_objects_v2, Bucket=ours, ExpectedBucketOwner=world.alt_number) == DENIED
    code = "InvalidBucketOwnerAWSAccountID"
    assert refused(world.root.list_objects_v2, Bucket=ours, ExpectedBucketOwner="me") == (code, BAD)


def test_a_user_may_what_a_policy_allows_from_the_next_request_on(world: World) -> None:
    bucket = world.bucket()
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x")
    name, user = world.user()
    assert refused(user.get_object, Bucket=bucket, Key="k") == DENIED
    world.run("policy", "attach", "read", world.file(READ_ALL), "--user", name)
    assert user.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert refused(user.get_object, Bucket=bucket, Key="absent") == ("NoSuchKey", 404)
    assert refused(user.put_object, Bucket=bucket, Key="k", Body=b"y") == DENIED
    world.run("policy", "detach", "read", "--user", name)
    assert refused(user.get_object, Bucket=bucket, Key="k") == DENIED


def test_groups_hand_on_their_policies_and_variables_name_the_user(world: World) -> None:
    bucket, group = world.bucket(), f"g-{secrets.token_hex(4)}"
    name, user = world.user()
    own = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "s3:*Object",
            "Resource": f"arn:aws:s3:::{bucket}/${{aws:username}}/*",
        },
    }
    world.run("group", "add", group)
    world.run("policy", "attach", "own", world.file(own), "--group", group)
    assert refused(user.put_object, Bucket=bucket, Key=f"{name}/k", Body=b"x") == DENIED
    world.run("group", "join", group, name)
    user.put_object(Bucket=bucket, Key=f"{name}/k", Body=b"x")
    assert refused(user.put_object, Bucket=bucket, Key="another/k", Body=b"x") == DENIED
    world.run("group", "leave", group, name)
    assert refused(user.put_object, Bucket=bucket, Key=f"{name}/k", Body=b"x") == DENIED


def test_keys_are_rotated_disabled_and_removed_at_once(world: World) -> None:
    bucket, (name, old) = world.bucket(), world.user(READ_ALL)
    (key,) = json.loads(world.run("key", "list", name, "--json"))
    new = world.client(**_pair(world.run("key", "rotate", key["access_key"], "--json")))
    old.list_objects_v2(Bucket=bucket)
    new.list_objects_v2(Bucket=bucket)
    world.run("key", "disable", key["access_key"])
    assert refused(old.list_objects_v2, Bucket=bucket) == ("InvalidAccessKeyId", 403)
    new.list_objects_v2(Bucket=bucket)
    world.run("key", "enable", key["access_key"])
    old.list_objects_v2(Bucket=bucket)
    world.run("user", "remove", name)
    for client in (old, new):
        assert refused(client.list_objects_v2, Bucket=bucket) == ("InvalidAccessKeyId", 403)


# --- policies of buckets ---


def test_a_bucket_policy_is_kept_as_it_came(world: World) -> None:
    bucket = world.bucket()
    assert refused(world.root.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)
    assert refused(world.root.get_bucket_policy_status, Bucket=bucket) == ("NoSuchBucketPolicy", 404)
    text = json.dumps({"Version": "2012-10-17", "Statement": [allow("s3:GetObject", bucket)]}, indent=3)
    reply = world.root.put_bucket_policy(Bucket=bucket, Policy=text)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert world.root.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert world.root.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": True}
    world.share(bucket, allow("s3:GetObject", bucket, {"AWS": world.alt_number}))
    assert world.root.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
    world.root.delete_bucket_policy(Bucket=bucket)
    assert refused(world.root.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)


def test_a_wrong_bucket_policy_is_told_why(world: World) -> None:
    bucket = world.bucket()
    for wrong in (
        allow("s3:GetObject", bucket + "-other"),
        allow("s3:GetObject", bucket, {"AWS": "arn:aws:iam::000000000000:user/nobody-of-this-name"}),
        allow("s3:ListBucket", bucket),
        allow("ec2:RunInstances", bucket),
    ):
        document = json.dumps({"Statement": [wrong]})
        assert refused(world.root.put_bucket_policy, Bucket=bucket, Policy=document) == ("MalformedPolicy", BAD)
    assert refused(world.root.put_bucket_policy, Bucket=bucket, Policy="{" + " " * 21_000) == ("MalformedPolicy", BAD)


def test_anybody_reaches_what_a_policy_opens_and_nothing_else(world: World) -> None:
    bucket = world.bucket()
    world.root.put_object(Bucket=bucket, Key="public/a", Body=b"a")
    world.root.put_object(Bucket=bucket, Key="private/b", Body=b"b")
    world.share(bucket, allow("s3:GetObject", bucket, path="/public/*"), allow("s3:PutObject", bucket, path="/drop/*"))
    for client in (world.nobody, world.alt):
        assert client.get_object(Bucket=bucket, Key="public/a")["Body"].read() == b"a"
        assert refused(client.get_object, Bucket=bucket, Key="private/b") == DENIED
        assert refused(client.get_object, Bucket=bucket, Key="public/absent") == DENIED
        assert refused(client.list_objects_v2, Bucket=bucket) == DENIED
        client.put_object(Bucket=bucket, Key="drop/c", Body=b"c" * 100_000)
        assert refused(client.get_object, Bucket=bucket, Key="drop/c") == DENIED
    assert len(world.root.get_object(Bucket=bucket, Key="drop/c")["Body"].read()) == 100_000
    world.share(bucket, allow("s3:GetObject", bucket), allow("s3:ListBucket", bucket, path=""))
    assert refused(world.nobody.get_object, Bucket=bucket, Key="absent") == ("NoSuchKey", 404)


def test_whoever_may_list_a_prefix_learns_what_is_not_below_it(world: World) -> None:
    bucket = world.bucket()
    world.root.put_object(Bucket=bucket, Key="public/a", Body=b"a")
    below = {"StringLike": {"s3:prefix": "public/*"}}
    world.share(bucket, allow("s3:ListBucket", bucket, path="", Condition=below))
    for key, status in (("public/absent", 404), ("public/a", 403), ("private/absent", 403)):
        assert refused(world.alt.head_object, Bucket=bucket, Key=key)[1] == status, key
    deny = {**allow("s3:GetObject", bucket), "Effect": "Deny"}
    world.share(bucket, allow("s3:ListBucket", bucket, path="", Condition=below), deny)
    assert refused(world.alt.head_object, Bucket=bucket, Key="public/absent")[1] == 403


def test_another_account_needs_the_buckets_word_and_a_policy_of_its_own(world: World) -> None:
    bucket = world.bucket()
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x")
    _, plain = world.user(account="Alt")
    _, reader = world.user(READ_ALL, account="Alt")
    for client in (plain, reader, world.alt):
        assert refused(client.get_object, Bucket=bucket, Key="k") == DENIED
    world.share(bucket, allow("s3:GetObject", bucket, {"AWS": f"arn:aws:iam::{world.alt_number}:root"}))
    assert refused(plain.get_object, Bucket=bucket, Key="k") == DENIED
    for client in (reader, world.alt):
        assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert refused(world.nobody.get_object, Bucket=bucket, Key="k") == DENIED


def test_an_explicit_deny_binds_the_owner_too_but_for_the_policy_itself(world: World) -> None:
    bucket = world.bucket()
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x")
    world.share(
        bucket, {**allow("s3:*", bucket), "Effect": "Deny"}, {**allow("s3:*", bucket, path=""), "Effect": "Deny"}
    )
    assert refused(world.root.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(world.root.list_objects_v2, Bucket=bucket) == DENIED
    assert world.root.get_bucket_policy(Bucket=bucket)["Policy"]
    world.root.delete_bucket_policy(Bucket=bucket)
    assert world.root.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_user_does_not_lock_themselves_out_by_mistake(world: World) -> None:
    bucket = world.bucket()
    _, user = world.user({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
    document = json.dumps({"Statement": {**allow("s3:PutBucketPolicy", bucket, path=""), "Effect": "Deny"}})
    assert refused(user.put_bucket_policy, Bucket=bucket, Policy=document) == DENIED
    user.put_bucket_policy(Bucket=bucket, Policy=document, ConfirmRemoveSelfBucketAccess=True)
    assert refused(user.put_bucket_policy, Bucket=bucket, Policy=document) == DENIED
    world.root.delete_bucket_policy(Bucket=bucket)


def test_many_deletions_are_judged_key_by_key(world: World) -> None:
    bucket = world.bucket()
    _, user = world.user()
    for key in ("mine/a", "yours/b"):
        world.root.put_object(Bucket=bucket, Key=key, Body=b"x")
    arn = world.client(**_pair(world.run("key", "add", "--owner", "--json")), service="sts").get_caller_identity()[
        "Arn"
    ]
    assert arn == "arn:aws:iam::000000000000:root"
    world.share(bucket, allow("s3:DeleteObject", bucket, path="/mine/*"))
    reply = user.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "mine/a"}, {"Key": "yours/b"}]})
    assert [gone["Key"] for gone in reply["Deleted"]] == ["mine/a"]
    assert [(error["Key"], error["Code"]) for error in reply["Errors"]] == [("yours/b", "AccessDenied")]
    objects = {"Objects": [{"Key": "yours/b"}]}
    assert refused(world.nobody.delete_objects, Bucket=bucket, Delete=objects) == DENIED
    assert [entry["Key"] for entry in world.root.list_objects_v2(Bucket=bucket)["Contents"]] == ["yours/b"]


def test_a_copy_needs_both_its_ends(world: World) -> None:
    source, target = world.bucket(), world.bucket()
    world.root.put_object(Bucket=source, Key="k", Body=b"x")
    name, user = world.user()
    terms = {"Bucket": target, "Key": "k", "CopySource": {"Bucket": source, "Key": "k"}}
    write = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{target}/*"}
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{source}/*"}
    for statements in ([write], [read]):
        world.run("policy", "attach", "test", world.file({"Statement": statements}), "--user", name)
        assert refused(user.copy_object, **terms) == DENIED
    world.run("policy", "attach", "test", world.file({"Statement": [read, write]}), "--user", name)
    user.copy_object(**terms)


def test_tags_that_go_with_a_copy_need_the_permissions_of_tags(world: World) -> None:
    """Whoever may write objects and not tags must not bring tags along from a bucket of their own: policies open by tags."""
    source, target = world.bucket(), world.bucket()
    world.root.put_object(Bucket=source, Key="k", Body=b"x", Tagging="open=yes")
    name, user = world.user()
    terms = {"Bucket": target, "Key": "k", "CopySource": {"Bucket": source, "Key": "k"}}
    write = {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "*"}
    for more in ([], ["s3:PutObjectTagging"], ["s3:GetObjectTagging"]):
        tags = {"Effect": "Allow", "Action": more, "Resource": "*"}
        world.run(
            "policy", "attach", "test", world.file({"Statement": [write, tags] if more else write}), "--user", name
        )
        assert refused(user.copy_object, **terms) == DENIED
    user.copy_object(**terms, TaggingDirective="REPLACE")
    both = {**write, "Action": [*write["Action"], "s3:PutObjectTagging", "s3:GetObjectTagging"]}
    world.run("policy", "attach", "test", world.file({"Statement": both}), "--user", name)
    user.copy_object(**terms)
    assert user.get_object_tagging(Bucket=target, Key="k")["TagSet"] == [{"Key": "open", "Value": "yes"}]


def test_the_tags_of_an_upload_form_need_the_permission_of_tags(world: World) -> None:
    bucket, browser = world.bucket(), Browser(world.server.endpoint)
    text = "<Tagging><TagSet><Tag><Key>open</Key><Value>a=b + c</Value></Tag></TagSet></Tagging>"
    name, user = world.user({"Statement": {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}})

    def send() -> tuple[int, str]:
        made = user.generate_presigned_post(bucket, "k", Fields={"tagging": text}, Conditions=[{"tagging": text}])
        seen = browser.post(bucket, list(made["fields"].items()), b"x")
        return seen.status, seen.code

    assert send() == (403, "AccessDenied")
    both = {"Effect": "Allow", "Action": ["s3:PutObject", "s3:PutObjectTagging"], "Resource": "*"}
    world.run("policy", "attach", "test", world.file({"Statement": both}), "--user", name)
    assert send() == (204, "")
    assert world.root.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "open", "Value": "a=b + c"}]


def test_conditions_see_the_request(world: World) -> None:
    bucket = world.bucket()
    world.root.put_object(Bucket=bucket, Key="a/1", Body=b"x")
    near = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}, "Bool": {"aws:SecureTransport": "false"}}
    far = {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}
    world.share(
        bucket,
        allow("s3:GetObject", bucket, Condition=near),
        allow("s3:ListBucket", bucket, path="", Condition={"StringLike": {"s3:prefix": "a/*"}}),
    )
    assert world.nobody.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"x"
    assert world.nobody.list_objects_v2(Bucket=bucket, Prefix="a/")["KeyCount"] == 1
    assert refused(world.nobody.list_objects_v2, Bucket=bucket) == DENIED
    world.share(bucket, allow("s3:GetObject", bucket, Condition=far))
    assert refused(world.nobody.get_object, Bucket=bucket, Key="a/1") == DENIED


def test_a_presigned_url_may_what_its_signer_may(world: World) -> None:
    import urllib.error
    import urllib.request

    bucket = world.bucket()
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x")
    made = json.loads(world.run("user", "add", f"u-{secrets.token_hex(4)}", "--json"))
    user = boto3.session.Session().client(
        "s3",
        endpoint_url=world.root.meta.endpoint_url,
        region_name=REGION,
        aws_access_key_id=made["access_key"],
        aws_secret_access_key=made["secret_key"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    url = user.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    with pytest.raises(urllib.error.HTTPError) as denied:
        urllib.request.urlopen(url)
    assert denied.value.code == 403
    world.run("policy", "attach", "read", world.file(READ_ALL), "--user", made["name"])
    assert urllib.request.urlopen(url).read() == b"x"


def test_an_upload_form_may_what_its_signer_may_and_anybody_what_a_policy_opens(world: World) -> None:
    bucket, browser = world.bucket(), Browser(world.server.endpoint)
    name, _ = world.user()
    keys = _pair(world.run("key", "add", name, "--json"))
    session = _session(world.client(**keys, service="sts").get_session_token())

    def send(terms: dict[str, Any]) -> tuple[int, str]:
        made = world.client(**terms).generate_presigned_post(bucket, "form/a")
        seen = browser.post(bucket, list(made["fields"].items()), b"x")
        return seen.status, seen.code

    for terms in (keys, session):
        assert send(terms) == (403, "AccessDenied")
    write = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/form/*"}
    world.run("policy", "attach", "write", world.file({"Statement": write}), "--user", name)
    for terms in (keys, session):
        assert send(terms) == (204, "")
    assert browser.post(bucket, [("key", "drop/b")], b"x").code == "AccessDenied"
    world.share(bucket, allow("s3:PutObject", bucket, path="/drop/*"))
    assert browser.post(bucket, [("key", "drop/b")], b"x").status == 204
    assert browser.post(bucket, [("key", "form/b")], b"x").code == "AccessDenied"


def test_a_website_shows_what_a_policy_shows_to_anybody(world: World) -> None:
    bucket, browser = world.bucket(), Browser(world.server.endpoint)
    world.root.put_object(Bucket=bucket, Key="index.html", Body=b"welcome")
    world.root.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    host = {"Host": f"{bucket}.{WEBSITES}"}
    assert browser.ask("GET", "/", host).status == 403
    world.share(bucket, allow("s3:GetObject", bucket))
    assert browser.ask("GET", "/", host).body == b"welcome"
    assert browser.ask("GET", "/absent", host).status == 403
    world.share(bucket, allow("s3:GetObject", bucket), allow("s3:ListBucket", bucket, path=""))
    assert browser.ask("GET", "/absent", host).status == 404


# --- public access block, ownership, lists ---


def test_public_access_is_blocked_where_it_is_said(world: World) -> None:
    bucket = world.bucket()
    missing = ("NoSuchPublicAccessBlockConfiguration", 404)
    assert refused(world.root.get_public_access_block, Bucket=bucket) == missing
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x")
    world.share(bucket, allow("s3:GetObject", bucket))
    block = {
        "BlockPublicAcls": False,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    world.root.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert world.root.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block
    assert refused(world.nobody.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(world.alt.get_object, Bucket=bucket, Key="k") == DENIED
    document = json.dumps({"Statement": [allow("s3:GetObject", bucket)]})
    assert refused(world.root.put_bucket_policy, Bucket=bucket, Policy=document) == DENIED
    world.root.delete_public_access_block(Bucket=bucket)
    assert refused(world.root.get_public_access_block, Bucket=bucket) == missing
    assert world.nobody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_lists_are_off_unless_ownership_turns_them_on(world: World) -> None:
    bucket = world.bucket()
    owner = {"ID": OWNER_ID, "DisplayName": "holdfast"}
    full = [{"Grantee": {**owner, "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}]
    controls = world.root.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert controls == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="private")
    world.share(bucket, allow(["s3:PutObject", "s3:PutObjectAcl"], bucket))
    for client in (world.root, world.alt):
        client.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    off = ("AccessControlListNotSupported", BAD)
    assert refused(world.alt.put_object, Bucket=bucket, Key="k", Body=b"x", ACL="private") == off
    assert refused(world.root.put_object_acl, Bucket=bucket, Key="k", ACL="private") == off
    assert refused(world.root.put_object, Bucket=bucket, Key="k", Body=b"x", ACL="public-read") == off
    assert refused(world.root.put_object, Bucket=bucket, Key="k", Body=b"x", GrantRead=f"id={ALT_ID}") == off
    assert refused(world.root.put_bucket_acl, Bucket=bucket, ACL="public-read") == off
    assert refused(world.root.put_object_acl, Bucket=bucket, Key="k", ACL="public-read") == off
    for got in (world.root.get_bucket_acl(Bucket=bucket), world.root.get_object_acl(Bucket=bucket, Key="k")):
        assert (got["Owner"], got["Grants"]) == (owner, full)
    both = ("InvalidBucketAclWithObjectOwnership", BAD)
    assert refused(world.root.create_bucket, Bucket=bucket + "-2", ACL="public-read") == both
    world.root.delete_bucket_ownership_controls(Bucket=bucket)
    gone = ("OwnershipControlsNotFoundError", 404)
    assert refused(world.root.get_bucket_ownership_controls, Bucket=bucket) == gone
    world.root.put_bucket_acl(Bucket=bucket, ACL="public-read")
    rule = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert refused(world.root.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls=rule) == both


def test_lists_let_others_in_where_they_are_on(world: World) -> None:
    bucket = world.bucket(ObjectOwnership="ObjectWriter", ACL="public-read-write")
    world.root.put_object(Bucket=bucket, Key="private", Body=b"x")
    world.root.put_object(Bucket=bucket, Key="public", Body=b"x", ACL="public-read")
    world.root.put_object(Bucket=bucket, Key="shared", Body=b"x", GrantRead="emailAddress=alt@example.net")
    keys = ["private", "public", "shared"]
    assert [entry["Key"] for entry in world.nobody.list_objects_v2(Bucket=bucket)["Contents"]] == keys
    assert refused(world.nobody.get_object, Bucket=bucket, Key="private") == DENIED
    assert refused(world.nobody.get_object, Bucket=bucket, Key="absent") == ("NoSuchKey", 404)
    assert world.nobody.get_object(Bucket=bucket, Key="public")["Body"].read() == b"x"
    assert refused(world.nobody.get_object, Bucket=bucket, Key="shared") == DENIED
    assert world.alt.get_object(Bucket=bucket, Key="shared")["Body"].read() == b"x"

    world.alt.put_object(Bucket=bucket, Key="theirs", Body=b"y")
    assert refused(world.root.get_object, Bucket=bucket, Key="theirs") == DENIED
    got = world.alt.get_object_acl(Bucket=bucket, Key="theirs")
    assert got["Owner"] == {"ID": ALT_ID, "DisplayName": "Alt"}
    listed = world.root.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert {entry["Key"]: entry["Owner"]["ID"] for entry in listed}["theirs"] == ALT_ID
    grants = [*got["Grants"], {"Grantee": {"Type": "CanonicalUser", "ID": OWNER_ID}, "Permission": "READ"}]
    world.alt.put_object_acl(Bucket=bucket, Key="theirs", AccessControlPolicy={"Owner": got["Owner"], "Grants": grants})
    assert world.root.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"y"
    permissions = [grant["Permission"] for grant in world.alt.get_object_acl(Bucket=bucket, Key="theirs")["Grants"]]
    assert permissions == ["READ", "FULL_CONTROL"]

    block = {"IgnorePublicAcls": True, "BlockPublicAcls": True}
    world.root.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert refused(world.nobody.get_object, Bucket=bucket, Key="public") == DENIED
    assert refused(world.root.put_object_acl, Bucket=bucket, Key="public", ACL="public-read") == DENIED
    rule = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    world.root.put_bucket_acl(Bucket=bucket, ACL="private")
    world.root.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rule)
    assert world.root.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"y"
    assert refused(world.alt.get_object, Bucket=bucket, Key="shared") == DENIED


def test_a_stranger_may_replace_what_is_there_and_be_replaced(world: World) -> None:
    bucket = world.bucket(ObjectOwnership="ObjectWriter", ACL="public-read-write")
    kept = world.root.get_bucket_acl(Bucket=bucket)["Grants"]
    assert [grant["Permission"] for grant in kept] == ["READ", "WRITE", "FULL_CONTROL"]
    world.alt.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-read")
    assert world.root.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    world.root.put_object(Bucket=bucket, Key="k", Body=b"y", ACL="public-read")
    world.nobody.put_object(Bucket=bucket, Key="k", Body=b"z", ACL="public-read")
    assert world.root.get_object(Bucket=bucket, Key="k")["Body"].read() == b"z"
    assert refused(world.root.get_object_acl, Bucket=bucket, Key="k") == DENIED


def test_whoever_writes_an_object_says_whose_and_of_what_kind_it_is(world: World) -> None:
    """With PutObject alone: the list and the tags are of an object that is the writer's own."""
    bucket = world.bucket(ObjectOwnership="ObjectWriter")
    to_owner = f"id={OWNER_ID}"
    condition = {"StringEquals": {"s3:x-amz-grant-full-control": to_owner}}
    world.share(bucket, allow("s3:PutObject", bucket, Condition=condition))
    world.alt.put_object(Bucket=bucket, Key="given", Body=b"x", GrantFullControl=to_owner, Tagging="a=b")
    grants = world.root.get_object_acl(Bucket=bucket, Key="given")["Grants"]
    assert [(grant["Grantee"]["ID"], grant["Permission"]) for grant in grants] == [(OWNER_ID, "FULL_CONTROL")]
    may = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}
    _, user = world.user({"Statement": may}, account=ALT_ID)
    assert refused(user.put_object, Bucket=bucket, Key="u", Body=b"x", GrantFullControl=to_owner) == DENIED
    world.share(
        bucket, allow("s3:PutObject", bucket), {**allow("s3:PutObjectAcl", bucket, path="/given"), "Effect": "Deny"}
    )
    assert refused(world.alt.put_object, Bucket=bucket, Key="given", Body=b"x", ACL="private") == DENIED

    dropped = world.bucket(ObjectOwnership="ObjectWriter", ACL="public-read-write")
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    fields = [("key", "k"), ("acl", "public-read"), ("tagging", tags)]
    assert Browser(world.server.endpoint).post(dropped, fields, b"bar").status == 204
    assert world.root.get_object(Bucket=dropped, Key="k")["Body"].read() == b"bar"
    assert world.root.get_object_tagging(Bucket=dropped, Key="k")["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_whoever_begins_an_upload_may_look_at_it_and_give_it_up(world: World) -> None:
    bucket = world.bucket(ObjectOwnership="ObjectWriter", ACL="public-read-write")
    theirs = {"Bucket": bucket, "Key": "k"}
    theirs["UploadId"] = world.alt.create_multipart_upload(**theirs)["UploadId"]
    mine = {
        "Bucket": bucket,
        "Key": "k",
        "UploadId": world.root.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"],
    }
    assert world.alt.list_parts(**theirs)["Owner"]["ID"] == ALT_ID
    for ask in (world.alt.list_parts, world.alt.abort_multipart_upload):
        assert refused(ask, **mine) == DENIED
        assert refused(ask, **{**theirs, "UploadId": "none"}) == DENIED
    for ask in (world.nobody.list_parts, world.nobody.abort_multipart_upload):
        assert refused(ask, **theirs) == DENIED
    world.alt.abort_multipart_upload(**theirs)
    assert [upload["UploadId"] for upload in world.root.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [
        mine["UploadId"]
    ]


def test_a_list_that_names_nobody_is_refused(world: World) -> None:
    bucket = world.bucket(ObjectOwnership="BucketOwnerPreferred")
    assert refused(world.root.put_bucket_acl, Bucket=bucket, GrantRead="id=nobody") == ("InvalidArgument", BAD)
    code = "UnresolvableGrantByEmailAddress"
    assert refused(world.root.put_bucket_acl, Bucket=bucket, GrantRead="emailAddress=x@y") == (code, BAD)
    both = {"Bucket": bucket, "ACL": "private", "GrantRead": f"id={ALT_ID}"}
    assert refused(world.root.put_bucket_acl, **both) == ("InvalidRequest", BAD)
    owner = {"ID": ALT_ID}
    document = {"Owner": owner, "Grants": [{"Grantee": {"Type": "CanonicalUser", **owner}, "Permission": "READ"}]}
    assert refused(world.root.put_bucket_acl, Bucket=bucket, AccessControlPolicy=document) == DENIED


# --- temporary credentials ---


def test_a_role_is_assumed_by_whom_it_trusts(world: World) -> None:
    bucket, role = world.bucket(), f"r-{secrets.token_hex(4)}"
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x")
    name, _ = world.user()
    trust = {
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{name}"},
            "Action": "sts:AssumeRole",
        }
    }
    made = json.loads(world.run("role", "add", role, "--trust", world.file(trust), "--json"))
    world.run("policy", "attach", "read", world.file(READ_ALL), "--role", role)
    keys = _pair(world.run("key", "add", name, "--json"))
    sts = world.client(**keys, service="sts")
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::000000000000:user/{name}"
    reply = sts.assume_role(RoleArn=made["arn"], RoleSessionName="session")
    assert reply["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{role}/session"
    session = _session(reply)
    assert world.client(**session).get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert refused(world.client(**session).put_object, Bucket=bucket, Key="k", Body=b"y") == DENIED
    narrow = json.dumps({"Statement": {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}})
    listing = world.client(**_session(sts.assume_role(RoleArn=made["arn"], RoleSessionName="s2", Policy=narrow)))
    assert listing.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert refused(listing.get_object, Bucket=bucket, Key="k") == DENIED
    other, _ = world.user()
    stranger = world.client(**_pair(world.run("key", "add", other, "--json")), service="sts")
    assert refused(stranger.assume_role, RoleArn=made["arn"], RoleSessionName="session") == DENIED
    world.run("role", "remove", role)
    assert refused(world.client(**session).get_object, Bucket=bucket, Key="k") == ("InvalidAccessKeyId", 403)


def test_a_session_token_stands_for_its_user(world: World) -> None:
    bucket = world.bucket()
    name, _ = world.user(READ_ALL)
    sts = world.client(**_pair(world.run("key", "add", name, "--json")), service="sts")
    session = _session(sts.get_session_token(DurationSeconds=900))
    world.client(**session).list_objects_v2(Bucket=bucket)
    wrong = {**session, "token": session["token"][:-8] + "AAAAAAA="}
    assert refused(world.client(**wrong).list_objects_v2, Bucket=bucket) == ("InvalidToken", BAD)
    without = {**session, "token": None}
    assert refused(world.client(**without).list_objects_v2, Bucket=bucket) == ("InvalidAccessKeyId", 403)
    again = world.client(**session, service="sts")
    assert refused(again.get_session_token) == DENIED
    bad = world.client("AKIANOBODY", "secret", service="sts")
    assert refused(bad.get_caller_identity) == ("InvalidClientTokenId", 403)


def _session(reply: Any) -> dict[str, Any]:
    given = reply["Credentials"]
    return {"access": given["AccessKeyId"], "secret": given["SecretAccessKey"], "token": given["SessionToken"]}


def test_whoever_does_not_pay_for_a_bucket_of_requester_pays_is_refused(world: World) -> None:
    bucket = world.bucket(ObjectOwnership="ObjectWriter", ACL="public-read")
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    world.root.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert world.root.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    for client in (world.alt, world.nobody):
        assert refused(client.get_object, Bucket=bucket, Key="k") == DENIED
        assert refused(client.list_objects_v2, Bucket=bucket) == DENIED
    assert world.alt.get_object(Bucket=bucket, Key="k", RequestPayer="requester")["Body"].read() == b"x"
    assert refused(world.nobody.get_object, Bucket=bucket, Key="k", RequestPayer="requester") == DENIED

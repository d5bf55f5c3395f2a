"""Who sends an upload form: verification of the signature of its policy.

Answers for both versions of that signature. What the policy says is `policy`'s. Invariant: `authenticate_upload` returns a name only for a
policy that its owner has signed. Amazon S3 API Reference, "Authenticating Requests in Browser-Based Uploads Using POST".
"""

import hmac
from collections.abc import Callable, Mapping

from holdfast.errors import S3Error
from holdfast.signing import ALGORITHM, form_signature_v2, signature, signing_key
from holdfast.wire.parse import invalid
from holdfast.wire.sigv4 import (
    ANYBODY,
    Payload,
    SecretOf,
    SessionSecret,
    Signed,
    parse_date,
    scoped,
)
from holdfast.wire.sigv4 import secret_for as known_secret

_FORM_4 = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_FORM_2 = ("policy", "AWSAccessKeyId", "signature")


def authenticate_upload(
    fields: Mapping[str, str], *, secret_of: SecretOf, session_secret: SessionSecret, region: str, now_ms: int
) -> Signed:
    """Verify the signature of an upload form, which is that of its policy. One that has none is anybody's.

    `fields` have lower-case names. Version 2 proves the policy, too. Whether the policy allows the form is not looked at.
    Raises S3Error: InvalidArgument, SignatureDoesNotMatch, InvalidAccessKeyId, InvalidToken, ExpiredToken.
    """
    version_4 = not fields.keys().isdisjoint(("x-amz-signature", "x-amz-credential", "x-amz-algorithm"))
    version_2 = not fields.keys().isdisjoint(("signature", "awsaccesskeyid"))
    policy = fields.get("policy")
    if policy is None and not version_4 and not version_2:
        return ANYBODY
    version_2 = version_2 and not version_4
    for name in _FORM_2 if version_2 else _FORM_4:
        if name.lower() not in fields:
            message = f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
            raise invalid(name, "", message)
    assert policy is not None
    token = fields.get("x-amz-security-token", "")

    def secret_for(access_key: str) -> str:
        return session_secret(access_key, token) if token else known_secret(access_key, secret_of)

    if version_2:
        access_key, proof, scope, date = fields["awsaccesskeyid"], fields["signature"], "", ""
        secret = secret_for(access_key)
        key, wanted = b"", form_signature_v2(secret, policy)
    else:
        access_key, scope, date, key = _form_claim(fields, secret_for, region)
        proof, wanted = fields["x-amz-signature"], signature(key, policy)
    if not (proof.isascii() and hmac.compare_digest(wanted, proof)):
        raise S3Error(
            "SignatureDoesNotMatch",
            fields={"AWSAccessKeyId": access_key, "StringToSign": policy, "SignatureProvided": proof},
        )
    return Signed(access_key, Payload.UNSIGNED, "", proof, key, scope, date, False, token, now_ms)


def _form_claim(
    fields: Mapping[str, str], secret_for: Callable[[str], str], region: str
) -> tuple[str, str, str, bytes]:
    """Access key, scope, date and signing key of a form that is signed with version 4."""
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise invalid("X-Amz-Algorithm", fields["x-amz-algorithm"], f"Only {ALGORITHM} is supported")
    credential, date = fields["x-amz-credential"], fields["x-amz-date"]

    def bad(what: str) -> S3Error:
        return invalid("X-Amz-Credential", credential, what)

    claim = scoped(credential, "", bad)
    if claim.region != region:
        raise bad(f'the region "{claim.region}" is wrong; expecting "{region}"')
    if parse_date(date) is None or not date.startswith(claim.day):
        raise invalid("X-Amz-Date", date, "X-Amz-Date must be formated via ISO8601 Long format")
    return claim.access_key, claim.scope, date, signing_key(secret_for(claim.access_key), claim.day, region)

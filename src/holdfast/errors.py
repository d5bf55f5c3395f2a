"""All errors, drawn once.

    Exception
    ├── ConfigError            the operator's: says where, what, and the remedy
    ├── S3Error                an answer to the client: a row of CODES
    ├── GridError              one attempt at one grid; classified where the reply is read
    │   ├── Refused            it answered no (absent, mismatch, denied, invalid)
    │   ├── Unavailable        it could not act: fail over, may retry
    │   ├── Uncertain          it may have acted: read back before settling
    │   └── Corrupt            it answered wrongly
    └── QuorumMissed           too few grids, with each one's outcome

An answer is not a silence: `Refused` never trips a breaker, the other three do.
Codes, statuses and meanings: Amazon S3 API Reference, "Error responses".
"""

import enum
from collections.abc import Mapping

from holdfast.limits import RETRY_AFTER_S
from holdfast.model import Value


class ConfigError(Exception):
    """A setting, an argument or the environment is wrong. Says where, what, and what to do."""

    def __init__(self, where: str, what: str, remedy: str = "") -> None:
        self.where = where
        self.what = what
        self.remedy = remedy
        super().__init__(f"{where}: {what}" + (f" {remedy}" if remedy else ""))


class Code(Value, frozen=True):
    name: str
    status: int
    message: str


def _table(*rows: tuple[str, int, str]) -> dict[str, Code]:
    return {name: Code(name, status, message) for name, status, message in rows}


# The messages are Amazon's own, word for word where they are known: people search for them, and conformance suites compare them.
CODES: Mapping[str, Code] = _table(
    ("AccessDenied", 403, "Access Denied"),
    ("AccessControlListNotSupported", 400, "The bucket does not allow ACLs"),
    ("AccessForbidden", 403, "CORSResponse: CORS is not enabled for this bucket."),
    ("AuthorizationHeaderMalformed", 400, "The authorization header that you provided is not valid."),
    ("AuthorizationQueryParametersError", 400, "The authorization query parameters that you provided are not valid."),
    ("BadDigest", 400, "The Content-MD5 you specified did not match what we received."),
    ("BadRequest", 400, "Bad Request"),
    (
        "BucketAlreadyExists",
        409,
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
    ),
    (
        "BucketAlreadyOwnedByYou",
        409,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
    ("BucketNotEmpty", 409, "The bucket you tried to delete is not empty"),
    ("ConditionalRequestConflict", 409, "A conflicting operation occurred. Fetch the current version and try again."),
    ("DeleteConflict", 409, "Something depends on what you tried to delete."),
    ("EntityAlreadyExists", 409, "It exists already."),
    ("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed object size."),
    ("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed object size."),
    ("ExpiredToken", 400, "The provided token has expired."),
    ("IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    ("InternalError", 500, "We encountered an internal error. Please try again."),
    ("InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."),
    ("InvalidAction", 400, "The action or operation requested is not valid."),
    ("InvalidArgument", 400, "Invalid argument."),
    (
        "InvalidBucketAclWithObjectOwnership",
        400,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    ),
    (
        "InvalidBucketOwnerAWSAccountID",
        400,
        "The value of the expected bucket owner parameter must be an AWS account ID",
    ),
    ("InvalidBucketName", 400, "The specified bucket is not valid."),
    ("InvalidBucketState", 409, "The request is not valid with the current state of the bucket."),
    ("InvalidChunkSizeError", 403, "Only the last chunk is allowed to have a size less than 8192 bytes."),
    ("InvalidDigest", 400, "The Content-MD5 you specified was invalid."),
    ("InvalidLocationConstraint", 400, "The specified location-constraint is not valid"),
    (
        "InvalidPart",
        400,
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
    ),
    ("InvalidDigest", 400, "The Content-MD5 or checksum value that you specified is not valid."),
    ("InvalidEncryptionAlgorithmError", 400, "The encryption request that you specified is not valid."),
    ("InvalidLocationConstraint", 400, "The specified location constraint is not valid."),
    ("InvalidPart", 400, "One or more of the specified parts could not be found or their entity tags did not match."),
    ("InvalidPartNumber", 416, "The requested partnumber is not satisfiable."),
    ("InvalidPartOrder", 400, "The list of parts was not in ascending order. Parts must be ordered by part number."),
    (
        "InvalidPolicyDocument",
        400,
        "The content of the form does not meet the conditions specified in the policy document.",
    ),
    ("InvalidRange", 416, "The requested range is not satisfiable"),
    (
        "InvalidRedirectLocation",
        400,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ),
    ("InvalidRequest", 400, "Invalid request."),
    ("InvalidRetentionPeriod", 400, "The retention period must be a positive integer value."),
    ("InvalidStorageClass", 400, "The storage class you specified is not valid"),
    ("InvalidTag", 400, "The tag provided was not a valid tag."),
    ("InvalidTargetBucketForLogging", 400, "The target bucket for logging does not exist or is not owned by you."),
    ("InvalidURI", 400, "The specified URI couldn't be parsed."),
    ("InvalidToken", 400, "The provided token is malformed or otherwise not valid."),
    ("KeyTooLongError", 400, "Your key is too long"),
    ("KMS.NotFoundException", 400, "The specified KMS key does not exist."),
    ("KeyTooLongError", 400, "Your key is too long."),
    ("LimitExceeded", 409, "There is a limit to how many of these there may be."),
    (
        "MalformedACLError",
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    ("MalformedPolicy", 400, "Policy has invalid resource"),
    ("MalformedPolicyDocument", 400, "The policy document is malformed."),
    (
        "MalformedPOSTRequest",
        400,
        "The body of your POST request is not well-formed multipart/form-data.",
    ),
    ("MalformedTrailerError", 400, "The request contained trailing data that was not well-formed."),
    ("MalformedXML", 400, "The XML you provided was not well-formed or did not validate against our published schema"),
    ("MaxMessageLengthExceeded", 400, "Your request was too large."),
    (
        "MaxPostPreDataLengthExceeded",
        400,
        "Your POST request fields preceding the upload file were too large.",
    ),
    ("MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size"),
    ("MethodNotAllowed", 405, "The specified method is not allowed against this resource."),
    ("MissingContentLength", 411, "You must provide the Content-Length HTTP header."),
    ("MissingRequestBodyError", 400, "Request body is empty."),
    ("MissingSecurityHeader", 400, "Your request is missing a required header."),
    ("NoSuchBucket", 404, "The specified bucket does not exist"),
    ("NoSuchBucketPolicy", 404, "The bucket policy does not exist"),
    ("NoSuchEntity", 404, "It does not exist."),
    ("NoSuchPublicAccessBlockConfiguration", 404, "The public access block configuration was not found"),
    ("NoSuchConfiguration", 404, "The specified configuration does not exist."),
    ("NoSuchCORSConfiguration", 404, "The CORS configuration does not exist"),
    ("NoSuchKey", 404, "The specified key does not exist."),
    ("NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist."),
    ("NoSuchTagSet", 404, "The TagSet does not exist"),
    (
        "NoSuchObjectLockConfiguration",
        404,
        "The specified object does not have a ObjectLock configuration.",
    ),
    (
        "NoSuchUpload",
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    ),
    ("NoSuchVersion", 404, "The specified version does not exist."),
    ("NoSuchWebsiteConfiguration", 404, "The specified bucket does not have a website configuration"),
    ("NotImplemented", 501, "A header you provided implies functionality that is not implemented"),
    ("ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket."),
    ("NotModified", 304, "Not Modified"),
    ("OwnershipControlsNotFoundError", 404, "The bucket ownership controls were not found"),
    ("PackedPolicyTooLarge", 400, "The session's policy exceeds the maximum allowed size."),
    ("PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold"),
    ("ReplicationConfigurationNotFoundError", 404, "The replication configuration was not found"),
    ("RequestHeaderSectionTooLarge", 400, "Your request header and query parameters exceed the maximum allowed size."),
    (
        "RequestTimeout",
        400,
        "Your socket connection to the server was not read from or written to within the timeout period.",
    ),
    ("RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large."),
    ("ServiceUnavailable", 503, "Service is unable to handle request."),
    ("RequestTimeTooSkewed", 403, "The difference between the request time and the server's time is too large."),
    (
        "ServerSideEncryptionConfigurationNotFoundError",
        404,
        "The server side encryption configuration was not found",
    ),
    ("ServiceUnavailable", 503, "Service is unable to handle the request. Try again."),
    (
        "SignatureDoesNotMatch",
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    ),
    ("SlowDown", 503, "Please reduce your request rate."),
    ("TooManyBuckets", 400, "You have attempted to create more buckets than are allowed."),
    ("UnexpectedContent", 400, "This request does not support content."),
    ("UnresolvableGrantByEmailAddress", 400, "The email address you provided does not match any account on record."),
    ("ValidationError", 400, "The input fails to satisfy the constraints."),
    ("XAmzContentChecksumMismatch", 400, "The provided checksum does not match what the server computed."),
    ("XAmzContentSHA256Mismatch", 400, "The provided 'x-amz-content-sha256' header does not match what was computed."),
)


NO_ROOM = "There is no room left to keep more. Try again later."
"""Message of a SlowDown that is no matter of the client's rate."""


class S3Error(Exception):
    """An answer other than success. `code` is a row of CODES; `fields` become elements of the XML body.

    `headers` are added to the reply, `Retry-After` to every 503 by itself; `detail` goes to the log only.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        detail: str = "",
    ) -> None:
        row = CODES[code]
        self.code = code
        self.status = row.status
        self.message = row.message if message is None else message
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})
        if self.status == 503 and "retry-after" not in map(str.lower, self.headers):
            self.headers["Retry-After"] = str(RETRY_AFTER_S)
        self.detail = detail
        super().__init__(f"{code}: {self.message}")


class Reason(str, enum.Enum):
    """Why a grid refused."""

    ABSENT = "absent"
    MISMATCH = "mismatch"
    """The copy is not the one that was asked for (If-Match)."""
    DENIED = "denied"
    INVALID = "invalid"
    """This grid can never hold that (name, size, metadata)."""


class GridError(Exception):
    """One attempt at one grid went wrong. `__cause__` is the original exception, where there was one."""

    outcome = "error"

    def __init__(self, grid: str, operation: str, detail: str, *, bucket: str = "", key: str = "") -> None:
        self.grid = grid
        self.operation = operation
        self.detail = detail
        self.bucket = bucket
        self.key = key
        place = f" {bucket}/{key}" if bucket or key else ""
        super().__init__(f"grid {grid}: {operation}{place}: {detail}")


class Refused(GridError):
    """It answered no."""

    outcome = "refused"

    def __init__(
        self, grid: str, operation: str, detail: str, *, reason: Reason, bucket: str = "", key: str = ""
    ) -> None:
        super().__init__(grid, operation, detail, bucket=bucket, key=key)
        self.reason = reason


class Unavailable(GridError):
    """It could not act, and certainly did not."""

    outcome = "unavailable"

    def __init__(
        self,
        grid: str,
        operation: str,
        detail: str,
        *,
        bucket: str = "",
        key: str = "",
        retry_after_s: float | None = None,
        shielded: bool = False,
        lasting: bool = False,
    ) -> None:
        super().__init__(grid, operation, detail, bucket=bucket, key=key)
        self.retry_after_s = retry_after_s
        self.shielded = shielded
        """True when our own breaker or limit refused: the grid was not asked, so it is no evidence against it."""
        self.lasting = lasting
        """True for what will not pass by itself, and is the same for every request: credentials or a certificate that
        are refused, a name without an address, a bucket that is missing. Two in a row open the breaker; trials go on,
        so what was put right is noticed. A time-out, a 5xx or a throttled request is never lasting."""


class Uncertain(GridError):
    """It may have acted. Read back before settling; never repeat blindly."""

    outcome = "uncertain"


class Corrupt(GridError):
    """It answered wrongly: other bytes, another etag, another size than the index says."""

    outcome = "corrupt"


class QuorumMissed(Exception):
    """Too few grids acted. `outcomes` maps each grid's name to what happened there."""

    def __init__(self, wanted: int, outcomes: Mapping[str, str]) -> None:
        self.wanted = wanted
        self.outcomes = dict(outcomes)
        told = ", ".join(f"{name}: {what}" for name, what in self.outcomes.items())
        super().__init__(f"{wanted} grids had to hold the write ({told})")

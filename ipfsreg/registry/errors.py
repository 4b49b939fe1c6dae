"""What can be wrong with a client's request, as the OCI error codes (distribution-spec, "Error Codes").

``status`` is the HTTP status that the specification, or Docker's registry where it is silent, gives the case.
"""

from typing import Any, ClassVar


class RegistryError(Exception):
    """A request that cannot be fulfilled, for a reason that the client is told."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 400

    def __init__(self, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class NameInvalid(RegistryError):
    """The repository name does not follow the grammar."""

    code = "NAME_INVALID"


class NameUnknown(RegistryError):
    """There is no such repository."""

    code = "NAME_UNKNOWN"
    status = 404


class TagInvalid(RegistryError):
    """A tag does not follow the grammar."""

    code = "TAG_INVALID"


class DigestInvalid(RegistryError):
    """A digest does not follow the grammar, names an unknown algorithm, or is not that of the content."""

    code = "DIGEST_INVALID"


class SizeInvalid(RegistryError):
    """A length was given that the content does not have."""

    code = "SIZE_INVALID"


class BlobUnknown(RegistryError):
    """The repository has no such blob."""

    code = "BLOB_UNKNOWN"
    status = 404


class UploadUnknown(RegistryError):
    """There is no such upload session (any more)."""

    code = "BLOB_UPLOAD_UNKNOWN"
    status = 404


class UploadInvalid(RegistryError):
    """The upload cannot go on like this."""

    code = "BLOB_UPLOAD_INVALID"


class UploadBusy(UploadInvalid):
    """Another request is writing to the same upload session."""

    status = 409


class UploadOutOfOrder(RegistryError):
    """A chunk does not begin where the last one ended. ``received`` is the number of bytes there are."""

    code = "BLOB_UPLOAD_INVALID"
    status = 416

    def __init__(self, message: str, received: int) -> None:
        super().__init__(message, {"received": received})
        self.received = received


class ManifestUnknown(RegistryError):
    """The repository has no such manifest or tag."""

    code = "MANIFEST_UNKNOWN"
    status = 404


class ManifestInvalid(RegistryError):
    """The manifest is not one."""

    code = "MANIFEST_INVALID"


class ManifestBlobUnknown(RegistryError):
    """The manifest refers to content that the repository does not have.

    404 is what Docker's registry and the specification's table of endpoints say.
    """

    code = "MANIFEST_BLOB_UNKNOWN"
    status = 404


class ContentTooLarge(RegistryError):
    """The content is larger than the configuration allows."""

    code = "SIZE_INVALID"
    status = 413


class TooManyRequests(RegistryError):
    """There is as much going on as the configuration allows."""

    code = "TOOMANYREQUESTS"
    status = 429


class ImportInvalid(RegistryError):
    """There is no whole image in what is to be imported."""

    code = "MANIFEST_INVALID"


class Denied(RegistryError):
    """The configuration does not allow it."""

    code = "DENIED"
    status = 403


class ReadOnly(RegistryError):
    """The name, or everything here, can only be read."""

    code = "DENIED"
    status = 405


class NotInTime(RegistryError):
    """Nobody had the content in time: it may be there all the same. ``retry_after`` is in seconds."""

    code = "UNAVAILABLE"
    status = 503

    def __init__(self, message: str, retry_after: int = 10) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RangeInvalid(RegistryError):
    """The range asked for is not in the content."""

    code = "RANGE_INVALID"
    status = 416


class CidInvalid(RegistryError):
    """What stands where a CID should is none."""

    code = "CID_INVALID"


class CidUnknown(RegistryError):
    """There is no such block or file, or none that everybody may have."""

    code = "CID_UNKNOWN"
    status = 404


class NotCached(CidUnknown):
    """As `CidUnknown`, for a client that wants only what is here already (RFC 9111, only-if-cached)."""

    status = 412


class FormatUnsupported(RegistryError):
    """Blocks and CARs are the formats in which content can be had by CID."""

    code = "FORMAT_UNSUPPORTED"
    status = 406


class ParameterInvalid(RegistryError):
    """A parameter of a request for content by CID says nothing sensible."""

    code = "PARAMETER_INVALID"


class PaginationInvalid(RegistryError):
    """The number of results asked for is not a number."""

    code = "PAGINATION_NUMBER_INVALID"

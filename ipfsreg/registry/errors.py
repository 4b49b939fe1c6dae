"""What can be wrong with a client's request, as the OCI error codes (distribution-spec, "Error Codes").

``status`` is the HTTP status that the specification, or Docker's registry where it is silent, gives the case.
"""

from typing import Any, ClassVar


class RegistryError(Exception):
    """A request that cannot be fulfilled, for a reason that the client is told."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 400

    def __init_subclass__(cls, code: str | None = None, status: int | None = None) -> None:
        """Each case inherits what it does not say."""
        cls.code = cls.code if code is None else code
        cls.status = cls.status if status is None else status

    def __init__(self, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class NameInvalid(RegistryError, code="NAME_INVALID"):
    """The repository name does not follow the grammar."""


class NameUnknown(RegistryError, code="NAME_UNKNOWN", status=404):
    """There is no such repository."""


class TagInvalid(RegistryError, code="TAG_INVALID"):
    """A tag does not follow the grammar."""


class TooManyTags(TagInvalid, status=414):
    """More tags in one request than the answer can name in its headers."""


class DigestInvalid(RegistryError, code="DIGEST_INVALID"):
    """A digest does not follow the grammar, names an unknown algorithm, or is not that of the content."""


class SizeInvalid(RegistryError, code="SIZE_INVALID"):
    """A length was given that the content does not have."""


class BlobUnknown(RegistryError, code="BLOB_UNKNOWN", status=404):
    """The repository has no such blob."""


class UploadUnknown(RegistryError, code="BLOB_UPLOAD_UNKNOWN", status=404):
    """There is no such upload session (any more)."""


class UploadInvalid(RegistryError, code="BLOB_UPLOAD_INVALID"):
    """The upload cannot go on like this."""


class UploadLost(UploadInvalid):
    """What was received of the upload is not on this disk any more, or does not stay as it was."""


class UploadBusy(RegistryError, code="BLOB_UPLOAD_INVALID", status=409):
    """Another request is writing to the same upload session."""


class UploadOutOfOrder(RegistryError, code="BLOB_UPLOAD_INVALID", status=416):
    """A chunk does not begin where the last one ended. ``received`` is the number of bytes there are."""

    def __init__(self, message: str, received: int) -> None:
        super().__init__(message, {"received": received})
        self.received = received


class ManifestUnknown(RegistryError, code="MANIFEST_UNKNOWN", status=404):
    """The repository has no such manifest or tag."""


class ManifestInvalid(RegistryError, code="MANIFEST_INVALID"):
    """The content is not a manifest."""


class ManifestBlobUnknown(RegistryError, code="MANIFEST_BLOB_UNKNOWN", status=404):
    """The manifest refers to content that the repository does not have.

    404 is what Docker's registry and the specification's table of endpoints say.
    """


class ContentTooLarge(RegistryError, code="SIZE_INVALID", status=413):
    """The content is larger than the configuration allows."""


class TooManyRequests(RegistryError, code="TOOMANYREQUESTS", status=429):
    """There is as much going on as the configuration allows."""


class UnfinishedTooLarge(TooManyRequests):
    """The unfinished uploads of a user have as many bytes as they may have."""


class ImportInvalid(RegistryError, code="MANIFEST_INVALID"):
    """There is no whole image in what is to be imported."""


class Denied(RegistryError, code="DENIED", status=403):
    """The configuration does not allow it."""


class QuotaExceeded(Denied):
    """There is no room for it under ``[limits]``."""


class ReadOnly(RegistryError, code="DENIED", status=405):
    """The name, or everything here, can only be read."""


class NotInTime(RegistryError, code="UNAVAILABLE", status=503):
    """Nobody had the content in time: it may be there all the same. ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: int = 10) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RangeInvalid(RegistryError, code="RANGE_INVALID", status=416):
    """The range asked for is not in the content."""


class CidInvalid(RegistryError, code="CID_INVALID"):
    """The text is not a CID."""


class CidUnknown(RegistryError, code="CID_UNKNOWN", status=404):
    """There is no such block or file, or none that everybody may have."""


class NotCached(CidUnknown, status=412):
    """As `CidUnknown`, for a client that wants only what is here already (RFC 9111, only-if-cached)."""


class FormatUnsupported(RegistryError, code="FORMAT_UNSUPPORTED", status=406):
    """Blocks and CARs are the formats in which content can be had by CID."""


class ParameterInvalid(RegistryError, code="PARAMETER_INVALID"):
    """A parameter of a request for content by CID says nothing sensible."""


class PaginationInvalid(RegistryError, code="PAGINATION_NUMBER_INVALID"):
    """The number of results asked for is not a number."""

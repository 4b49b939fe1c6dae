from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENTRY_ADDED: _ClassVar[EventType]
    ENTRY_DELETED: _ClassVar[EventType]
    ENTRY_UPDATED: _ClassVar[EventType]
    ENTRY_BACKUP_IN_PROGRESS: _ClassVar[EventType]
    ENTRY_BACKUP_READY: _ClassVar[EventType]
    ENTRY_RESTORE_IN_PROGRESS: _ClassVar[EventType]
    ENTRY_RESTORE_READY: _ClassVar[EventType]
    FOLDER_ADDED: _ClassVar[EventType]
    FOLDER_DELETED: _ClassVar[EventType]
    FOLDER_UPDATED: _ClassVar[EventType]
ENTRY_ADDED: EventType
ENTRY_DELETED: EventType
ENTRY_UPDATED: EventType
ENTRY_BACKUP_IN_PROGRESS: EventType
ENTRY_BACKUP_READY: EventType
ENTRY_RESTORE_IN_PROGRESS: EventType
ENTRY_RESTORE_READY: EventType
FOLDER_ADDED: EventType
FOLDER_DELETED: EventType
FOLDER_UPDATED: EventType

class InitializeMasterAppTokenRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InitializeMasterAppTokenResponse(_message.Message):
    __slots__ = ("appToken",)
    APPTOKEN_FIELD_NUMBER: _ClassVar[int]
    appToken: str
    def __init__(self, appToken: _Optional[str] = ...) -> None: ...

class GenerateKeyPairRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GenerateKeyPairResponse(_message.Message):
    __slots__ = ("mnemonic",)
    MNEMONIC_FIELD_NUMBER: _ClassVar[int]
    mnemonic: str
    def __init__(self, mnemonic: _Optional[str] = ...) -> None: ...

class GetStoredMnemonicRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStoredMnemonicResponse(_message.Message):
    __slots__ = ("mnemonic",)
    MNEMONIC_FIELD_NUMBER: _ClassVar[int]
    mnemonic: str
    def __init__(self, mnemonic: _Optional[str] = ...) -> None: ...

class GetPublicKeyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPublicKeyResponse(_message.Message):
    __slots__ = ("publicKey",)
    PUBLICKEY_FIELD_NUMBER: _ClassVar[int]
    publicKey: str
    def __init__(self, publicKey: _Optional[str] = ...) -> None: ...

class BucketMember(_message.Message):
    __slots__ = ("address", "publicKey", "isOwner", "hasJoined")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PUBLICKEY_FIELD_NUMBER: _ClassVar[int]
    ISOWNER_FIELD_NUMBER: _ClassVar[int]
    HASJOINED_FIELD_NUMBER: _ClassVar[int]
    address: str
    publicKey: str
    isOwner: bool
    hasJoined: bool
    def __init__(self, address: _Optional[str] = ..., publicKey: _Optional[str] = ..., isOwner: bool = ..., hasJoined: bool = ...) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("key", "name", "path", "createdAt", "updatedAt", "members", "isPersonalBucket", "isBackupEnabled", "itemsCount")
    KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CREATEDAT_FIELD_NUMBER: _ClassVar[int]
    UPDATEDAT_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ISPERSONALBUCKET_FIELD_NUMBER: _ClassVar[int]
    ISBACKUPENABLED_FIELD_NUMBER: _ClassVar[int]
    ITEMSCOUNT_FIELD_NUMBER: _ClassVar[int]
    key: str
    name: str
    path: str
    createdAt: int
    updatedAt: int
    members: _containers.RepeatedCompositeFieldContainer[BucketMember]
    isPersonalBucket: bool
    isBackupEnabled: bool
    itemsCount: int
    def __init__(self, key: _Optional[str] = ..., name: _Optional[str] = ..., path: _Optional[str] = ..., createdAt: _Optional[int] = ..., updatedAt: _Optional[int] = ..., members: _Optional[_Iterable[_Union[BucketMember, _Mapping]]] = ..., isPersonalBucket: bool = ..., isBackupEnabled: bool = ..., itemsCount: _Optional[int] = ...) -> None: ...

class CreateBucketRequest(_message.Message):
    __slots__ = ("slug",)
    SLUG_FIELD_NUMBER: _ClassVar[int]
    slug: str
    def __init__(self, slug: _Optional[str] = ...) -> None: ...

class CreateBucketResponse(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: Bucket
    def __init__(self, bucket: _Optional[_Union[Bucket, _Mapping]] = ...) -> None: ...

class ListBucketsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBucketsResponse(_message.Message):
    __slots__ = ("buckets",)
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    def __init__(self, buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ...) -> None: ...

class AddItemsRequest(_message.Message):
    __slots__ = ("sourcePaths", "targetPath", "bucket")
    SOURCEPATHS_FIELD_NUMBER: _ClassVar[int]
    TARGETPATH_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    sourcePaths: _containers.RepeatedScalarFieldContainer[str]
    targetPath: str
    bucket: str
    def __init__(self, sourcePaths: _Optional[_Iterable[str]] = ..., targetPath: _Optional[str] = ..., bucket: _Optional[str] = ...) -> None: ...

class AddItemResult(_message.Message):
    __slots__ = ("sourcePath", "bucketPath", "error")
    SOURCEPATH_FIELD_NUMBER: _ClassVar[int]
    BUCKETPATH_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    sourcePath: str
    bucketPath: str
    error: str
    def __init__(self, sourcePath: _Optional[str] = ..., bucketPath: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class AddItemsResponse(_message.Message):
    __slots__ = ("result", "totalFiles", "totalBytes", "completedFiles", "completedBytes")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TOTALFILES_FIELD_NUMBER: _ClassVar[int]
    TOTALBYTES_FIELD_NUMBER: _ClassVar[int]
    COMPLETEDFILES_FIELD_NUMBER: _ClassVar[int]
    COMPLETEDBYTES_FIELD_NUMBER: _ClassVar[int]
    result: AddItemResult
    totalFiles: int
    totalBytes: int
    completedFiles: int
    completedBytes: int
    def __init__(self, result: _Optional[_Union[AddItemResult, _Mapping]] = ..., totalFiles: _Optional[int] = ..., totalBytes: _Optional[int] = ..., completedFiles: _Optional[int] = ..., completedBytes: _Optional[int] = ...) -> None: ...

class OpenFileRequest(_message.Message):
    __slots__ = ("path", "bucket", "dbId")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    DBID_FIELD_NUMBER: _ClassVar[int]
    path: str
    bucket: str
    dbId: str
    def __init__(self, path: _Optional[str] = ..., bucket: _Optional[str] = ..., dbId: _Optional[str] = ...) -> None: ...

class OpenFileResponse(_message.Message):
    __slots__ = ("location",)
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    location: str
    def __init__(self, location: _Optional[str] = ...) -> None: ...

class FileMember(_message.Message):
    __slots__ = ("publicKey", "address")
    PUBLICKEY_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    publicKey: str
    address: str
    def __init__(self, publicKey: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("path", "isDir", "name", "sizeInBytes", "created", "updated", "fileExtension", "ipfsHash", "isLocallyAvailable", "backupCount", "members", "isBackupInProgress", "isRestoreInProgress")
    PATH_FIELD_NUMBER: _ClassVar[int]
    ISDIR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZEINBYTES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    FILEEXTENSION_FIELD_NUMBER: _ClassVar[int]
    IPFSHASH_FIELD_NUMBER: _ClassVar[int]
    ISLOCALLYAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    BACKUPCOUNT_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ISBACKUPINPROGRESS_FIELD_NUMBER: _ClassVar[int]
    ISRESTOREINPROGRESS_FIELD_NUMBER: _ClassVar[int]
    path: str
    isDir: bool
    name: str
    sizeInBytes: str
    created: str
    updated: str
    fileExtension: str
    ipfsHash: str
    isLocallyAvailable: bool
    backupCount: int
    members: _containers.RepeatedCompositeFieldContainer[FileMember]
    isBackupInProgress: bool
    isRestoreInProgress: bool
    def __init__(self, path: _Optional[str] = ..., isDir: bool = ..., name: _Optional[str] = ..., sizeInBytes: _Optional[str] = ..., created: _Optional[str] = ..., updated: _Optional[str] = ..., fileExtension: _Optional[str] = ..., ipfsHash: _Optional[str] = ..., isLocallyAvailable: bool = ..., backupCount: _Optional[int] = ..., members: _Optional[_Iterable[_Union[FileMember, _Mapping]]] = ..., isBackupInProgress: bool = ..., isRestoreInProgress: bool = ...) -> None: ...

class ListDirectoryRequest(_message.Message):
    __slots__ = ("path", "bucket", "omitMembers")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    OMITMEMBERS_FIELD_NUMBER: _ClassVar[int]
    path: str
    bucket: str
    omitMembers: bool
    def __init__(self, path: _Optional[str] = ..., bucket: _Optional[str] = ..., omitMembers: bool = ...) -> None: ...

class ListDirectoryResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ...) -> None: ...

class ListDirectoriesRequest(_message.Message):
    __slots__ = ("bucket", "omitMembers")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    OMITMEMBERS_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    omitMembers: bool
    def __init__(self, bucket: _Optional[str] = ..., omitMembers: bool = ...) -> None: ...

class ListDirectoriesResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ...) -> None: ...

class CreateFolderRequest(_message.Message):
    __slots__ = ("path", "bucket")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    path: str
    bucket: str
    def __init__(self, path: _Optional[str] = ..., bucket: _Optional[str] = ...) -> None: ...

class CreateFolderResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveDirOrFileRequest(_message.Message):
    __slots__ = ("path", "bucket")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    path: str
    bucket: str
    def __init__(self, path: _Optional[str] = ..., bucket: _Optional[str] = ...) -> None: ...

class RemoveDirOrFileResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ThreadInfo(_message.Message):
    __slots__ = ("addresses", "key")
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    addresses: _containers.RepeatedScalarFieldContainer[str]
    key: str
    def __init__(self, addresses: _Optional[_Iterable[str]] = ..., key: _Optional[str] = ...) -> None: ...

class ShareBucketRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class ShareBucketResponse(_message.Message):
    __slots__ = ("threadinfo",)
    THREADINFO_FIELD_NUMBER: _ClassVar[int]
    threadinfo: ThreadInfo
    def __init__(self, threadinfo: _Optional[_Union[ThreadInfo, _Mapping]] = ...) -> None: ...

class JoinBucketRequest(_message.Message):
    __slots__ = ("threadinfo", "bucket")
    THREADINFO_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    threadinfo: ThreadInfo
    bucket: str
    def __init__(self, threadinfo: _Optional[_Union[ThreadInfo, _Mapping]] = ..., bucket: _Optional[str] = ...) -> None: ...

class JoinBucketResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: bool
    def __init__(self, result: bool = ...) -> None: ...

class ToggleBucketBackupRequest(_message.Message):
    __slots__ = ("bucket", "backup")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    BACKUP_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    backup: bool
    def __init__(self, bucket: _Optional[str] = ..., backup: bool = ...) -> None: ...

class ToggleBucketBackupResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BucketBackupRestoreRequest(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    def __init__(self, bucket: _Optional[str] = ...) -> None: ...

class BucketBackupRestoreResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GeneratePublicFileLinkRequest(_message.Message):
    __slots__ = ("bucket", "itemPaths", "password", "dbId")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    ITEMPATHS_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    DBID_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    itemPaths: _containers.RepeatedScalarFieldContainer[str]
    password: str
    dbId: str
    def __init__(self, bucket: _Optional[str] = ..., itemPaths: _Optional[_Iterable[str]] = ..., password: _Optional[str] = ..., dbId: _Optional[str] = ...) -> None: ...

class GeneratePublicFileLinkResponse(_message.Message):
    __slots__ = ("link", "fileCid")
    LINK_FIELD_NUMBER: _ClassVar[int]
    FILECID_FIELD_NUMBER: _ClassVar[int]
    link: str
    fileCid: str
    def __init__(self, link: _Optional[str] = ..., fileCid: _Optional[str] = ...) -> None: ...

class OpenPublicFileRequest(_message.Message):
    __slots__ = ("fileCid", "password", "filename")
    FILECID_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    fileCid: str
    password: str
    filename: str
    def __init__(self, fileCid: _Optional[str] = ..., password: _Optional[str] = ..., filename: _Optional[str] = ...) -> None: ...

class OpenPublicFileResponse(_message.Message):
    __slots__ = ("location",)
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    location: str
    def __init__(self, location: _Optional[str] = ...) -> None: ...

class GetUsageInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetUsageInfoResponse(_message.Message):
    __slots__ = ("localStarogeUsed", "localBandwidthUsed", "spaceStorageUsed", "spaceBandwidthUsed", "usageQuota")
    LOCALSTAROGEUSED_FIELD_NUMBER: _ClassVar[int]
    LOCALBANDWIDTHUSED_FIELD_NUMBER: _ClassVar[int]
    SPACESTORAGEUSED_FIELD_NUMBER: _ClassVar[int]
    SPACEBANDWIDTHUSED_FIELD_NUMBER: _ClassVar[int]
    USAGEQUOTA_FIELD_NUMBER: _ClassVar[int]
    localStarogeUsed: int
    localBandwidthUsed: int
    spaceStorageUsed: int
    spaceBandwidthUsed: int
    usageQuota: int
    def __init__(self, localStarogeUsed: _Optional[int] = ..., localBandwidthUsed: _Optional[int] = ..., spaceStorageUsed: _Optional[int] = ..., spaceBandwidthUsed: _Optional[int] = ..., usageQuota: _Optional[int] = ...) -> None: ...

class FileEventResponse(_message.Message):
    __slots__ = ("type", "entry", "bucket", "dbId")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    DBID_FIELD_NUMBER: _ClassVar[int]
    type: EventType
    entry: Entry
    bucket: str
    dbId: str
    def __init__(self, type: _Optional[_Union[EventType, str]] = ..., entry: _Optional[_Union[Entry, _Mapping]] = ..., bucket: _Optional[str] = ..., dbId: _Optional[str] = ...) -> None: ...

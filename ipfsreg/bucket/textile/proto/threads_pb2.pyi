from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetTokenRequest(_message.Message):
    __slots__ = ("key", "signature")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    key: str
    signature: bytes
    def __init__(self, key: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class GetTokenReply(_message.Message):
    __slots__ = ("challenge", "token")
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    challenge: bytes
    token: str
    def __init__(self, challenge: _Optional[bytes] = ..., token: _Optional[str] = ...) -> None: ...

class NewDBRequest(_message.Message):
    __slots__ = ("db_id", "collections", "name", "key", "log_key", "block")
    DB_ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LOG_KEY_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    db_id: bytes
    collections: _containers.RepeatedCompositeFieldContainer[CollectionConfig]
    name: str
    key: bytes
    log_key: bytes
    block: bool
    def __init__(self, db_id: _Optional[bytes] = ..., collections: _Optional[_Iterable[_Union[CollectionConfig, _Mapping]]] = ..., name: _Optional[str] = ..., key: _Optional[bytes] = ..., log_key: _Optional[bytes] = ..., block: bool = ...) -> None: ...

class NewDBReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CollectionConfig(_message.Message):
    __slots__ = ("name", "schema", "indexes", "write_validator", "read_filter")
    class Index(_message.Message):
        __slots__ = ("path", "unique")
        PATH_FIELD_NUMBER: _ClassVar[int]
        UNIQUE_FIELD_NUMBER: _ClassVar[int]
        path: str
        unique: bool
        def __init__(self, path: _Optional[str] = ..., unique: bool = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    WRITE_VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    READ_FILTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    schema: bytes
    indexes: _containers.RepeatedCompositeFieldContainer[CollectionConfig.Index]
    write_validator: str
    read_filter: str
    def __init__(self, name: _Optional[str] = ..., schema: _Optional[bytes] = ..., indexes: _Optional[_Iterable[_Union[CollectionConfig.Index, _Mapping]]] = ..., write_validator: _Optional[str] = ..., read_filter: _Optional[str] = ...) -> None: ...

class ListDBsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDBsReply(_message.Message):
    __slots__ = ("dbs",)
    class DB(_message.Message):
        __slots__ = ("db_id", "info")
        DB_ID_FIELD_NUMBER: _ClassVar[int]
        INFO_FIELD_NUMBER: _ClassVar[int]
        db_id: bytes
        info: GetDBInfoReply
        def __init__(self, db_id: _Optional[bytes] = ..., info: _Optional[_Union[GetDBInfoReply, _Mapping]] = ...) -> None: ...
    DBS_FIELD_NUMBER: _ClassVar[int]
    dbs: _containers.RepeatedCompositeFieldContainer[ListDBsReply.DB]
    def __init__(self, dbs: _Optional[_Iterable[_Union[ListDBsReply.DB, _Mapping]]] = ...) -> None: ...

class GetDBInfoRequest(_message.Message):
    __slots__ = ("db_id",)
    DB_ID_FIELD_NUMBER: _ClassVar[int]
    db_id: bytes
    def __init__(self, db_id: _Optional[bytes] = ...) -> None: ...

class GetDBInfoReply(_message.Message):
    __slots__ = ("addrs", "key", "name")
    ADDRS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    addrs: _containers.RepeatedScalarFieldContainer[bytes]
    key: bytes
    name: str
    def __init__(self, addrs: _Optional[_Iterable[bytes]] = ..., key: _Optional[bytes] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteDBRequest(_message.Message):
    __slots__ = ("db_id",)
    DB_ID_FIELD_NUMBER: _ClassVar[int]
    db_id: bytes
    def __init__(self, db_id: _Optional[bytes] = ...) -> None: ...

class DeleteDBReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

"""From the path of a request to the method of a service, and from its outcome to a status."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from .call import INTERNAL, UNIMPLEMENTED, Call, EndWithoutStatusError, Responder, RpcError
from .faults import CallFaults
from .recorder import CallRecord, Recorder
from .settings import MessageLimits

Authorize = Callable[[Call, Any, bool], None]
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Method:
    """How to call one method. `request` is None for raw bytes."""

    handler: Callable[..., Awaitable[Any]]
    request: type[Message] | None
    client_streaming: bool
    server_streaming: bool


class Dispatcher:
    """The methods of a server."""

    def __init__(self, clock: IReactorTime, recorder: Recorder, faults: CallFaults, limits: MessageLimits) -> None:
        self.services: dict[str, dict[str, Method]] = {}
        self.authorize: Authorize | None = None
        """Called before each method: with the call, the request (None for a stream), whether it is unary."""
        self.failures: list[Failure] = []
        """What went wrong in the double itself; a test that leaves something here must fail."""
        self._clock = clock
        self._recorder = recorder
        self._faults = faults
        self._limits = limits
        self._running: set[Deferred[None]] = set()

    def add_service(self, service: ServiceDescriptor, implementation: object, hidden: set[str]) -> None:
        """Offer the methods of a service that the object has, but for the hidden ones."""
        methods = self.services.setdefault(service.full_name, {})
        for method in service.methods:
            handler = getattr(implementation, method.name, None)
            if handler is not None and method.name not in hidden:
                request = GetMessageClass(method.input_type)
                methods[method.name] = Method(handler, request, method.client_streaming, method.server_streaming)

    def begin(self, path: str, metadata: dict[str, str], transport: str, responder: Responder) -> Call:
        """Make a call for a request; `run` starts it."""
        service, _, name = path.removeprefix("/").rpartition("/")
        record = CallRecord(name, service, transport, metadata, self._clock.seconds())
        self._recorder.add(record)
        plan = self._faults.plan(name)
        return Call(self._clock, record, plan, responder, self._limits.message)

    def run(self, call: Call) -> None:
        """Start a call; it ends by itself, with a status sent unless its client is gone."""
        running = Deferred.fromCoroutine(self._run(call))
        self._running.add(running)
        running.addBoth(self._ended, call, running)

    def _ended(self, result: object, call: Call, running: "Deferred[None]") -> None:
        self._running.discard(running)
        call.close()
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.failures.append(result)

    def stop(self) -> None:
        """Break off all calls that still run."""
        for running in list(self._running):
            running.cancel()

    async def _run(self, call: Call) -> None:
        code: int | None
        code, text = 0, ""
        try:
            await self._handle(call)
            call.check_plan()
        except RpcError as error:
            code, text = error.code, error.text
        except EndWithoutStatusError:
            code = None
        except CancelledError:
            call.cancel()
            code = None
            raise
        except Exception:
            self.failures.append(Failure())
            code, text = INTERNAL, "the double itself failed"
        finally:
            call.record.finished = self._clock.seconds()
            call.record.status = None if call.cancelled and code in (0, 1) else code
            call.record.text = text
        if code is None:
            call.responder.end_without_status()
        else:
            call.responder.finish(code, text)

    async def _handle(self, call: Call) -> None:
        method = self._find(call.record.service, call.method)
        plan = call.plan
        await call.sleep(plan.delay or 0)
        if plan.hang:
            await call.until_cancelled()
        if plan.code is not None and plan.after_messages is None:
            raise RpcError(plan.code, plan.text)
        unary = not (method.client_streaming or method.server_streaming)
        if not unary:
            self._check_access(call, None, unary)
        if method.client_streaming:
            await method.handler(call)
            return
        request = self._decode(method, await call.receive())
        call.record.request = request
        if unary:
            self._check_access(call, request, unary)
            await call.send(await method.handler(call, request))
        else:
            await method.handler(call, request)

    def _check_access(self, call: Call, request: Any, unary: bool) -> None:
        if self.authorize is not None:
            self.authorize(call, request, unary)

    def _find(self, service: str, name: str) -> Method:
        if not service or not name:
            raise RpcError(UNIMPLEMENTED, f'malformed method name: "/{name}"')
        methods = self.services.get(service)
        if methods is None:
            raise RpcError(UNIMPLEMENTED, f"unknown service {service}")
        method = methods.get(name)
        if method is None:
            raise RpcError(UNIMPLEMENTED, f"unknown method {name} for service {service}")
        return method

    @staticmethod
    def _decode(method: Method, payload: bytes | None) -> Any:
        if payload is None:
            raise RpcError(INTERNAL, "unexpected EOF")
        if method.request is None:
            return payload
        return decode(method.request, payload)


def decode(kind: type[M], payload: bytes) -> M:
    """Read a message.

    :raises RpcError: as grpc-go does where it cannot be read.
    """
    try:
        return kind.FromString(payload)
    except DecodeError:
        raise RpcError(INTERNAL, "grpc: failed to unmarshal the received message") from None

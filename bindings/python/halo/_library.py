"""The library itself: found, opened, checked; calls that raise; blobs that become bytes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import cffi

from . import _api
from .errors import Error

ffi: Any = cffi.FFI()
ffi.cdef(_api.CDEF)

_NAMES = {"darwin": "libhalo.dylib", "win32": "halo.dll"}


def path() -> str:
    """Where the library is: what HALO_LIBRARY names, or the one that came with this package."""
    named = os.environ.get("HALO_LIBRARY")
    if named:
        return named
    packed = Path(__file__).parent / "lib" / _NAMES.get(sys.platform, "libhalo.so")
    if not packed.exists():
        raise ImportError(
            f"{packed} is missing: this package was installed without its library; "
            "reinstall it, or set HALO_LIBRARY to a built libhalo"
        )
    return str(packed)


def _open() -> Any:
    where = path()
    try:
        return ffi.dlopen(where)
    except OSError as error:
        raise ImportError(f"{where} cannot be opened: {error}") from error


lib: Any = _open()
_ERROR_SIZE = ffi.sizeof("halo_error")
_functions: dict[str, Any] = {}


def call(name: str, *arguments: Any) -> None:
    """Calls a function that can fail, without its last parameter.

    Raises halo.Error with everything that the library's record says.
    """
    function = _functions.get(name)
    if function is None:
        function = _functions[name] = getattr(lib, name)
    record = ffi.new("halo_error *")
    record.struct_size = _ERROR_SIZE
    if function(*arguments, record) != _api.HALO_OK:
        raise _failure(name, record)


def text(pointer: Any) -> str:
    """Text of the library, or of its records."""
    return ffi.string(pointer).decode("utf-8", "replace")


def refusal(code: int, site: str, message: str, example: int | None = None) -> Error:
    """An error that this side of the boundary found, in the library's own words."""
    return Error(
        message, code=code, name=text(lib.halo_status_name(code)), site=site, example=example
    )


def struct(name: str) -> Any:
    """A zeroed struct that knows its size: HALO_INIT."""
    made = ffi.new(f"{name} *")
    made.struct_size = ffi.sizeof(name)
    return made


def handle(name: str, function: str, *arguments: Any) -> Any:
    """What a function makes in its last parameter; freed with the last reference to it."""
    out = ffi.new(f"{name} **")
    call(function, *arguments, out)
    return ffi.gc(out[0], getattr(lib, f"{name}_free"))


def blob(function: str, *arguments: Any) -> bytes:
    """The bytes that a function gives in its last parameter."""
    made = handle("halo_blob", function, *arguments)
    length = ffi.new("size_t *")
    data = lib.halo_blob_data(made, length)
    return ffi.buffer(data, length[0])[:]


def _failure(function: str, record: Any) -> Error:
    parameters = _api.PARAMETERS.get(function, ())
    argument, example = record.argument, record.example
    return Error(
        text(record.message),
        code=record.code,
        name=text(lib.halo_status_name(record.code)),
        site=text(record.site),
        argument=parameters[argument] if 0 <= argument < len(parameters) else None,
        example=example if example >= 0 else None,
        host_code=record.host_code,
    )


call("halo_version_check", _api.HALO_ABI_VERSION)

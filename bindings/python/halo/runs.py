"""How a long call is watched and stopped."""

from __future__ import annotations

from typing import Any, Callable

from . import _api
from ._library import call, ffi, handle, lib, struct, text
from .errors import Error

__all__ = ["Cancel", "Progress", "Watch"]

#: (phase, done, total); what is true, such as True, stops the call with HALO_E_CANCELLED.
Progress = Callable[[str, int, int], Any]


class Cancel:
    """Stops the calls that it was given to. request() is allowed on any thread."""

    def __init__(self) -> None:
        self._handle = handle("halo_cancel", "halo_cancel_new")

    def request(self) -> None:
        """Asks them to stop soon with HALO_E_CANCELLED."""
        lib.halo_cancel_request(self._handle)

    def reset(self) -> None:
        """Says "go on" again."""
        lib.halo_cancel_reset(self._handle)

    def __reduce__(self) -> Any:
        raise TypeError("a halo.Cancel belongs to one process and is not pickled or copied")


class Watch:
    """A halo_run with Python's callbacks. An exception in one, and Ctrl-C, stop the call and come out of it."""

    def __init__(
        self,
        progress: Progress | None = None,
        stream: Callable[[str], Any] | None = None,
        cancel: Cancel | None = None,
        max_steps: int = 0,
    ) -> None:
        self._raised: BaseException | None = None

        def told(_user: Any, phase: Any, done: int, total: int) -> int:
            # Also without a listener: Python looks for Ctrl-C when its code runs.
            return self._answer(lambda: progress and progress(text(phase), done, total))

        def piece(_user: Any, data: Any, length: int) -> int:
            return self._answer(lambda: stream and stream(ffi.buffer(data, length)[:].decode()))

        self._keep = [ffi.callback("int32_t(void *, const char *, uint64_t, uint64_t)", told), cancel]
        self.pointer = struct("halo_run")
        self.pointer.progress = self._keep[0]
        self.pointer.max_steps = max_steps
        if stream is not None:
            self._keep.append(ffi.callback("int32_t(void *, const char *, size_t)", piece))
            self.pointer.text = self._keep[-1]
        if cancel is not None:
            self.pointer.cancel = cancel._handle

    def _answer(self, listener: Callable[[], Any]) -> int:
        try:
            return 1 if listener() else 0
        except BaseException as raised:
            self._raised = raised
            return 1

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Makes the call; what a callback raised comes out instead of HALO_E_CANCELLED."""
        try:
            return function(*arguments)
        except Error as error:
            if self._raised is not None and error.code == _api.HALO_E_CANCELLED:
                raise self._raised from None
            raise

    def call(self, name: str, *arguments: Any) -> None:
        """Such a call without a result."""
        self.run(call, name, *arguments)

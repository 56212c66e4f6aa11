"""The one exception of this package: why the library refused a call."""

from __future__ import annotations

__all__ = ["Error"]


class Error(Exception):
    """A call that failed. Nothing that the caller owns was written.

    name: the status, such as ``"HALO_E_NONFINITE"``; code: its number.
    argument: the parameter at fault, as include/halo.h calls it; None unknown.
    example: the row, record or line at fault, from 0; None unknown.
    site: a stable name of the check, such as ``"loss.kto.beta"``.
    message: for people.
    host_code: what a callback of the host returned, where one failed.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int,
        name: str,
        site: str,
        argument: str | None = None,
        example: int | None = None,
        host_code: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.name = name
        self.site = site
        self.argument = argument
        self.example = example
        self.host_code = host_code

    def __str__(self) -> str:
        return f"{self.message} ({self.name})"

    def __reduce__(self):
        # Workers of data loaders send their exceptions to the main process.
        fields = {key: value for key, value in self.__dict__.items() if key != "message"}
        return _again, (self.message, fields)


def _again(message: str, fields: dict) -> Error:
    return Error(message, **fields)

"""Puts libhalo into the package: the one that HALO_LIBRARY names, or one that cargo builds from this repository.

HALO_FEATURES names cargo features of the built one, such as "session".
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
NAME = {"darwin": "libhalo.dylib", "win32": "halo.dll"}.get(sys.platform, "libhalo.so")


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        package = HERE / "halo" if self.editable_mode else Path(self.build_lib) / "halo"
        folder = package / "lib"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library(), folder / NAME)


class PlatformWheel(bdist_wheel):
    """The library is of one platform, the Python beside it of no version in particular."""

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class WithLibrary(Distribution):
    def has_ext_modules(self):
        return True


def library() -> Path:
    given = os.environ.get("HALO_LIBRARY")
    if given:
        return Path(given)
    if not (REPOSITORY / "crates" / "ffi" / "Cargo.toml").exists():
        sys.exit("libhalo's sources are not beside this package: set HALO_LIBRARY to a built library")
    build = ["cargo", "build", "--release", "--package", "halo-ffi", "--no-default-features", "--message-format", "short"]
    features = os.environ.get("HALO_FEATURES")
    if features:
        build += ["--features", features]
    try:
        subprocess.run(build, cwd=REPOSITORY, check=True)
    except FileNotFoundError:
        sys.exit("cargo is needed to build libhalo; or set HALO_LIBRARY to a built library")
    except subprocess.CalledProcessError as error:
        sys.exit(f"libhalo was not built: cargo ended with status {error.returncode}")
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release" / NAME


setup(
    distclass=WithLibrary,
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel},
)

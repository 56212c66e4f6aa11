"""Makes the modules of benches/peers importable: what both comparisons need is written there, once."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))

"""The program under test: `BURSAR` names it, or what `cargo test` built."""

import os

from rendering import REPOSITORY

PROGRAM = os.environ.get("BURSAR") or str(REPOSITORY / "target/debug/bursar")


def environment(**more):
    """Nothing of this machine's own settings of the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BURSAR")}
    return {**kept, "RUST_BACKTRACE": "0", **more}

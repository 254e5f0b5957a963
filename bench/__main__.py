"""``python -m bench`` is the trtbench command, and so is the program ``trtbench``."""

from __future__ import annotations

# Built in: importing signal takes a while, in which Ctrl-C would show a traceback.
import _signal  # type: ignore[import-not-found]
import gc
import os
import sys


def _leave(*_: object) -> None:
    """End at once: an exception amid the import of an extension may crash Python, and there is nothing to clean up."""
    os._exit(130)


if __name__ == "__main__":
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _leave)

if __name__ == "__main__" and not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    # A file of the working folder must not take the place of a package; of bench the place is known by now.
    del sys.path[0]


def main() -> int:
    """Run one command; its exit code. Ctrl-C ends it without a traceback also while it imports."""
    early = _signal.getsignal(_signal.SIGINT) in (_signal.default_int_handler, _leave)
    if early:
        _signal.signal(_signal.SIGINT, _leave)
    gc.set_threshold(
        100_000, 50, 100
    )  # in large runs and tables searches, which find nothing, take a fifth of the time
    from bench.cli import commands, output

    output.open_streams()
    code: object = 130
    restore = (lambda: _signal.signal(_signal.SIGINT, _signal.default_int_handler)) if early else (lambda: None)
    try:
        code = commands.main(on_start=restore)
    except SystemExit as error:  # argparse
        code = error.code
    except KeyboardInterrupt:
        if "--traceback" in sys.argv:
            raise
        output.complain("trtbench: interrupted")
    if early:
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    return output.flush_streams(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    sys.exit(main())

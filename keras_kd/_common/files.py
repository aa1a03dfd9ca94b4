"""Files that are there whole or not at all."""

import contextlib
import os


@contextlib.contextmanager
def replacing(path):
    """Give a name to write to; on success the file takes the place of `path`.

    After an error, or a full disk, `path` is what it was and nothing else is left.
    """
    folder, name = os.path.split(os.fspath(path))
    # The name keeps its ending, and is of this process: another may write `path` too.
    temporary = os.path.join(folder, f".part.{os.getpid()}.{name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise

"""The files of a store: plan and manifest, shards, and who may write them."""

import contextlib
import hashlib
import json
import os
import socket
import time

import numpy as np

from keras_kd._common.files import replacing

PLAN, MANIFEST, INDEX = "plan.json", "manifest.json", "index.npy"
VERSION = 1
SILENT = 600.0  # seconds after which a claim is of a process that is gone


def shard_name(view, part):
    return f"view_{view:05d}_part_{part:05d}"


class Folder:
    """Reads and writes the files of one store. All names in it are made here.

    A manifest names no files, so that none leads out of the folder; arrays are read
    without pickle.
    """

    def __init__(self, path):
        self.path = os.fspath(path)

    def _file(self, name):
        return os.path.join(self.path, name)

    def names(self):
        return set(os.listdir(self.path))

    def remove_shards_but(self, format_name):
        """Remove shards of a format that was too coarse, and what killed runs left."""
        for name in self.names():
            parts = name.split(".")
            with contextlib.suppress(FileNotFoundError):
                age = time.time() - os.path.getmtime(self._file(name))
                other = parts[0].startswith("view_") and parts[1] != format_name
                if other or (not parts[0] and age > SILENT):
                    os.remove(self._file(name))

    def has(self, name):
        return os.path.exists(self._file(name))

    def write_json(self, name, content):
        with replacing(self._file(name)) as path, open(path, "w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def read_json(self, name):
        try:
            with open(self._file(name)) as file:
                return json.load(file)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(
                f"{self._file(name)} is damaged: {error}. Delete it and write the "
                "store once more into the same folder: what is there stays."
            ) from error

    def create_json(self, name, content):
        """Write a file unless there is one; what stands there then."""
        own = f".{name}.{socket.gethostname()}.{os.getpid()}"
        self.write_json(own, content)
        try:
            os.link(self._file(own), self._file(name))  # whole, and never twice
        except FileExistsError:
            pass
        except OSError:  # a disk without links: two processes may both write it
            if not self.has(name):
                self.write_json(name, content)
        finally:
            os.remove(self._file(own))
        return self.read_json(name)

    def write_sealed(self, name, content):
        """Write JSON with a checksum of itself."""
        self.write_json(name, sealed(content))

    def read_sealed(self, name):
        """What `write_sealed` wrote, None where there is nothing."""
        content = self.read_json(name)
        if content is not None and content != sealed(content):
            raise ValueError(
                f"{self._file(name)} is damaged: it is not what its own checksum says. "
                "Delete it and write the store once more into the same folder: what is "
                "there stays."
            )
        return content

    def write_array(self, name, array):
        """Write `name` and give its SHA-256."""
        with replacing(self._file(name)) as path:
            with open(path, "wb") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            return sha256_of(path)

    def open_array(self, name):
        """The array, mapped into memory."""
        try:
            return np.load(self._file(name), mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"The store {self.path} lacks {name}. Copy the file again, or write "
                "the store once more into the same folder: what is there stays."
            ) from None
        except ValueError as error:
            raise ValueError(
                f"{self._file(name)} is damaged: {error}. Delete it and write the "
                "store once more into the same folder: what is there stays."
            ) from error

    def checksum(self, name):
        return sha256_of(self._file(name))

    @contextlib.contextmanager
    def claimed(self, shard):
        """Give whether this process may write a shard; nobody else does meanwhile."""
        file = self._file(f".{shard}.claim")
        owner = {"host": socket.gethostname(), "process": os.getpid()}
        if _is_abandoned(file):
            with contextlib.suppress(FileNotFoundError):
                os.remove(file)
        try:
            with open(file, "x") as claim:
                json.dump(owner, claim)
        except FileExistsError:
            yield None
            return
        try:
            yield lambda: os.utime(file)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(file)


def _is_abandoned(file):
    """Whether the process that claimed a shard is gone.

    Should it be there after all, two processes write the same bytes one after the
    other: that costs time and nothing else.
    """
    try:
        silent = time.time() - os.path.getmtime(file)
        with open(file) as claim:
            owner = json.load(claim)
    except FileNotFoundError:
        return False
    except ValueError:  # killed, or at this very moment, between creating and writing
        return silent > 5.0
    if owner.get("host") != socket.gethostname():
        return silent > SILENT
    try:
        os.kill(int(owner["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(owner["process"]) == os.getpid() and silent > SILENT


def sealed(content):
    """The dict with the SHA-256 of the rest of it under "sha256"."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True)
    return {**rest, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

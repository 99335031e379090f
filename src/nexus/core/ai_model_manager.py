"""The models of this machine, from Python: choose one, load it, answer with it.

A thin layer over libnexus (through ctypes) and `nexus … --json`; it needs nothing but Python 3.9.

    from nexus.core.ai_model_manager import select_optimal_model, load_mlx_model
    choice = select_optimal_model("chat", available_memory_gb=16)
    with load_mlx_model(choice.path) as model:
        print(model.chat("What is the capital of France?", temperature=0))

The library and the program are found beside this source (build/), in NEXUS_LIBRARY and NEXUS_BIN, or
where the system installs them.
"""
from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

__all__ = ["Candidate", "MemoryReport", "Model", "NexusError", "Selection", "list_models",
           "load_mlx_model", "optimize_for_unified_memory", "select_optimal_model"]

_ROOT = Path(__file__).resolve().parents[3]


class NexusError(RuntimeError):
    """What the program or the library says went wrong."""


# ---- the program ----


def _program() -> str:
    given = os.environ.get("NEXUS_BIN")
    for path in (given, str(_ROOT / "build" / "nexus"), shutil.which("nexus")):
        if path and os.access(path, os.X_OK):
            return path
    raise NexusError("the program nexus was not found: build it (./quickstart), or set NEXUS_BIN")


def _ask(*args: str, accept: tuple[int, ...] = (0,)) -> Any:
    r = subprocess.run([_program(), args[0], "--json", *args[1:]], capture_output=True, stdin=subprocess.DEVNULL,
                       check=False)
    if r.returncode not in accept or not r.stdout:
        raise NexusError(r.stderr.decode("utf-8", "replace").strip().removeprefix("nexus: "))
    return json.loads(r.stdout)


# ---- choosing ----


@dataclass(frozen=True)
class Candidate:
    """A model that was considered."""

    model: str
    path: str
    format: str
    parameters: int
    memory_bytes: int
    fits: bool
    score: float
    note: str


@dataclass(frozen=True)
class Selection:
    """What was chosen, and why. `model` is None where nothing suits; `pull` then names what to fetch."""

    model: Optional[str]
    path: Optional[str]
    reason: str
    pull: Optional[str]
    candidates: list[Candidate] = field(default_factory=list)


def select_optimal_model(task: str = "chat", available_memory_gb: Optional[float] = None,
                         folder: Union[str, Path, None] = None, context: int = 4096) -> Selection:
    """The best model for a task ("chat", "code", "reason", "embed", "vision", "transcribe", "small")
    within so much memory (what is free now, if None), among those of a folder or of all stores."""
    args = ["select", "--task", task, "--context", str(context)]
    if available_memory_gb is not None:
        args += ["--memory", repr(float(available_memory_gb))]
    if folder is not None:
        args += ["--dir", os.fspath(folder)]
    got = _ask(*args, accept=(0, 1))
    names = Candidate.__dataclass_fields__
    return Selection(got["model"], got["path"], got["reason"], got["pull"],
                     [Candidate(**{k: c[k] for k in names}) for c in got["candidates"]])


def list_models(*folders: Union[str, Path], mlx_only: bool = False) -> list[dict[str, Any]]:
    """The models in folders, or in all stores: the objects of `nexus models --json`."""
    return _ask("models", *map(os.fspath, folders), *(["--mlx"] if mlx_only else []))["models"]


# ---- memory ----


@dataclass(frozen=True)
class MemoryReport:
    """How memory stands, and what was measured of loading."""

    total_bytes: int
    available_bytes: int
    reserve_bytes: int          # left to the desktop and the rest
    copies_when_loading: bool   # False: arrays stand on the mapped files
    engine: str
    advice: list[str]


def optimize_for_unified_memory() -> MemoryReport:
    """Measures whether loading copies, and says what makes best use of the memory there is.

    Nothing has to be switched on: weights are mapped, and pages are shared by all processes. What can
    be done better is in `advice`.
    """
    got = _ask("doctor", accept=(0, 1))
    memory, engine = got["memory"], got["engine"]
    advice = [c["text"] for c in got["checks"] if c["status"] != "ok"]
    return MemoryReport(memory["total"], memory["available"], memory["reserve"],
                        not engine["shares_memory"], engine["name"], advice)


# ---- the library ----


class _Message(ctypes.Structure):
    _fields_ = [("role", ctypes.c_char_p), ("content", ctypes.c_char_p)]


def _load_library() -> ctypes.CDLL:
    given = os.environ.get("NEXUS_LIBRARY")
    beside = Path(os.environ["NEXUS_BIN"]).parent if os.environ.get("NEXUS_BIN") else _ROOT / "build"
    names = [given, str(beside / "libnexus.so"), str(beside / "libnexus.dylib"), "libnexus.so.0",
             "libnexus.dylib"]
    for name in names:
        if not name or (os.sep in name and not os.path.exists(name)):
            continue
        try:
            lib = ctypes.CDLL(name)
        except OSError:
            continue
        lib.nexus_error_message.restype = ctypes.c_char_p
        lib.nexus_version.restype = ctypes.c_char_p
        lib.nexus_model_load.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
        lib.nexus_model_free.argtypes = [ctypes.c_void_p]
        lib.nexus_render.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Message), ctypes.c_size_t,
                                     ctypes.POINTER(ctypes.c_void_p)]
        lib.nexus_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_bool,
                                       ctypes.c_bool, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32)),
                                       ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p]
        lib.nexus_free.argtypes = [ctypes.c_void_p]
        return lib
    raise NexusError("libnexus was not found: build it (./quickstart), or set NEXUS_LIBRARY")


_library: Optional[ctypes.CDLL] = None


def _lib() -> ctypes.CDLL:
    global _library
    if _library is None:
        _library = _load_library()
    return _library


def _check(status: int) -> None:
    if status:
        raise NexusError(_lib().nexus_error_message().decode("utf-8", "replace"))


class Model:
    """A loaded model: its tokenizer and chat template in this process, answers by the program."""

    def __init__(self, path: str, info: dict[str, Any]):
        self.path, self.info = path, info
        self._handle = ctypes.c_void_p()
        _check(_lib().nexus_model_load(os.fsencode(path), None, ctypes.byref(self._handle)))

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the memory back. A closed model may be closed again."""
        if self._handle:
            _lib().nexus_model_free(self._handle)
            self._handle = ctypes.c_void_p()

    def _open(self) -> ctypes.c_void_p:
        if not self._handle:
            raise NexusError("the model is closed")
        return self._handle

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens around it."""
        raw, ids, n = text.encode(), ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        _check(_lib().nexus_tokenize(self._open(), raw, len(raw), False, False, ctypes.byref(ids),
                                     ctypes.byref(n), None))
        try:
            return ids[:n.value]
        finally:
            _lib().nexus_free(ids)

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt that the model's own chat template makes of a conversation."""
        array = (_Message * len(messages))(*[(m["role"].encode(), m["content"].encode()) for m in messages])
        out = ctypes.c_void_p()
        _check(_lib().nexus_render(self._open(), array, len(messages), ctypes.byref(out)))
        try:
            return ctypes.string_at(out.value or 0).decode("utf-8", "replace")
        finally:
            _lib().nexus_free(out)

    def chat(self, prompt: str, *, system: Optional[str] = None, max_tokens: int = 0,
             temperature: float = 0.7, seed: int = 0) -> str:
        """The answer to one message."""
        args = ["run", self.path, "--temp", repr(float(temperature)), "--max-tokens", str(max_tokens),
                "--seed", str(seed)]
        if system is not None:
            args += ["--system", system]
        self._open()
        return _ask(*args, "--", prompt)["text"]


def load_mlx_model(model_path: Union[str, Path], quantized: bool = True) -> Model:
    """Loads an MLX folder (or any model nexus runs). With quantized=True a model that is stored in 16
    bits or more is refused when a quantized one was asked for: it would take a multiple of the memory."""
    info = _ask("info", os.fspath(model_path))
    bits = float(info["bits_per_weight"])
    if quantized and bits >= 15:
        raise NexusError(f"{info['name']} is not quantized ({bits:.1f} bits a weight): pass "
                         "quantized=False to load it all the same, or take a quantized one")
    return Model(info["path"], info)

"""The file of a model: safetensors, with the description in its header."""

import hashlib
import json
import re

from sklunlearn.exceptions import ModelFileError

__all__ = ["FORMAT_VERSION", "pack", "unpack"]

FORMAT_VERSION = 1

_FORMAT = "sklunlearn model"
_BLANK = b"0" * 64
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')


def pack(description, tensors):
    """Content of the file.

    Parameters
    ----------
    description : dict
        Of JSON's types.
    tensors : dict of str to torch.Tensor
        On the CPU.

    Returns
    -------
    data : bytes
        Its digest is that of all other bytes.
    """
    metadata = {
        "format": _FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": json.dumps(description, allow_nan=False),
        "digest": _BLANK.decode(),
    }
    data = _import_safetensors().save(tensors, metadata)
    start = _find_digest(data[: _header_end(data)])
    return data[:start] + _digest(data, start).encode() + data[start + 64 :]


def unpack(data, path):
    """Description and tensors of a file's content; ModelFileError if anything is wrong with it."""
    if not data:
        raise ModelFileError(
            f"The file {path} is empty: it was never written, or its writing was cut short by "
            "something other than save_model. Take a copy of it, or save the model again."
        )
    header = data[8 : _header_end(data)]
    try:
        metadata = json.loads(header)["__metadata__"]
        version, model = int(metadata["format_version"]), metadata["model"]
        known = metadata["format"] == _FORMAT and version > 0 and isinstance(model, str)
    except (ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        raise ModelFileError(
            f"{path} is not a model that save_model has written, or its beginning is damaged. "
            "load_model reads no pickles, no torch.save files and no safetensors files of other "
            "programs: read those with what wrote them."
        )
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {version}, this release of sklunlearn reads versions up "
            f"to {FORMAT_VERSION}: install a newer release."
        )
    start = _find_digest(data[: _header_end(data)])
    if start is None or data[start : start + 64] != _digest(data, start).encode():
        raise ModelFileError(
            f"{path} is not as save_model wrote it: its content does not have the SHA-256 digest "
            "that it states. It was cut short, damaged or edited; take another copy of it."
        )
    from safetensors import SafetensorError

    try:
        description, tensors = json.loads(model), _import_safetensors().load(data)
        if not isinstance(description, dict):
            raise ValueError("the description is no JSON object")
        return description, tensors
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} holds what cannot be read: {error}.") from error


def _import_safetensors():
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "Model files need safetensors, which is not installed: "
            "pip install sklunlearn[persistence]"
        ) from error
    return safetensors.torch


def _header_end(data):
    return 8 + int.from_bytes(data[:8], "little")


def _find_digest(header):
    """Where the digest begins. In the JSON within the JSON, quotation marks are escaped."""
    found = _DIGEST.search(header)
    return found.start(1) if found else None


def _digest(data, start):
    """SHA-256 of all bytes, with zeros in the place of the digest."""
    digest = hashlib.sha256(data[:start])
    digest.update(_BLANK)
    digest.update(memoryview(data)[start + 64 :])
    return digest.hexdigest()

# SPDX-License-Identifier: MIT
"""Changes of valid files, blind ones and those that know the structure of a format."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from fuzz_targets import Target

from eqcalc import hdf5

Generator = np.random.Generator

#: Numbers that are none, too large, or of another kind.
EXTREMES = (
    *("nan", "inf", "-inf", "1e999", "-1", "0", "1e300", "-1e300", "1e-300", "1_0", "１２", "0x1F"),
    *("99999999999999999999", "1,5", "1e", "--5", "1e+", "1D400", "*****", "-0.0", "4294967296"),
    *(
        "-9223372036854775808",
        "1e30",
        "1e12",
        "2.5",
        "-3",
        "1.5.2",
        "",
        "''",
        "None",
        "true",
        "1e8",
    ),
)
#: Characters that text of users has, or should not have.
ODD = (
    "\0",
    "\ufeff",
    "\u202e",
    "é",
    "\r",
    "\x1a",
    "\x0c",
    "😀",
    '"',
    "'",
    "\\",
    "{",
    "<",
    "&",
    "#",
)
_NUMBER = re.compile(rb"-?\d+\.?\d*(?:[eE][-+]?\d+)?")


def changed(target: Target, generator: Generator) -> tuple[bytes, bytes, str]:
    """Return a valid content of a target, a changed one, and the name of the change."""
    data = target.seeds[generator.integers(len(target.seeds))]
    known = _STRUCTURAL.get(target.kind, ())
    if known and generator.random() < 0.5:
        change: Callable[..., bytes] = known[generator.integers(len(known))]
    else:
        blind = (*_BLIND, *(_TEXTUAL if target.kind not in _BINARY else ()))
        change = blind[generator.integers(len(blind))]
    found = data
    for _ in range(int(generator.integers(1, 4)) if generator.random() < 0.3 else 1):
        try:
            found = change(found, generator, target)
        except (AttributeError, TypeError, ValueError):
            break  # the change before has left another structure
    return data, found, change.__name__.strip("_")


# --- bytes ------------------------------------------------------------------------------


def _place(data: bytes, generator: Generator) -> int:
    # headers are at the start
    size = min(len(data), 600) if generator.random() < 0.3 else len(data)
    return int(generator.integers(max(size, 1)))


def _flip(data: bytes, generator: Generator, target: Target) -> bytes:
    found = bytearray(data)
    for _ in range(int(generator.integers(1, 9))):
        if found:
            found[_place(data, generator)] ^= 1 << int(generator.integers(8))
    return bytes(found)


def _overwrite(data: bytes, generator: Generator, target: Target) -> bytes:
    start, length = _place(data, generator), int(generator.integers(1, 65))
    filling = (b"\0", b"\xff", b" ", b"9", generator.bytes(1))[generator.integers(5)]
    return data[:start] + filling * len(data[start : start + length]) + data[start + length :]


def _cut(data: bytes, generator: Generator, target: Target) -> bytes:
    return data[: _place(data, generator)]


def _delete(data: bytes, generator: Generator, target: Target) -> bytes:
    start, length = _place(data, generator), int(generator.integers(1, 200))
    return data[:start] + data[start + length :]


def _splice(data: bytes, generator: Generator, target: Target) -> bytes:
    other = target.seeds[generator.integers(len(target.seeds))]
    start = int(generator.integers(max(len(other), 1)))
    piece = other[start : start + int(generator.integers(1, 500))]
    at = _place(data, generator)
    return data[:at] + piece + data[at:]


def _repeat(data: bytes, generator: Generator, target: Target) -> bytes:
    start, length = _place(data, generator), int(generator.integers(1, 300))
    times = int(generator.choice([2, 3, 50, 2000]))
    return data[:start] + data[start : start + length] * times + data[start + length :]


def _double(data: bytes, generator: Generator, target: Target) -> bytes:
    return data + data


# --- text -------------------------------------------------------------------------------


def _extreme(data: bytes, generator: Generator, target: Target) -> bytes:
    numbers = list(_NUMBER.finditer(data))
    if not numbers:
        return data
    match = numbers[generator.integers(len(numbers))]
    new = EXTREMES[generator.integers(len(EXTREMES))].encode()
    return data[: match.start()] + new + data[match.end() :]


def _lines(data: bytes, generator: Generator, target: Target) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 3:
        return data
    i, j = sorted(int(k) for k in generator.integers(len(lines), size=2))
    kind = generator.integers(4)
    if kind == 0:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 1:
        del lines[i]
    elif kind == 2:
        lines.insert(j, lines[i])
    else:
        lines[i:j] = lines[i:j][::-1]
    return b"".join(lines)


def _character(data: bytes, generator: Generator, target: Target) -> bytes:
    at = _place(data, generator)
    return data[:at] + ODD[generator.integers(len(ODD))].encode() + data[at:]


def _long(data: bytes, generator: Generator, target: Target) -> bytes:
    at = _place(data, generator)
    piece = (b"a", b"1", b" ", b"[", b"((", b"=", b"1 ", b"\t", b'"')[generator.integers(9)]
    return data[:at] + piece * 100_000 + data[at:]


def _word(data: bytes, generator: Generator, target: Target) -> bytes:
    words = list(re.finditer(rb"\S+", data))
    if not words:
        return data
    match, other = (words[int(i)] for i in generator.integers(len(words), size=2))
    new = b"" if generator.random() < 0.3 else other.group()
    return data[: match.start()] + new + data[match.end() :]


def _encoding(data: bytes, generator: Generator, target: Target) -> bytes:
    text = data.decode("utf-8", "replace")
    kinds = ("utf-16", "utf-8-sig", "utf-16-le", "utf-32", "utf-7")
    encoded = text.encode(kinds[generator.integers(len(kinds))])
    return encoded[: len(encoded) - int(generator.integers(3))]


def _ends(data: bytes, generator: Generator, target: Target) -> bytes:
    return data.replace(b"\n", (b"\r", b"\r\n", b"\n\n", b" ", b"\0\n")[generator.integers(5)])


# --- values of a tree ---------------------------------------------------------------------


def _odd_value(generator: Generator) -> Any:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    values = [None, True, -1, 0, 1e300, float("nan"), float("inf"), "", "x", [], {}, [1, 2], 10**30]
    values += [deep, {"a": 1}, "1e5", -1e-300, "x" * 10_000, [[]], [None], 2**63, 0.5, 1e30]
    return values[generator.integers(len(values))]


def _edit(tree: Any, generator: Generator) -> Any:
    """Return a tree in which one item is changed, removed, renamed or added."""
    if isinstance(tree, dict) and tree and generator.random() < 0.9:
        key = list(tree)[generator.integers(len(tree))]
        kind = generator.integers(6)
        if kind == 0:
            return {k: v for k, v in tree.items() if k != key}
        if kind == 1:
            return {(f"{k}x" if k == key else k): v for k, v in tree.items()}
        if kind == 2:
            return {**tree, "extra": _odd_value(generator)}
        return {**tree, key: _edit(tree[key], generator)}
    if isinstance(tree, list) and tree and generator.random() < 0.7:
        at = int(generator.integers(len(tree)))
        kind = generator.integers(3)
        if kind == 0:
            return tree[:at] + tree[at + 1 :]
        if kind == 1:
            return [*tree, tree[at]]
        return [*tree[:at], _edit(tree[at], generator), *tree[at + 1 :]]
    return _odd_value(generator)


def _json_lines(data: bytes, generator: Generator, target: Target) -> bytes:
    lines = data.splitlines()
    at = int(generator.integers(len(lines)))
    try:
        lines[at] = json.dumps(_edit(json.loads(lines[at]), generator)).encode()
    except ValueError:
        return data
    return b"\n".join(lines) + b"\n"


def _yaml(data: bytes, generator: Generator, target: Target) -> bytes:
    try:
        tree = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError):
        return data
    return yaml.safe_dump(_edit(tree, generator), allow_unicode=True).encode()


def _yaml_bomb(data: bytes, generator: Generator, target: Target) -> bytes:
    levels = int(generator.integers(3, 12))
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for i in range(levels):
        text += f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n"
    return data + text.encode()


def _xml(data: bytes, generator: Generator, target: Target) -> bytes:
    tags = list(re.finditer(rb"<[^!?][^>]*>|>[^<]+<|\"[^\"]*\"", data))
    if not tags:
        return data
    match, other = (tags[int(i)] for i in generator.integers(len(tags), size=2))
    kind = generator.integers(4)
    if kind == 0:
        return data[: match.start()] + data[match.end() :]
    if kind == 1:
        return data[: match.start()] + other.group() + data[match.end() :]
    if kind == 2:
        value = str(_odd_value(generator)).encode()
        return data[: match.start() + 1] + value + data[match.end() - 1 :]
    entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(8))
    bomb = f'<!DOCTYPE s [<!ENTITY e0 "x">{entities}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    entity = (b"&e8;", b"&f;")[generator.integers(2)]
    return bomb.encode() + data[: match.end()] + entity + data[match.end() :]


# --- archives -----------------------------------------------------------------------------


def _odd_array(array: np.ndarray, generator: Generator) -> np.ndarray:
    """Return an array of another shape or type, or with other values."""
    kind = generator.integers(9)
    if kind == 0:
        return array.reshape(-1)[: int(generator.integers(array.size + 1))]
    if kind == 1:
        return array.T
    if kind == 2:
        types = ("f2", "i1", "u8", "c16", "S5", "U3", "?", "f4", "i8")
        with np.errstate(all="ignore"):
            return array.astype(types[generator.integers(len(types))])
    if kind == 3:
        return array[None]
    if kind == 4:
        return np.array(_odd_value(generator) if generator.random() < 0.0 else 0)
    if kind == 5:
        return np.concatenate([array.reshape(-1), array.reshape(-1)])
    if array.dtype.kind not in "fiu" or not array.size:
        return array[:0]
    found = array.astype(float).reshape(-1)
    values = (np.nan, np.inf, 1e300, -1.0, 0.0, 1e11, 0.5, -1e300)
    found[generator.integers(found.size)] = values[generator.integers(len(values))]
    return found.reshape(array.shape)


def _npz(data: bytes, generator: Generator, target: Target) -> bytes:
    try:
        with np.load(io.BytesIO(data)) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception:  # changed before
        return data
    name = list(arrays)[generator.integers(len(arrays))]
    kind = generator.integers(5)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays["extra"] = arrays[name]
    elif kind == 2:
        arrays[name] = np.array([{"a": 1}, None], dtype=object)
    else:
        arrays[name] = _odd_array(arrays[name], generator)
    packed = io.BytesIO()
    (np.savez_compressed if generator.random() < 0.5 else np.savez)(packed, **arrays)
    return packed.getvalue()


def _npz_shape(data: bytes, generator: Generator, target: Target) -> bytes:
    """Return an archive whose headers promise more than there is, or unpack to far more."""
    packed = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w", 8) as new:
            names = old.namelist()
            wrong = names[generator.integers(len(names))]
            for name in names:
                content = old.read(name)
                if name == wrong and generator.random() < 0.5:
                    shape = (b"(99999999999,)", b"(-1, 3)", b"(1e9,)", b"(3,)*99")
                    new_shape = shape[generator.integers(4)]
                    header = re.sub(rb"\([^)]*\)", new_shape, content[10:128], count=1)
                    header = header.rstrip(b" \n").ljust(117) + b"\n"
                    content = content[:8] + struct.pack("<H", len(header)) + header + content[128:]
                elif name == wrong:
                    content += b"\0" * 300_000_000
                new.writestr(name, content)
    except Exception:  # changed before
        return data
    return packed.getvalue()


def _safetensors(data: bytes, generator: Generator, target: Target) -> bytes:
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return data
    kind = generator.integers(4)
    metadata = header.get("__metadata__", {})
    if kind == 0 and isinstance(metadata, dict) and metadata:
        key = list(metadata)[generator.integers(len(metadata))]
        try:
            value = json.dumps(_edit(json.loads(metadata[key]), generator))
        except ValueError:
            value = str(_odd_value(generator))
        header["__metadata__"] = {**metadata, key: value}
    elif kind == 1:
        return (2 ** int(generator.integers(64))).to_bytes(8, "little") + data[8:]
    else:
        header = _edit(header, generator)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _sqlite(data: bytes, generator: Generator, target: Target) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        Path(file.name).write_bytes(data)
        try:
            connection = sqlite3.connect(file.name)
            columns = [row[1] for row in connection.execute("pragma table_info(systems)")]
            column = columns[generator.integers(len(columns))]
            value = _odd_value(generator)
            if not isinstance(value, float | str | None):
                value = generator.bytes(int(generator.integers(100)))
            connection.execute(f"update systems set {column} = ? where id = 2", (value,))
            connection.commit()
            connection.close()
        except sqlite3.Error:
            return data
        return Path(file.name).read_bytes()


# --- HDF5 -----------------------------------------------------------------------------------


def _hdf5(data: bytes, generator: Generator, target: Target) -> bytes:
    """Change an item or attribute; files of eqcalc are sealed again, or not."""
    with tempfile.NamedTemporaryFile(suffix=".h5") as file:
        path = Path(file.name)
        path.write_bytes(data)
        try:
            with h5py.File(path, "r+") as opened:
                _edit_hdf5(opened, generator)
            if target.sealed and generator.random() < 0.7:
                hdf5.seal(path)
        except Exception:  # h5py refuses some changes
            return data
        return path.read_bytes()


def _edit_hdf5(file: h5py.File, generator: Generator) -> None:
    items: list[Any] = [file]
    file.visititems(lambda name, item: items.append(item))
    item = items[generator.integers(len(items))]
    kind = generator.integers(10)
    if kind < 4 and len(item.attrs):
        name = list(item.attrs)[generator.integers(len(item.attrs))]
        value = item.attrs[name]
        choice = generator.integers(4)
        if choice == 0:
            del item.attrs[name]
        elif choice == 1 and isinstance(value, str) and value.startswith(("{", "[")):
            item.attrs[name] = json.dumps(_edit(json.loads(value), generator))
        elif choice == 2:
            item.attrs[name] = (-1.0, np.nan, 0, "", "ps", "Hartree", 1e300, [1, 2])[
                generator.integers(8)
            ]
        else:
            item.attrs[name] = np.array([b"x", b"yy"])
        return
    if item is file:
        item = items[-1]
    name, parent = item.name, item.parent
    if kind == 4:
        del parent[name]
    elif kind == 5:
        del parent[name]
        parent[name] = (
            h5py.ExternalLink("/etc/passwd", "x"),
            h5py.SoftLink(name),
            h5py.SoftLink("/"),
        )[generator.integers(3)]
    elif kind == 6:
        del parent[name]
        parent.create_dataset(name, shape=(10**6, 10**6), dtype="f8", chunks=(1000, 1000))
    elif kind == 7:
        parent.move(name, f"{name}x")
    elif isinstance(item, h5py.Dataset):
        attributes, array = dict(item.attrs), _odd_array(item[()], generator)
        del parent[name]
        parent[name] = array
        parent[name].attrs.update(attributes)
    else:
        del parent[name]
        parent[name] = np.arange(3)


_BINARY = ("hdf5", "npz", "safetensors", "sqlite")
_BLIND = (_flip, _overwrite, _cut, _delete, _splice, _repeat, _double)
_TEXTUAL = (_extreme, _extreme, _extreme, _lines, _character, _long, _word, _encoding, _ends)
_STRUCTURAL: dict[str, tuple[Callable[..., bytes], ...]] = {
    "hdf5": (_hdf5,),
    "npz": (_npz, _npz, _npz_shape),
    "safetensors": (_safetensors,),
    "sqlite": (_sqlite,),
    "json": (_json_lines,),
    "yaml": (_yaml, _yaml, _yaml, _yaml_bomb),
    "xml": (_xml,),
}

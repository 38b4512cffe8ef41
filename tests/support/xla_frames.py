"""What XLA hands to a function of others, made by hand: the structures of xla/ffi/api/c_api.h."""

import ctypes as c

import numpy as np

from rnncore._core import core

TYPES = {"f4": 11, "f8": 12, "i4": 4, "i8": 5}
EXECUTE, INITIALIZE = 3, 2


class Head(c.Structure):
    _fields_ = (("size", c.c_size_t), ("extension", c.c_void_p))


class Version(c.Structure):
    _fields_ = (("head", Head), ("major", c.c_int), ("minor", c.c_int))


class Error(c.Structure):
    _fields_ = (("head", Head), ("message", c.c_char_p), ("code", c.c_int))


MAKE_ERROR = c.CFUNCTYPE(c.c_void_p, c.POINTER(Error))


class Api(c.Structure):
    _fields_ = (
        ("head", Head), ("version", Version), ("internal", c.c_void_p), ("make_error", MAKE_ERROR),
    )  # fmt: skip


class Buffer(c.Structure):
    _fields_ = (
        ("head", Head), ("type", c.c_int), ("data", c.c_void_p), ("axes", c.c_int64),
        ("sizes", c.POINTER(c.c_int64)),
    )  # fmt: skip


class Array(c.Structure):
    _fields_ = (("type", c.c_int), ("count", c.c_size_t), ("data", c.c_void_p))


class List(c.Structure):
    _fields_ = (
        ("head", Head), ("count", c.c_int64), ("types", c.POINTER(c.c_int)),
        ("items", c.POINTER(c.c_void_p)),
    )  # fmt: skip


class Text(c.Structure):
    _fields_ = (("at", c.c_char_p), ("length", c.c_size_t))


class Attributes(c.Structure):
    _fields_ = (
        ("head", Head), ("count", c.c_int64), ("types", c.POINTER(c.c_int)),
        ("names", c.POINTER(c.POINTER(Text))), ("items", c.POINTER(c.c_void_p)),
    )  # fmt: skip


class Frame(c.Structure):
    _fields_ = (
        ("head", Head), ("api", c.POINTER(Api)), ("context", c.c_void_p), ("stage", c.c_int),
        ("arguments", List), ("results", List), ("attributes", Attributes), ("future", c.c_void_p),
    )  # fmt: skip


class Metadata(c.Structure):
    _fields_ = (("size", c.c_size_t), ("version", Version), ("traits", c.c_uint32))


class MetadataQuery(c.Structure):
    _fields_ = (
        ("size", c.c_size_t), ("type", c.c_int), ("next", c.c_void_p),
        ("metadata", c.POINTER(Metadata)),
    )  # fmt: skip


def handler(minor: int = 3):
    pointer = c.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = c.c_void_p, (c.py_object, c.c_char_p)
    return c.CFUNCTYPE(c.c_void_p, c.POINTER(Frame))(pointer(core.handler(minor), None))


class Call:
    """A call with these arrays: `arguments` and `results`, which are written to."""

    def __init__(self, arguments, results, asked, reals):
        self.said, self.held = None, []
        self.api = Api(Head(c.sizeof(Api)), Version(Head(c.sizeof(Version)), 0, 3))
        self.api.make_error = MAKE_ERROR(self._make_error)
        self.arguments = [self.buffer(each) for each in arguments]
        self.results = [self.buffer(each) for each in results]
        self.attributes = {"a": np.array(asked, np.int64), "r": np.array(reals, np.float64)}
        self.stage = EXECUTE

    def _make_error(self, error):
        self.said = error.contents.message.decode(), error.contents.code
        return 1

    def buffer(self, array):
        sizes = (c.c_int64 * array.ndim)(*array.shape)
        self.held.append(array)
        head = Head(c.sizeof(Buffer))
        return Buffer(head, TYPES[array.dtype.str[1:]], array.ctypes.data, array.ndim, sizes)

    def _list(self, buffers):
        pointers = [c.cast(c.pointer(each), c.c_void_p) for each in buffers]
        types = (c.c_int * len(buffers))(*[1] * len(buffers))
        items = (c.c_void_p * len(buffers))(*[each.value for each in pointers])
        self.held += [types, items, buffers]
        return List(Head(c.sizeof(List)), len(buffers), types, items)

    def _attributes(self):
        names, items = [], []
        for name, values in sorted(self.attributes.items()):
            own = Array(TYPES[values.dtype.str[1:]], values.size, values.ctypes.data)
            text = Text(name.encode(), len(name))
            self.held += [own, text]
            items.append(c.addressof(own))
            names.append(c.pointer(text))
        n = len(items)
        types, names = (c.c_int * n)(*[1] * n), (c.POINTER(Text) * n)(*names)
        items = (c.c_void_p * n)(*items)
        self.held += [types, names, items]
        return Attributes(Head(c.sizeof(Attributes)), n, types, names, items)

    def frame(self):
        frame = Frame(Head(Frame.future.offset), c.pointer(self.api), None, self.stage)
        frame.arguments, frame.results = self._list(self.arguments), self._list(self.results)
        frame.attributes = self._attributes()
        return frame

    def run(self, frame=None):
        """What was said: None, or a message and its code."""
        self.said = None
        returned = handler()(c.byref(frame or self.frame()))
        assert (returned is None) == (self.said is None)
        return self.said

"""A manager of units on a bus that is not ours: answers what a node asks of systemd, in bytes written here.

    manager.py SOCKET UNIT FRAGMENT

It takes the name `org.freedesktop.systemd1` and says `ready`; it tells each process that its unit is UNIT.
"""

import os
import socket
import struct
import sys

BUS = "org.freedesktop.DBus"


def padded(data, to):
    return data + b"\0" * (-len(data) % to)


def text(value):
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw + b"\0"


def message(kind, serial, fields, signature="", body=b""):
    if signature:
        fields = [*fields, (8, "g", signature)]
    out = b""
    for code, sort, value in fields:
        out = padded(out, 8) + bytes([code, 1]) + sort.encode() + b"\0"
        if sort == "u":
            out = padded(out, 4) + struct.pack("<I", value)
        elif sort == "g":
            out += bytes([len(value)]) + value.encode() + b"\0"
        else:
            out = padded(out, 4) + text(value)
    head = b"l" + bytes([kind, 0, 1]) + struct.pack("<III", len(body), serial, len(out))
    return padded(head + out, 8) + body


def read(stream):
    head = stream.read(16)
    assert len(head) == 16, "the bus hung up"
    body, _, length = struct.unpack("<III", head[4:])
    fields = stream.read(length + -length % 8)
    found, at = {}, 0
    while at < length:
        at += -at % 8
        code, sort = fields[at], chr(fields[at + 2])
        at += 4
        if sort == "g":
            found[code] = fields[at + 1 : at + 1 + fields[at]].decode()
            at += fields[at] + 2
            continue
        at += -at % 4
        (value,) = struct.unpack_from("<I", fields, at)
        at += 4
        if sort == "u":
            found[code] = value
        else:
            found[code] = fields[at : at + value].decode()
            at += value + 1
    (serial,) = struct.unpack("<I", head[8:12])
    return head[1], serial, found, stream.read(body)


def main(path, unit, fragment):
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    stream = link.makefile("rb")
    link.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
    assert stream.readline().startswith(b"OK ")
    link.sendall(b"BEGIN\r\n")
    place = [(1, "o", "/org/freedesktop/DBus"), (6, "s", BUS), (2, "s", BUS)]
    link.sendall(message(1, 1, [*place, (3, "s", "Hello")]))
    name = text("org.freedesktop.systemd1")
    wanted = padded(name, 4) + struct.pack("<I", 4)
    link.sendall(message(1, 2, [*place, (3, "s", "RequestName")], "su", wanted))
    serial = 2
    while True:
        kind, number, fields, body = read(stream)
        if kind == 2 and fields.get(5) == 2:
            assert body == struct.pack("<I", 1), "the name is another's"
            print("ready", flush=True)
        if kind != 1:
            continue
        to = [(5, "u", number), (6, "s", fields[7])]
        if fields[3] == "GetUnitByPID":
            asked = struct.unpack("<I", body[:4])[0]
            print(f"asked {asked}", flush=True)
            answer = ("o", text("/org/freedesktop/systemd1/unit/peer"))
        else:
            assert fields[3] == "Get" and fields[1].endswith("/peer"), fields
            wanted = unit if b"\x02\0\0\0Id\0" in body else fragment
            answer = ("v", b"\x01s\0" + b"\0" + text(wanted))
        serial += 1
        link.sendall(message(2, serial, to, *answer))


main(*sys.argv[1:])

"""A server for the scripts of this directory that takes pushes as Loki does, and remembers which lines it got."""

import http.server
import re
import socketserver
import sys
import threading
import zlib


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def snappy(data):
    """Decompresses snappy's block format."""
    _, at = varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind = tag & 3
        if kind == 0:
            length = tag >> 2
            if length >= 60:
                size = length - 59
                length = int.from_bytes(data[at : at + size], "little")
                at += size
            out += data[at : at + length + 1]
            at += length + 1
            continue
        if kind == 1:
            length, offset = ((tag >> 2) & 7) + 4, (tag >> 5) << 8 | data[at]
            at += 1
        else:
            size = 2 if kind == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(data[at : at + size], "little")
            at += size
        start = len(out) - offset
        if offset >= length:
            out += out[start : start + length]
        else:
            for n in range(length):
                out.append(out[start + n])
    return bytes(out)


def fields(message):
    """The fields of a protobuf message: pairs of number and value."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            value, at = varint(message, at)
        elif key & 7 == 2:
            length, at = varint(message, at)
            value, at = message[at : at + length], at + length
        else:
            raise ValueError(f"a field of wire type {key & 7} is not expected in a push")
        yield key >> 3, value


def entries(push):
    """The entries of a decompressed push: triples of labels, timestamp and line."""
    for _, stream in fields(push):
        labels = b""
        for field, value in fields(stream):
            if field == 1:
                labels = value
            elif field == 2:
                entry = dict(fields(value))
                yield labels, entry.get(1, b""), entry.get(2, b"")


class Loki:
    """Counts lines that contain `n=<number> f=<file> `, and ignores others. All repetitions count as `again`. Loki stores a line that comes
    again with the same labels and timestamp once, so only other repetitions count as `twice`. While `away` is set, it answers 500."""

    LINE = re.compile(rb"n=(\d+) f=(\d+) ")

    def __init__(self, port=0):
        self.seen, self.again, self.twice, self.away, self.lock = {}, 0, 0, False, threading.Lock()
        loki = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = 500 if loki.away else 204
                if status == 204:
                    loki.take(snappy(body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                # An agent that was killed leaves broken connections. Everything else is a fault of this script.
                if not isinstance(sys.exc_info()[1], ConnectionError):
                    super().handle_error(request, address)

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/loki/api/v1/push"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, push):
        with self.lock:
            for labels, timestamp, line in entries(push):
                match = self.LINE.search(line)
                if not match:
                    continue
                # A checksum instead of the labels and the timestamp: there may be a million lines.
                key, place = (int(match[2]), int(match[1])), zlib.crc32(labels + timestamp)
                if key not in self.seen:
                    self.seen[key] = place
                else:
                    self.again += 1
                    self.twice += self.seen[key] != place

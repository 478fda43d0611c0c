"""Sources of log lines for the scripts of this directory: each makes its lines, and gives them to an agent whose CPU time is measured."""

import http.server
import itertools
import json
import os
import random
import re
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HEAD = """
server: {http_listen_address: 127.0.0.1, http_listen_port: %(port)d, grpc_listen_port: 0, log_level: error}
positions: {filename: %(work)s/positions.yaml}
clients: [{url: 'http://127.0.0.1:%(sink)d/loki/api/v1/push'}]
scrape_configs:
"""
PODS = """
  - job_name: pods
    static_configs:
      - targets: [localhost]
        labels: {namespace: shop, __path__: '%(data)s/*.log'}
    pipeline_stages:
      - cri: {}
"""
FILES = PODS + """\
      - json: {expressions: {level: , time: , trace: trace_id, user: context.user}}
      - labels: {level: }
      - timestamp: {source: time, format: RFC3339Nano}
      - drop: {source: level, value: debug}
      - structured_metadata: {trace: , user: }
"""
SYSLOG = """
  - job_name: syslog
    syslog:
      listen_address: 127.0.0.1:%(listen)d
      labels: {job: syslog}
      use_incoming_timestamp: true
    relabel_configs:
      - {source_labels: [__syslog_message_hostname], target_label: host}
      - {source_labels: [__syslog_message_app_name], target_label: app}
      - {source_labels: [__syslog_message_severity], target_label: level}
"""
PUSH = """
  - job_name: push
    loki_push_api:
      server: {http_listen_address: 127.0.0.1, http_listen_port: %(listen)d, grpc_listen_port: 0}
      labels: {via: agent}
      use_incoming_timestamp: true
"""
DOCKER = """
  - job_name: containers
    docker_sd_configs: [{host: 'unix://%(work)s/docker.sock', refresh_interval: 5s}]
    relabel_configs:
      - {source_labels: [__meta_docker_container_name], regex: '/(.*)', target_label: container}
      - {source_labels: [__meta_docker_container_log_stream], target_label: stream}
"""
JOURNAL = """
  - job_name: journal
    journal: {path: %(data)s, max_age: 10000h, labels: {job: journal}}
    relabel_configs:
      - {source_labels: [__journal__systemd_unit], target_label: unit}
      - {source_labels: [__journal_priority_keyword], target_label: level}
"""

START = int(time.time()) - 600
LEVELS = ["info", "info", "info", "info", "info", "info", "info", "warn", "error", "debug"]
HOSTS = [f"node-{n}" for n in range(10)]
APPS = ["nginx", "sshd", "cron", "postgres", "kernel"]
SENDERS = {"syslog": 4, "push": 16}
PUSHED_AT_ONCE = 1_000
CONTAINERS = 10
PORTS = itertools.count(20_000 + random.randrange(20_000))


class Load:
    """What an agent is given to read. `config` are its scrape_configs; `kept` is how many entries it sends."""

    extra = ""  # of the config of fantail

    def __init__(self, source, data, lines):
        self.data, self.lines, self.kept = data, lines, lines
        self.prepare()

    def prepare(self):
        pass

    def begin(self, work, listen):
        """Called before the agent starts. Gives what runs until it has ended."""

    def send(self, listen):
        """Called when the agent listens."""


class Files(Load):
    config = FILES

    def prepare(self):
        """Lines as a container runtime writes them, all different."""
        self.kept = 0
        for number in range(CONTAINERS):
            with open(f"{self.data}/app-{number}.log", "w") as log:
                for i in range(share(self.lines, CONTAINERS, number)):
                    level = LEVELS[(i * 7 + number) % len(LEVELS)]
                    fields = {
                        "time": f"{stamp(i)[:-4]}{i * 7919 % 1_000_000:06}Z",
                        "level": level,
                        "msg": text(i),
                        "trace_id": f"{i * 2654435761 % 2**64:016x}{number:016x}",
                        "context": {"user": f"u{i * 17 % 5000}", "path": f"/shop/{i % 97}/cart", "took": i % 311 / 10},
                    }
                    log.write(f"{stamp(i)} stdout F {json.dumps(fields)}\n")
                    self.kept += level != "debug"


class Pods(Files):
    config = PODS

    def prepare(self):
        super().prepare()
        self.kept = self.lines


class Syslog(Load):
    config = SYSLOG

    def prepare(self):
        self.streams = []
        for number in range(SENDERS["syslog"]):
            stream = bytearray()
            for i in range(share(self.lines, SENDERS["syslog"], number)):
                severity = {"warn": 4, "error": 3, "debug": 7}.get(LEVELS[i % 10], 6)
                host, app = HOSTS[number], APPS[i % len(APPS)]
                line = f"<{16 * 8 + severity}>1 {stamp(i)[:-4]}Z {host} {app} {1000 + i % 7} - - {text(i)} user=u{i * 17 % 5000} took={i % 311}ms"
                stream += b"%d %s" % (len(line), line.encode())
            self.streams.append(bytes(stream))

    def send(self, listen):
        for stream in self.streams:
            threading.Thread(target=self.one, args=(stream, listen), daemon=True).start()

    def one(self, stream, listen):
        with connect(listen) as to:
            to.sendall(stream)


class Push(Load):
    config = PUSH

    def prepare(self):
        self.bodies = []
        for first in range(0, self.lines, PUSHED_AT_ONCE):
            streams = {}
            for i in range(first, min(first + PUSHED_AT_ONCE, self.lines)):
                at = field(1, bytes([8]) + varint(START + i // 1000) + bytes([16]) + varint(i % 1000 * 1_000_000 + 123456))
                line = f"{text(i)} user=u{i * 17 % 5000} took={i % 311}ms trace={i * 2654435761 % 2**64:016x}".encode()
                streams.setdefault(i % 5, bytearray()).extend(field(2, at + field(2, line)))
            labels = {n: f'{{app="{APPS[n]}", namespace="shop"}}'.encode() for n in streams}
            plain = b"".join(field(1, field(1, labels[n]) + entries) for n, entries in streams.items())
            # Snappy without compression: it is read in the same way, only faster, and needs no library here.
            self.bodies.append(varint(len(plain)) + bytes([63 << 2]) + (len(plain) - 1).to_bytes(4, "little") + plain)

    def send(self, listen):
        bodies = iter(self.bodies)
        lock = threading.Lock()
        for _ in range(SENDERS["push"]):
            threading.Thread(target=self.some, args=(bodies, lock, listen), daemon=True).start()

    def some(self, bodies, lock, listen):
        with connect(listen) as to:
            answers = to.makefile("rb")
            while True:
                with lock:
                    body = next(bodies, None)
                if body is None:
                    return
                head = f"POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
                status = None
                while status != b"204":
                    to.sendall(head.encode() + body)
                    status = answers.readline().split()[1]
                    length = 0
                    while (line := answers.readline().strip()) != b"":
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    answers.read(length)


class Docker(Load):
    config = DOCKER
    extra = "target_config: {read_roots: ['%(data)s']}\n"

    def __init__(self, source, data, lines):
        self.has_files = source == "docker-files"
        super().__init__(source, data, lines)

    def prepare(self):
        """As dockerd sends and writes them: with HTTP/1.1, each line is a chunk of its own in the answer."""
        self.logs = {}
        for number in range(CONTAINERS):
            frames, file = [], bytearray()
            for i in range(share(self.lines, CONTAINERS, number)):
                at, line = stamp(i), f"{text(i)} user=u{i * 17 % 5000} \"took\"={i % 311}ms\n"
                stream = 2 if LEVELS[i % 10] == "error" else 1
                payload = f"{at} {line}".encode()
                frame = bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload
                frames.append(frame)
                if self.has_files:
                    name = "stderr" if stream == 2 else "stdout"
                    file += json.dumps({"log": line, "stream": name, "time": at}, separators=(",", ":")).encode() + b"\n"
            id = f"{number:064x}"
            self.logs[id] = {"HTTP/1.0": b"".join(frames), "HTTP/1.1": b"".join(b"%x\r\n%s\r\n" % (len(f), f) for f in frames)}
            if self.has_files:
                folder = f"{self.data}/containers/{id}"
                os.makedirs(folder)
                with open(f"{folder}/{id}-json.log", "wb") as log:
                    log.write(file)

    def begin(self, work, listen):
        server = Engine(f"{work}/docker.sock", EngineRequest)
        server.load = self
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64  # a connection for each container at once; the kernel refuses more than this


class EngineRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        load = self.server.load
        path = re.sub(r"^/v[\d.]+", "", self.path.split("?")[0])
        id = path.split("/")[2] if path.count("/") > 2 else ""
        if path.endswith("/logs"):
            return self.stream("application/vnd.docker.multiplexed-stream", load.logs[id][self.request_version])
        if path == "/events":
            return self.stream("application/json", b"")
        answer = {
            "/_ping": "OK",
            "/info": {"DockerRootDir": load.data},
            "/containers/json": [
                {"Id": id, "Names": [f"/web-{n}"], "Image": "web:1", "State": "running", "Labels": {}, "HostConfig": {"NetworkMode": "b"},
                 "NetworkSettings": {"Networks": {"b": {"NetworkID": "b", "IPAddress": f"10.0.0.{n}"}}}}
                for n, id in enumerate(load.logs)
            ],
            "/networks": [{"Id": "b", "Name": "b", "Scope": "local", "Labels": {}}],
            f"/containers/{id}/json": {
                "Id": id, "Name": "/web", "LogPath": f"{load.data}/containers/{id}/{id}-json.log",
                "Config": {"Tty": False}, "State": {"Status": "running", "Running": True, "FinishedAt": "0001-01-01T00:00:00Z"},
                "HostConfig": {"LogConfig": {"Type": "json-file" if load.has_files else "local"}},
            },
        }[path]
        body = b"" if self.command == "HEAD" else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Api-Version", "1.43")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, kind, chunks):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if self.request_version != "HTTP/1.0":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self.connection.sendall(chunks)
            self.connection.recv(1)  # until the agent ends
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *_):
        pass


class Journal(Load):
    config = JOURNAL

    def prepare(self):
        remote = "/usr/lib/systemd/systemd-journal-remote"
        writer = subprocess.Popen([remote, "-o", f"{self.data}/remote.journal", "-"], stdin=subprocess.PIPE)
        boot, machine = "a" * 32, "b" * 32
        for i in range(self.lines):
            entry = {
                "__REALTIME_TIMESTAMP": (START * 1000 + i) * 1000, "__MONOTONIC_TIMESTAMP": 1_000_000 + i * 1000, "_BOOT_ID": boot,
                "_MACHINE_ID": machine, "_HOSTNAME": HOSTS[0], "PRIORITY": {"warn": 4, "error": 3, "debug": 7}.get(LEVELS[i % 10], 6),
                "_TRANSPORT": "syslog", "SYSLOG_IDENTIFIER": APPS[i % 5], "SYSLOG_FACILITY": 3, "_PID": 1000 + i % 50, "_UID": 0, "_GID": 0,
                "_COMM": APPS[i % 5], "_EXE": f"/usr/sbin/{APPS[i % 5]}", "_CMDLINE": f"/usr/sbin/{APPS[i % 5]} -f", "_CAP_EFFECTIVE": "1ffffffffff",
                "_SYSTEMD_CGROUP": f"/system.slice/{APPS[i % 5]}.service", "_SYSTEMD_UNIT": f"{APPS[i % 5]}.service",
                "_SYSTEMD_SLICE": "system.slice", "_SYSTEMD_INVOCATION_ID": f"{i % 5:032x}",
                "MESSAGE": f"{text(i)} user=u{i * 17 % 5000} took={i % 311}ms trace={i * 2654435761 % 2**64:016x}",
            }
            writer.stdin.write("".join(f"{name}={value}\n" for name, value in entry.items()).encode() + b"\n")
        writer.stdin.close()
        if writer.wait() != 0:
            sys.exit("systemd-journal-remote cannot write the journal")


LOADS = {"pods": Pods, "files": Files, "syslog": Syslog, "push": Push, "docker-files": Docker, "docker-api": Docker, "journal": Journal}


def share(lines, parts, number):
    return lines // parts + (number < lines % parts)


def stamp(i):
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START + i // 1000))
    return f"{at}.{i % 1000:03}123456Z"


def text(i):
    return f"order {i * 31 % 100_000} is {('paid', 'packed', 'on its way')[i % 3]} path=/shop/{i % 97}/cart"


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, value):
    return bytes([number << 3 | 2]) + varint(len(value)) + bytes(value)


def run(command, load, sink):
    """CPU seconds until all lines are sent, how long that took, and the most megabytes of memory."""
    port, listen = next(PORTS), next(PORTS)
    with tempfile.TemporaryDirectory(prefix="fantail-bench-") as work:
        config = os.path.join(work, "promtail.yaml")
        with open(config, "w") as file:
            extra = "" if "promtail" in command[0] else load.extra
            file.write((HEAD + load.config + extra) % {"port": port, "listen": listen, "work": work, "sink": sink, "data": load.data})
        served = load.begin(work, listen)
        began = time.monotonic()
        with open(os.path.join(work, "log"), "w") as log:
            agent = subprocess.Popen([*command, f"-config.file={config}"], stdout=log, stderr=log)
        load.send(listen)
        try:
            while (sent := entries_sent(port)) < load.kept:
                if agent.poll() is not None:
                    sys.exit(f"{command} ended:\n{open(os.path.join(work, 'log')).read()[-2000:]}")
                if time.monotonic() - began > 1800:
                    sys.exit(f"{command} has sent {sent} of {load.kept} entries in half an hour")
                time.sleep(0.1)
            took = time.monotonic() - began
            with open(f"/proc/{agent.pid}/stat") as file:
                times = file.read().rsplit(")", 1)[1].split()
            with open(f"/proc/{agent.pid}/status") as file:
                most = int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) // 1024
            if sent != load.kept:
                sys.exit(f"{command} has sent {sent} entries, and not {load.kept}")
            return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"), took, most
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait()
            if served:
                served.shutdown()
                served.server_close()


def entries_sent(port):
    try:
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    except OSError:
        return 0
    return int(sum(float(n) for n in re.findall(r"^promtail_sent_entries_total\S* (\S+)$", metrics, re.M)))


def connect(port):
    """A connection to the agent, once it listens."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            time.sleep(0.05)


def start_loki():
    """Starts a server that says 204 to everything. Gives its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Loki)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class Loki(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


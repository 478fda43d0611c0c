"""What the page's test runs: a Loki that can go away, programs that log, and the agent."""

import http.server
import json
import pathlib
import socket
import subprocess
import threading
import time
import urllib.request

SCRIPT = '<script>document.title="owned"</script><img src=x onerror=alert(1)>'


class Loki:
    """Accepts pushes, and can be away and come back on the same port."""

    def __init__(self):
        self.server = None
        self.port = free_port()
        self.come()

    def come(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True
            connections = set()

            def get_request(self):
                connection, address = super().get_request()
                self.connections.add(connection)
                return connection, address

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def go(self):
        self.server.shutdown()
        self.server.server_close()
        # Connections that are kept alive would still be answered.
        for connection in self.server.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server.connections.clear()


class Programs:
    """Programs that write their logs all the time."""

    def __init__(self, folder):
        self.folder, self.stopped, self.n = folder, threading.Event(), 0
        self.logs = {}
        for namespace, app in [("shop", "cart"), ("shop", "web"), ("shop", "payment"), ("bank", "ledger"), ("bank", "fraud-check")]:
            uid = f"8f2c{len(self.logs)}d31-7a4b-4c1e-9d52-0b6f3e1a77c{len(self.logs)}"
            place = folder / f"{namespace}_{app}-6d5f7c9b8-x2k9q_{uid}" / app
            place.mkdir(parents=True)
            self.logs[namespace, app] = (place / "0.log").open("a", buffering=1)
        (folder / "secret.log").write_text("cannot be read\n")
        self.thread = threading.Thread(target=self.write, daemon=True)

    def write(self):
        while not self.stopped.wait(0.05):
            for i, log in enumerate(self.logs.values()):
                for _ in range(1 + 2 * i):
                    self.n += 1
                    level, path = ("warn", "/cart/checkout") if self.n % 7 == 0 else ("info", f"/item/{self.n % 90}")
                    path = "/healthz" if self.n % 11 == 0 else path
                    log.write(f"level={level} method=GET path={path} status=200 took={self.n % 40}ms\n")

    def say(self, line):
        self.logs["shop", "cart"].write(line + "\n")


class Agent:
    def __init__(self, program, folder, lokis, programs, live_tail="loopback"):
        self.folder, self.port = folder, free_port()
        targets = [
            target(namespace, app, pathlib.Path(log.name).parent / "*.log") for (namespace, app), log in programs.logs.items()
        ]
        targets += [target("bank", "batch", folder / "nowhere" / "*.log"), target("kube-system", "proxy", folder / "none.log")]
        (folder / "targets.json").write_text(json.dumps(targets))
        clients = [{"name": name, "url": f"http://127.0.0.1:{loki.port}/loki/api/v1/push", "batchwait": "200ms"} for name, loki in lokis.items()]
        config = {
            "server": {"http_listen_address": "127.0.0.1", "http_listen_port": self.port, "live_tail": live_tail},
            "positions": {"filename": str(folder / "positions.yaml")},
            "clients": [{**client, "backoff_config": {"min_period": "200ms", "max_period": "500ms"}} for client in clients],
            "scrape_configs": [{
                "job_name": "pods",
                "file_sd_configs": [{"files": [str(folder / "targets.json")]}],
                "relabel_configs": [
                    {"source_labels": ["namespace"], "regex": "kube-system", "action": "drop"},
                    {"source_labels": ["__meta_team"], "target_label": "team"},
                ],
                "pipeline_stages": [
                    {"logfmt": {"mapping": {"level": ""}}},
                    {"labels": {"level": ""}},
                    {"drop": {"expression": "path=/healthz", "drop_counter_reason": "health_check"}},
                ],
            }],
        }
        (folder / "fantail.yaml").write_text(json.dumps(config))
        self.log = (folder / "agent.log").open("w")
        command = [program, f"-config.file={folder / 'fantail.yaml'}", "-security.landlock=false"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.address = f"http://127.0.0.1:{self.port}/"
        until(self.answers, "the agent answers")

    def answers(self):
        if self.process.poll() is not None:
            raise SystemExit("the agent has ended:\n" + (self.folder / "agent.log").read_text())
        try:
            return urllib.request.urlopen(self.address + "-/healthy", timeout=1).status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def target(namespace, app, path):
    labels = {"__path__": str(path), "namespace": namespace, "app": app, "pod": f"{app}-6d5f7c9b8-x2k9q", "__meta_team": "platform"}
    if app == "web":
        labels["markup"] = SCRIPT
    return {"targets": ["localhost"], "labels": labels}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(condition, what, seconds=15):
    """Asks until the condition holds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)

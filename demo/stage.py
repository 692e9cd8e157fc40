"""The stage of the demo: who tells, who hosts the video, who watches the webhook, and how processes start and end."""

import contextlib
import http.server
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path


class DemoFailed(Exception):
    """A step did not work; the text says why, to a person."""


class Teller:
    """Writes what happens: in colour and with a moving bar on a terminal, in plain lines elsewhere."""

    def __init__(self):
        sys.stdout.reconfigure(errors="replace")
        self.terminal = sys.stdout.isatty()
        self.colour = self.terminal and not os.environ.get("NO_COLOR")
        self.steps = 0
        self.shown = None

    def paint(self, text, code):
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def step(self, title):
        self.steps += 1
        print(f"\n{self.paint(f'{self.steps}. {title}', 1)}", flush=True)

    def say(self, text):
        print(f"   {text}", flush=True)

    def good(self, text):
        self.say(f"{self.paint('✓', 32)} {text}")

    def command(self, text):
        self.say(self.paint(f"$ {text}", 36))

    def progress(self, percent, doing):
        line = f"[{'█' * (percent // 4):░<25}] {percent:3} %  {doing}"
        if self.terminal:
            print(f"\r   {line:<70}", end="", flush=True)
        elif self.shown != (percent // 25, doing):
            self.say(line)
        self.shown = (percent // 25, doing)

    def progress_done(self):
        if self.terminal:
            print(flush=True)


class VideoHost(http.server.BaseHTTPRequestHandler):
    """Serves one file, whole or by single ranges, and counts what it sends. `file` is set by `serve_video`."""

    protocol_version = "HTTP/1.1"
    file: Path
    sent = 0
    requests = 0

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        size = self.file.stat().st_size
        first, last, status = 0, size - 1, 200
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and any(asked.groups()):
            status = 206
            if asked[1]:
                first, last = int(asked[1]), min(int(asked[2] or last), last)
            else:
                first = max(0, size - int(asked[2]))
        if first > last:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(status)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{size:x}-{self.file.stat().st_mtime_ns:x}"')
        self.send_header("Content-Length", str(last - first + 1))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if body:
            type(self).requests += 1
            with contextlib.suppress(ConnectionError), self.file.open("rb") as file:
                file.seek(first)
                left = last - first + 1
                while left and (chunk := file.read(min(left, 65536))):
                    self.wfile.write(chunk)
                    left -= len(chunk)
                    type(self).sent += len(chunk)

    def log_message(self, *_):
        pass


class Witness(http.server.BaseHTTPRequestHandler):
    """Stands before `audio-extract webhooks listen`: keeps what came, byte for byte, and passes it on unchanged."""

    protocol_version = "HTTP/1.1"
    listener: str
    seen: list
    arrived: threading.Event

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        passed = {name: value for name, value in headers.items() if name not in ("host", "connection")}
        request = urllib.request.Request(self.listener, body, passed, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        except OSError:
            status = 502
        self.seen.append((headers, body, status))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.arrived.set()

    def log_message(self, *_):
        pass


def serve(stack, handler, **settings):
    """Starts an HTTP server on a free port; returns its address and the handler, which keeps the counts."""
    handler = type(handler.__name__, (handler,), settings)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}", handler


def start(stack, command, **streams):
    """Starts a process of its own session (so that Ctrl-C reaches it only through us) and stops it at the end."""
    process = subprocess.Popen(command, start_new_session=True, **streams)

    def stop():
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)
    return process


def until(what, secs, look):
    """Looks until there is something to see."""
    end = time.monotonic() + secs
    while time.monotonic() < end:
        if (seen := look()) is not None:
            return seen
        time.sleep(0.1)
    raise DemoFailed(f"{what} did not happen within {secs} s")


def run(command, **options):
    """Runs a command and returns what it printed."""
    done = subprocess.run(command, check=False, capture_output=True, **options)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise DemoFailed(f"`{command[0]}` failed: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A model hub on loopback: Git smart HTTP and Git LFS.

usage: model_server.py ROOT [--host ADDRESS] [--port N] [--ready-file FILE] [--token TOKEN] [--redirect URL]
                            [--storage URL] [--fault WHERE:MODE[:TIMES[:ARGUMENT]]]...

ROOT/NAME.git are bare repositories, their LFS objects lie in ROOT/NAME.git/lfs/objects/aa/bb/OID as git-lfs keeps them.
With --token every request needs it as password; with --redirect Git requests are sent on to the same path below URL;
with --storage links to objects lead to the same path below URL. Faults, below, happen TIMES times (0: always).
The URL (http://ADDRESS:PORT) is written to the ready file, or printed, when the server listens. Ends on SIGTERM.

Git LFS as its specification says (git-lfs docs/api/batch.md, basic-transfers.md), and, on demand, not so:

batch   status (CODE[,Header=VALUE]...)  redirect (URL)  silent  rubbish  endless-header  cut  malformed  html  huge
        wrong-size  no-actions  missing  twice  object-error (CODE)  transfer (NAME)  href (URL)  bad-header
object  status (CODE[,Header=VALUE]...)  redirect (URL)  silent  rubbish  endless-header  cut  stall  drip  wrong-bytes
        long  long-chunked  short  short-chunked  ignore-range  wrong-range  no-range  expired
git     status (CODE[,Header=VALUE]...)  redirect (URL)  silent  rubbish  endless-header  cut  html  wrong-bytes  short
        old (knows version 0 of the protocol only)
"""
import argparse
import base64
import http.server
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse

LFS_JSON = "application/vnd.git-lfs+json"


class Fault:
    """WHERE:MODE[:TIMES[:ARGUMENT]]"""

    def __init__(self, text):
        self.where, self.mode, times, self.argument = (text.split(":", 3) + ["", "", ""])[:4]
        self.left = int(times or 1) or float("inf")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "model-server"

    def log_message(self, fmt, *args):
        if self.server.log:
            print("%s %s" % (self.command, fmt % args), file=self.server.log, flush=True)

    # ------------------------------------------------------------------ replies

    def reply(self, status, body=b"", content_type="text/plain", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if size == 0:
                    return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    # ------------------------------------------------------------------ routes

    def is_allowed(self):
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return scheme == "Basic" and base64.b64decode(value).decode().partition(":")[2] == self.server.token

    def refuse(self):
        self.body()
        self.reply(401, json.dumps({"message": "Credentials needed"}).encode(), LFS_JSON,
                   [("LFS-Authenticate", 'Basic realm="hub"'), ("WWW-Authenticate", 'Basic realm="hub"')])

    def route(self):
        self.server.requests.append((self.command, self.path, list(self.headers.items())))
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        batch = re.fullmatch(r"/(.+?)(?:\.git)?/info/lfs/objects/batch", path)
        obj = re.fullmatch(r"/(.+?)/lfs/objects/([0-9a-f]{64})", path)
        if self.server.token and not (obj and self.server.open_links) and not self.is_allowed():
            return self.refuse()
        if batch and self.command == "POST":
            return self.faulty("batch", self.batch, batch.group(1))
        if obj and self.command in ("GET", "HEAD"):
            return self.faulty("object", self.lfs_object, obj.group(1), obj.group(2), url.query)
        if self.server.redirect:
            self.body()
            return self.reply(302, headers=[("Location", self.server.redirect + self.path)])
        return self.faulty("git", self.git, path, url.query)

    do_GET = do_HEAD = do_POST = route

    # ------------------------------------------------------------------ faults

    def faulty(self, where, answer, *args):
        """The answer, or one of the faults that either kind of request can meet."""
        fault = self.server.take_fault(where)
        mode = fault.mode if fault else ""
        if mode == "status":
            self.body()
            code, *headers = fault.argument.split(",")
            return self.reply(int(code), json.dumps({"message": "As was asked for"}).encode(), LFS_JSON,
                              [header.split("=", 1) for header in headers])
        if mode == "redirect":
            self.body()
            return self.reply(307 if where == "batch" else 302, headers=[("Location", fault.argument + self.path)])
        if mode == "silent":
            self.server.closing.wait(60)
            self.close_connection = True
            return None
        if mode == "rubbish":
            self.close_connection = True
            return self.wfile.write(b"\x00\xffnot HTTP at all\r\n\r\n" * 10)
        if mode == "endless-header":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-More: more and more\r\n" * 100000)
            return None
        return answer(fault, mode, *args)

    # ------------------------------------------------------------------ batch

    def repository(self, name):
        path = os.path.join(self.server.root, name + ".git")
        inside = os.path.realpath(path).startswith(os.path.realpath(self.server.root) + os.sep)
        return path if inside and os.path.isdir(path) else None

    def lfs_path(self, name, oid):
        repository = self.repository(name)
        path = repository and os.path.join(repository, "lfs/objects", oid[:2], oid[2:4], oid)
        return path if path and os.path.isfile(path) else None

    def offer(self, fault, mode, name, wanted):
        entry = {"oid": wanted["oid"], "size": wanted["size"] + (mode == "wrong-size")}
        if mode == "object-error":
            entry["error"] = {"code": int(fault.argument), "message": "As was asked for"}
        elif not self.lfs_path(name, wanted["oid"]):
            entry["error"] = {"code": 404, "message": "Object does not exist"}
        elif mode != "no-actions":
            href = "%s/%s/lfs/objects/%s?link=%d" % (self.server.storage or self.server.url, name, wanted["oid"],
                                                     next(self.server.link))
            link = {"href": fault.argument if mode == "href" else href, "expires_in": self.server.expires_in}
            if self.server.link_header:
                link["header"] = self.server.link_header
            if mode == "bad-header":
                link["header"] = {"X-Split": "a\r\nX-Smuggled: b"}
            entry["actions"] = {"download": link}
        return entry

    def batch(self, fault, mode, name):
        request = json.loads(self.body())
        if not self.repository(name):
            return self.reply(404, json.dumps({"message": "Repository not found"}).encode(), LFS_JSON)
        self.server.batches.append([wanted["oid"] for wanted in request["objects"]])
        if len(request["objects"]) > self.server.max_batch:
            return self.reply(413, json.dumps({"message": "Too many objects"}).encode(), LFS_JSON)
        objects = [self.offer(fault, mode, name, wanted) for wanted in request["objects"]]
        if mode == "missing":
            objects.pop()
        if mode == "twice":
            objects.append(objects[0])
        answer = {"transfer": fault.argument if mode == "transfer" else "basic", "objects": objects,
                  "hash_algo": "sha256"}
        text = json.dumps(answer).encode()
        if mode == "malformed":
            text = text[:-2]
        if mode == "html":
            text = b"<html><body>Please log in to the hotel's network</body></html>"
        if mode == "huge":
            text = b'{"objects": [' + b"[]," * (8 << 20) + b"0]}"
        if mode == "cut":
            return self.send_cut(200, text)
        return self.reply(200, text, LFS_JSON)

    # ------------------------------------------------------------------ objects

    def send_cut(self, status, content, headers=()):
        """Half of what was promised, and then the connection ends."""
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[:len(content) // 2])
        self.wfile.flush()

    def send_slowly(self, status, content, headers, pause):
        """The first half, and the rest a byte at a time, or not at all."""
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        while half < len(content) and not self.server.closing.wait(pause):
            self.wfile.write(content[half:half + 1])
            half += 1

    def send_chunked(self, status, content):
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(content), 100000):
            piece = content[at:at + 100000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def wanted_range(self, size):
        """The first and the last byte, and whether there is a Range; None if it lies outside."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return 0, size - 1, False
        start, end = int(wanted.group(1)), min(int(wanted.group(2) or size - 1), size - 1)
        return (start, end, True) if start < size else None

    def lfs_object(self, fault, mode, name, oid, query):
        path = self.lfs_path(name, oid)
        if not path:
            return self.reply(404)
        size = os.path.getsize(path)
        if mode == "expired":
            self.server.expired.add(query)
        if query in self.server.expired:
            return self.reply(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
        if self.server.link_header and any(self.headers.get(n) != v for n, v in self.server.link_header.items()):
            return self.reply(403)
        wanted = self.wanted_range(size)
        if mode == "ignore-range":
            wanted = (0, size - 1, False)
        if not wanted or mode == "no-range" and wanted[2]:
            return self.reply(416, headers=[("Content-Range", "bytes */%d" % size)])
        return self.send_object(mode, path, size, *wanted)

    def send_object(self, mode, path, size, start, end, is_part):
        status = 206 if is_part else 200
        shift = 1 if mode == "wrong-range" and is_part else 0
        headers = [("Accept-Ranges", "bytes"), ("Content-Type", "application/octet-stream")]
        if is_part:
            headers.append(("Content-Range", "bytes %d-%d/%d" % (start + shift, end, size)))
        if not mode or mode == "ignore-range" or self.command == "HEAD":
            return self.send_file(status, path, start, end, headers)
        with open(path, "rb") as source:
            source.seek(start + shift)
            content = bytearray(source.read(end + 1 - start - shift))
        if mode == "wrong-bytes":
            content[len(content) // 3] ^= 1
        if mode.startswith("long"):
            content += b"more"
        if mode.startswith("short"):
            content = content[:-1]
        if mode.endswith("-chunked"):
            return self.send_chunked(status, content)
        if mode == "cut":
            return self.send_cut(status, content, headers)
        if mode in ("stall", "drip"):
            return self.send_slowly(status, content, headers, 60 if mode == "stall" else 0.3)
        return self.reply(status, bytes(content), headers[1][1], headers[2:])

    def send_file(self, status, path, start, end, headers):
        left = max(end - start + 1, 0)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        if self.command == "HEAD":
            return
        with open(path, "rb") as source:
            source.seek(start)
            while left and not self.server.closing.is_set():
                piece = source.read(min(left, 1 << 20))
                self.wfile.write(piece)
                left -= len(piece)

    def git(self, _, mode, path, query):
        """One request through git-http-backend(1), a CGI program."""
        env = dict(os.environ, GIT_PROJECT_ROOT=self.server.root, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                   QUERY_STRING=query, REQUEST_METHOD=self.command, REMOTE_ADDR="127.0.0.1",
                   CONTENT_TYPE=self.headers.get("Content-Type", ""), GIT_CONFIG_COUNT="1",
                   GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
        for header, name in (("Content-Encoding", "HTTP_CONTENT_ENCODING"), ("Git-Protocol", "GIT_PROTOCOL")):
            if self.headers.get(header) and (header != "Git-Protocol" or mode != "old"):
                env[name] = self.headers[header]
        body = self.body() if self.command == "POST" else b""
        env["CONTENT_LENGTH"] = str(len(body))
        done = subprocess.run(["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=env, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name and name != "Content-Type":
                headers.append((name, value))
        if mode == "html":
            content = b"<html><body>Please log in to the hotel's network</body></html>"
        if mode == "wrong-bytes":
            content = bytearray(content)
            content[len(content) * 2 // 3] ^= 1
        if mode == "cut":
            return self.send_cut(status, content)
        if mode == "short":
            content = content[:len(content) * 2 // 3]
        content_type = re.search(rb"(?mi)^Content-Type: (.*?)\r?$", head)
        return self.reply(status, bytes(content), content_type.group(1).decode() if content_type else "text/plain",
                          headers)


class Server(http.server.ThreadingHTTPServer):
    """Tests keep it in their own process: requests, batches are what came in; the rest may be set."""
    daemon_threads = True

    def __init__(self, root, address=("127.0.0.1", 0), log=None, handler=Handler):
        super().__init__(address, handler)
        self.root = os.path.abspath(root)
        self.url = "http://%s:%d" % self.server_address
        self.log = log
        self.token = self.redirect = self.storage = None
        self.open_links = False   # objects can be had without the token
        self.link_header = {}     # ... but only with these headers
        self.expires_in = 3600
        self.max_batch = 100
        self.faults = []
        self.requests, self.batches, self.expired = [], [], set()
        self.link = itertools.count(1)
        self.closing = threading.Event()
        self.lock = threading.Lock()

    def take_fault(self, where):
        with self.lock:
            for fault in self.faults:
                if fault.where == where and fault.left > 0:
                    fault.left -= 1
                    return fault
        return None

    def handle_error(self, request, client_address):
        """Clients that go away are what some tests are about."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def server_close(self):
        self.closing.set()
        super().server_close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file")
    parser.add_argument("--token")
    parser.add_argument("--redirect")
    parser.add_argument("--storage")
    parser.add_argument("--fault", type=Fault, action="append", default=[])
    args = parser.parse_args()
    server = Server(args.root, (args.host, args.port), sys.stderr if os.environ.get("MODEL_SERVER_LOG") else None)
    server.token, server.redirect, server.storage, server.faults = args.token, args.redirect, args.storage, args.fault
    if args.ready_file:
        with open(args.ready_file + ".new", "w", encoding="ascii") as ready:
            ready.write(server.url + "\n")
        os.rename(args.ready_file + ".new", args.ready_file)
    else:
        print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
